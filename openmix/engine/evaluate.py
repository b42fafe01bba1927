"""Evaluation: every image once, the same figures on any number of processes."""

from collections import defaultdict

import torch
from torch import Tensor

from openmix.data.loaders import Loader
from openmix.engine.damage import DamageLog
from openmix.engine.distributed import broadcast_buffers, of_main, sum_over_ranks
from openmix.engine.features import FeatureTable, NearestNeighbours
from openmix.engine.preprocess import Normalize
from openmix.evaluation.metrics import NUM_SCORES, image_scores, summarise
from openmix.tasks.base import Task

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(
    model: Task, loader: Loader, normalize: Normalize, damage: DamageLog, knn: NearestNeighbours | None = None
) -> dict[str, float | int]:
    """Return the metrics of a model on a loader's whole data set.

    It computes in float32, whatever the training did, with rank 0's BatchNorm statistics. Whole batches are dealt out
    to the processes and each image's scores land in a row of their own, so the sums run in the data set's order. The
    metrics are those of :func:`~openmix.evaluation.metrics.summarise`; ``top1_NAME`` is added for every further network
    that the task evaluates, from the same pass over the data.

    Args:
        model: a task; its ``predictions`` map normalised images to logits by name. Left in the mode it was in.
        loader: what to evaluate on.
        normalize: for its images.
        damage: is told of images that could not be read, and knows the processes that share the work. How many there
            were is ``damaged`` among the metrics, if there were any: for each, a neighbour counts twice. Those of the
            training set that ``knn`` looks at are named, and not counted.
        knn: adds ``top1_knn``: what the nearest training images say by the model's features.

    Raises:
        UserError: the task has not the features that ``knn`` is to be of.
    """
    world = damage.world
    broadcast_buffers(model)
    was_training = model.training
    model.eval()
    scores = torch.zeros(loader.num_samples, NUM_SCORES, dtype=torch.float64, device=world.device)
    hits: dict[str, Tensor] = defaultdict(lambda: torch.zeros_like(scores[:, 0]))  # of the further networks
    queries = None if knn is None else FeatureTable(loader.num_samples, world)
    for batch in loader.evaluate():
        damage.note(batch)
        batch = normalize.batch(batch.to(world.device))
        (_, logits), *others = model.predictions(batch.images).items()
        scores[batch.index] = image_scores(logits, batch.labels)
        for name, logits in others:
            hits[name][batch.index] = image_scores(logits, batch.labels)[:, 0]
        if knn is not None and queries is not None:
            queries.put(batch.index, knn.extract(model)(batch.images), batch.labels)
    model.train(was_training)
    # every row was written by one process and is zero on all others: the sum is exact
    metrics = summarise(sum_over_ranks(scores))
    for name in of_main(list(hits)):  # a process without a batch knows no names; rank 0 has the first one
        metrics[f"top1_{name}"] = 100 * sum_over_ranks(hits[name]).mean().item()
    damaged = damage.pop()
    if knn is not None and queries is not None:
        metrics["top1_knn"] = knn.top1(model, queries.gathered(), normalize, damage)
        damage.pop()
    return {**metrics, **damaged}
