"""What a run says of images that could not be read: each by name once, and how many in its records."""

import logging

import torch

from openmix.data.batch import Batch
from openmix.engine.distributed import World, sum_over_ranks

__all__ = ["DamageLog"]


class DamageLog:
    """Names every damaged image when it is first met, and counts those that were replaced.

    Args:
        logger: gets an error for each, on whichever process met it.
        world: the processes whose counts are added up.
    """

    def __init__(self, logger: logging.Logger, world: World) -> None:
        self.logger = logger
        self.world = world
        self.count = 0
        self._named: set[str] = set()

    def note(self, batch: Batch) -> None:
        """Take in what was wrong with a batch's images."""
        for error in batch.damaged:
            self.count += 1
            if error.name not in self._named:
                self._named.add(error.name)
                self.logger.error("damaged image, the next one takes its place: %s", error)

    def total(self) -> int:
        """Return how many were replaced in all processes since the last :meth:`pop`. All must ask together."""
        return int(sum_over_ranks(torch.tensor(self.count, device=self.world.device)))

    def pop(self) -> dict[str, int]:
        """Return ``{"damaged": total}`` for a record, or nothing where there was none, and begin anew."""
        total = self.total()
        self.count = 0
        return {"damaged": total} if total else {}

    def restore(self, total: int) -> None:
        """Go on from a checkpoint's :meth:`total`."""
        self.count = total if self.world.is_main else 0
