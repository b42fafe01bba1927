"""Several loaders, one after the other: for recipes that begin on small images and go on to large ones."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from openmix.data.batch import Batch
from openmix.data.fingerprint import describe
from openmix.data.loaders.protocol import Loader
from openmix.data.timeline import Timeline
from openmix.errors import UserError

__all__ = ["PhasedLoader", "check_begins"]


def check_begins(count: int, begins: Sequence[int]) -> None:
    """Raise UserError unless ``begins`` names an epoch for each of ``count`` loaders, rising from 0."""
    if count != len(begins) or not count:
        raise UserError(f"begins must name an epoch for each loader: there are {count}, begins={list(begins)}")
    if list(begins) != sorted(set(begins)) or begins[0] != 0:
        raise UserError(f"begins must rise from 0, got {list(begins)}")


class PhasedLoader:
    """Train on one loader after the other; each takes over at an epoch of its own.

    The loaders may differ in everything but their classes: data set, image size, batch size. A run over them is one
    run, with one schedule and one work dir; it is interrupted and resumed within a phase and between two as anywhere
    else. For training only: validation is on one set throughout, so that its figures can be compared.

    Args:
        loaders: what each phase trains on, in order.
        begins: the epoch, counted from 0, at which each takes over; the first is 0.

    Raises:
        UserError: not one beginning a loader, beginnings that do not rise from 0, loaders of different classes.
    """

    def __init__(self, loaders: Sequence[Loader], begins: Sequence[int]) -> None:
        check_begins(len(loaders), begins)
        if any(loader.classes != loaders[0].classes for loader in loaders):
            raise UserError("the phases' data sets must have the same classes, in the same order")
        self.loaders, self.begins = list(loaders), list(begins)
        self.num_classes, self.classes = loaders[0].num_classes, loaders[0].classes
        self._first_open = 0

    @property
    def num_samples(self) -> int:
        """Images of the largest set."""
        return max(loader.num_samples for loader in self.loaders)

    @property
    def timeline(self) -> Timeline:
        """Steps of every phase's epochs."""
        spans = zip(self.begins, self.loaders, strict=True)
        return Timeline(tuple((begin, loader.timeline.steps_in(0)) for begin, loader in spans))

    def indices(self, epoch: int, step: int) -> list[Tensor]:
        """Return which images this process's micro-batches of a training step are made of, if the loader knows."""
        own = getattr(self.loaders[self._phase_of(epoch)], "indices", None)
        return own(epoch, step) if own is not None else []

    def _phase_of(self, epoch: int) -> int:
        return max(i for i, begin in enumerate(self.begins) if begin <= epoch)

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield ``(shard, micro-batch)`` of the phase that the epoch belongs to; earlier phases are closed."""
        current = self._phase_of(epoch)
        for loader in self.loaders[self._first_open : current]:
            loader.close()  # its worker processes and its memory are needed now
        self._first_open = max(self._first_open, current)
        return self.loaders[current].epoch(epoch, start_step=start_step)

    def evaluate(self) -> Iterator[Batch]:
        """Refuse: which of the sets would be meant?

        Raises:
            UserError: always.
        """
        raise UserError("a PhasedLoader is for train_dataloader; validate on one loader throughout")

    def fingerprint(self) -> str:
        """Return what tells the phases' sets from others, one after the other."""
        return " then ".join(_fingerprint(loader) for loader in self.loaders)

    def close(self) -> None:
        """Close all of them."""
        for loader in self.loaders:
            loader.close()


def _fingerprint(loader: Loader) -> str:
    """Return a loader's fingerprint; of a user's own that has none, what every loader knows of its set."""
    own = getattr(loader, "fingerprint", None)
    return own() if own is not None else describe(loader.num_samples, loader.classes, None)
