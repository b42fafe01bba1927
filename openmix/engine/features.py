"""Features of a whole data set, and the kNN of ``val_cfg.knn`` on them, the same on any number of processes."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from openmix.data.loaders import Loader
from openmix.engine.budget import memory_of_machine
from openmix.engine.damage import DamageLog
from openmix.engine.distributed import World, broadcast_buffers, sum_over_ranks
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import KnnCfg
from openmix.errors import UserError
from openmix.evaluation.knn import WeightedKNN
from openmix.tasks.base import Task

__all__ = ["FeatureTable", "Features", "Kind", "NearestNeighbours", "extractor", "features_of", "knn_top1"]

Extract = Callable[[Tensor], Tensor]
Kind = Literal["backbone", "projection"]
METHODS = {"backbone": "features", "projection": "projections"}


class Features(NamedTuple):
    """A data set's features float32 (N, C), in its order, and its labels int64 (N,)."""

    values: Tensor
    labels: Tensor


def extractor(task: Task, which: Kind) -> Extract:
    """Return what gives a task's features (B, C) for normalised images (B, C, H, W).

    Args:
        task: the task.
        which: 'backbone' are its pooled features; 'projection' what its loss compares, where it has such.

    Raises:
        UserError: it has none.
    """
    method = getattr(task, METHODS[which], None)
    if method is None:
        raise UserError(
            f"{type(task).__name__} has no features={which!r}, as it has no method {METHODS[which]}(images)"
            + ("; features='backbone' are those before the projector" if which == "projection" else "")
        )
    return method


class FeatureTable:
    """Rows that the processes fill in, each those of its own images.

    Args:
        num_samples: images of the set.
        world: the processes.
    """

    def __init__(self, num_samples: int, world: World) -> None:
        self.world = world
        self.labels = torch.zeros(num_samples, dtype=torch.int64, device=world.device)
        self._values: Tensor | None = None

    def put(self, index: Tensor, features: Tensor, labels: Tensor) -> None:
        """Write the rows of some images.

        Raises:
            UserError: a feature is no vector, or all of them are more than this machine's memory.
        """
        if features.ndim != 2:
            raise UserError(f"features must be (B, C), one vector an image; got {tuple(features.shape)}")
        if self._values is None:
            needed = 4 * len(self.labels) * features.shape[1]
            if needed > memory_of_machine():
                raise UserError(
                    f"features of {features.shape[1]:,} values of {len(self.labels):,} images take "
                    f"{needed / 2**30:,.0f} GiB, more than this machine's memory"
                )
            self._values = features.new_zeros((len(self.labels), features.shape[1]), dtype=torch.float32)
        self._values[index] = features.float()
        self.labels[index] = labels

    def gathered(self) -> Features:
        """Return all rows, on every process. Each was written by one and is zero on all others: the sum is exact."""
        own = 0 if self._values is None else self._values.shape[1]
        # a process without a batch does not know how long a row is; rank 0 has the first batch
        width = int(sum_over_ranks(torch.tensor(own if self.world.is_main else 0, device=self.world.device)))
        if self._values is None:
            self._values = torch.zeros(len(self.labels), width, device=self.world.device)
        return Features(sum_over_ranks(self._values), sum_over_ranks(self.labels))


@torch.no_grad()
def features_of(
    task: Task,
    extract: Extract,
    loader: Loader,
    normalize: Normalize,
    damage: DamageLog,
    watch: Callable[[int], object] = lambda images: None,
) -> Features:
    """Return the features of a loader's whole data set, in float32 and in mode 'eval', with rank 0's statistics.

    Args:
        task: whose networks ``extract`` uses. Left in the mode it was in.
        extract: normalised images -> features, see :func:`extractor`.
        loader: the set, as ``evaluate`` shows it.
        normalize: for its images.
        damage: is told of images that could not be read, and knows the processes.
        watch: is told of each batch how many images of the set have gone through it since the one before, about.
    """
    broadcast_buffers(task)
    was_training = task.training
    task.eval()
    table = FeatureTable(loader.num_samples, damage.world)
    for batch in loader.evaluate():
        damage.note(batch)
        batch = normalize.batch(batch.to(damage.world.device))
        table.put(batch.index, extract(batch.images), batch.labels)
        watch(len(batch) * damage.world.size)
    task.train(was_training)
    return table.gathered()


def knn_top1(bank: Features, queries: Features, num_classes: int, settings: KnnCfg, world: World) -> float:
    """Return the per cent of queries that the bank classifies rightly; pieces of them are dealt out to the processes.

    Raises:
        UserError: k is larger than the bank.
    """
    try:
        knn = WeightedKNN(bank.values, bank.labels, num_classes, settings.k, settings.temperature)
    except ValueError as error:
        raise UserError(f"kNN: {error}") from error
    hits = torch.zeros(len(queries.labels), dtype=torch.float64, device=world.device)
    pieces = zip(*(rows.split(knn.chunk) for rows in (queries.values, queries.labels, hits)), strict=True)
    for number, (values, labels, found) in enumerate(pieces):
        if number % world.size == world.rank:
            found.copy_(knn.predict(values) == labels)  # a view of hits
    return 100 * sum_over_ranks(hits).mean().item()


class NearestNeighbours:
    """Validates features by kNN: what ``val_cfg.knn`` asks for.

    Args:
        settings: k, temperature and which features.
        bank: the training set as validation would show it.

    Raises:
        UserError: k is larger than the training set.
    """

    def __init__(self, settings: KnnCfg, bank: Loader) -> None:
        if settings.k > bank.num_samples:
            raise UserError(f"val_cfg.knn: k={settings.k} is more than the {bank.num_samples:,} training images")
        self.settings, self.bank = settings, bank

    def extract(self, task: Task) -> Extract:
        """Return what gives a task's features, as the settings say."""
        return extractor(task, self.settings.features)

    def top1(self, task: Task, queries: Features, normalize: Normalize, damage: DamageLog) -> float:
        """Return the per cent of queries that are classified rightly by the training images' features."""
        bank = features_of(task, self.extract(task), self.bank, normalize, damage)
        return knn_top1(bank, queries, self.bank.num_classes, self.settings, damage.world)
