"""Evaluation: every image once, the same figures on any number of processes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from openmix.data.loaders import Loader
from openmix.engine.damage import DamageLog
from openmix.engine.distributed import broadcast_buffers, sum_over_ranks
from openmix.engine.preprocess import Normalize
from openmix.evaluation.metrics import NUM_SCORES, image_scores, summarise

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(model: nn.Module, loader: Loader, normalize: Normalize, damage: DamageLog) -> dict[str, float | int]:
    """Return the metrics of a model on a loader's whole data set.

    It computes in float32, whatever the training did, with rank 0's BatchNorm statistics. Whole batches are dealt out
    to the processes and each image's scores land in a row of their own, so the sums run in the data set's order.

    Args:
        model: a task; its ``predict`` maps normalised images to logits. Left in the mode it was in.
        loader: what to evaluate on.
        normalize: for its images.
        damage: is told of images that could not be read, and knows the processes that share the work. How many there
            were is ``damaged`` among the metrics, if there were any: for each, a neighbour counts twice.
    """
    world = damage.world
    predict: Callable[[Tensor], Tensor] = model.predict  # type: ignore[assignment]
    broadcast_buffers(model)
    was_training = model.training
    model.eval()
    scores = torch.zeros(loader.num_samples, NUM_SCORES, dtype=torch.float64, device=world.device)
    for batch in loader.evaluate():
        damage.note(batch)
        batch = normalize.batch(batch.to(world.device))
        scores[batch.index] = image_scores(predict(batch.images), batch.labels)
    model.train(was_training)
    # every row was written by one process and is zero on all others: the sum is exact
    return {**summarise(sum_over_ranks(scores)), **damage.pop()}
