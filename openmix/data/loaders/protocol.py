"""What the training loop asks of a loader, and what every loader does alike."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from openmix.data.batch import Batch
from openmix.data.fingerprint import source_fingerprint
from openmix.data.order import Shards, steps_per_epoch, train_batches
from openmix.data.sources.protocol import Source
from openmix.data.timeline import Timeline
from openmix.errors import UserError

__all__ = ["EVALUATION", "BaseLoader", "Loader", "Pipeline", "check_views", "split_views"]

Pipeline = Sequence[Callable[..., Any]]

EVALUATION = -1  # stands for the epoch in the key of an evaluation's draws, where a pipeline has any


@runtime_checkable
class Loader(Protocol):
    """Batches of a data set, as uint8 where the pipeline keeps uint8: normalising and mixing come after, on the device.

    What a loader yields is a function of its arguments and of the epoch and step asked for. It keeps no state that a
    checkpoint would have to hold, so a run resumes exactly by asking for ``epoch(epoch, start_step=step)``.
    """

    @property
    def num_samples(self) -> int:
        """Images in the data set."""
        ...

    @property
    def num_classes(self) -> int:
        """Classes of the data set."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in label order."""
        ...

    @property
    def timeline(self) -> Timeline:
        """Optimizer steps of every epoch; asking raises UserError where the set is too small for one."""
        ...

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield ``(shard, micro-batch)`` for training: shuffled, this process's share, from ``start_step`` on.

        There are ``accumulate`` micro-batches for each step; the incomplete last step of the epoch is dropped.
        """
        ...

    def evaluate(self) -> Iterator[Batch]:
        """Yield this process's share of the set in order: over all processes every image once, no more, no less."""
        ...

    def fingerprint(self) -> str:
        """Return what tells the data set from others, the same in every process and wherever the set lies.

        A checkpoint holds it, and a run is not resumed where it is another. See
        :func:`~openmix.data.fingerprint.source_fingerprint` for what it notices.
        """
        ...

    def close(self) -> None:
        """Free what the loader holds: worker processes, memory. It cannot be used afterwards."""
        ...


class BaseLoader:
    """The part of a loader that does not depend on how images are fetched.

    Args:
        dataset: the set to load.
        batch_size: images of one micro-batch, at least 1.
        seed: of the order and of the pipeline's draws.
        shards: this process's place among all.
        device: where the batches are wanted.

    Raises:
        UserError: ``batch_size`` below 1.
    """

    def __init__(self, dataset: Source, batch_size: int, seed: int, shards: Shards, device: torch.device | str) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, not {batch_size}")
        self.batch_size = batch_size
        self.num_samples = len(dataset)
        self.num_classes = dataset.num_classes
        self.classes = dataset.classes
        self.seed = seed
        self.shards = shards
        self.device = torch.device(device)
        self._dataset: Source | None = dataset  # until its fingerprint is known
        self._fingerprint = ""

    def fingerprint(self) -> str:
        """Return what tells the data set from others; made when first asked for.

        Afterwards nothing here keeps the set, so that a loader that has taken what it needs frees its memory.
        """
        if self._dataset is not None:
            self._fingerprint = source_fingerprint(self._dataset)
            self._dataset = None
        return self._fingerprint

    def indices(self, epoch: int, step: int) -> list[Tensor]:
        """Return which images this process's micro-batches of a training step are made of: int64 (batch_size,) each.

        Args:
            epoch: counts from 0.
            step: counts from 0, within the epoch.
        """
        plan = train_batches(self.seed, epoch, self.num_samples, self.batch_size, self.shards, step)
        return [index for _, _, index in islice(plan, self.shards.accumulate)]

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch.

        Raises:
            UserError: the set is too small for a single step.
        """
        return steps_per_epoch(self.num_samples, self.batch_size, self.shards)

    @property
    def timeline(self) -> Timeline:
        """Optimizer steps of every epoch: as many in each.

        Raises:
            UserError: the set is too small for a single step.
        """
        return Timeline(((0, self.steps_per_epoch),))


def check_views(pipeline: Pipeline) -> None:
    """Raise UserError where a ``Views`` is not the last transform of a pipeline, but before or inside another."""
    split_views(pipeline)


def split_views(pipeline: Pipeline) -> tuple[Pipeline, Sequence[Pipeline]]:
    """Return what all views of an image share, and what each has of its own.

    A pipeline that does not end in ``Views`` has one view, with nothing of its own.

    Raises:
        UserError: as by :func:`check_views`.

    >>> split_views([])
    ([], [()])
    """
    if not pipeline:
        return pipeline, [()]
    from openmix.data.transforms import Views  # needs torchvision, as whoever made a transform does

    last = pipeline[-1]
    shared, views = (pipeline[:-1], last.views) if isinstance(last, Views) else (pipeline, [()])
    if any(isinstance(transform, Views) for transform in _flat([*shared, *chain(*views)])):
        raise UserError(
            "Views must be the last transform of a pipeline, not before or inside another one: what is to follow it "
            "belongs into each of its views"
        )
    return shared, views


def _flat(transforms: Iterable[Any]) -> Iterator[Any]:
    """Yield transforms and all that are inside them, as in torchvision's ``RandomApply`` and in our ``ScaleMix``."""
    for transform in transforms:
        yield transform
        for name in ("transforms", "pipeline"):
            inner = getattr(transform, name, ())
            yield from _flat(inner if isinstance(inner, Iterable) else ())
