"""What a loader yields."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from openmix.errors import DamagedImageError

__all__ = ["Batch"]


@dataclass(frozen=True)
class Batch:
    """Some images of one micro-batch.

    Attributes:
        views: one or several (B, C, H, W) tensors of the same images, uint8 as loaded or float once normalised.
        labels: int64 (B,).
        index: int64 (B,), each image's position in its data set.
        pixel_range: float32 (2, C), the values of black and of white in float views; None where they are 0 and 1.
        damaged: what was wrong with images that could not be read; another stands in the place of each, with its own
            label, and ``index`` still says the one that was asked for.
    """

    views: tuple[Tensor, ...]
    labels: Tensor
    index: Tensor
    pixel_range: Tensor | None = None
    damaged: tuple[DamagedImageError, ...] = ()

    @property
    def images(self) -> Tensor:
        """The first view."""
        return self.views[0]

    def __len__(self) -> int:
        return self.labels.shape[0]

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on ``device``, without waiting for the copy where the memory is pinned."""
        if self.labels.device == torch.device(device):  # and so is the rest
            return self
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory; torch's DataLoader calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, move: Callable[[Tensor], Tensor]) -> "Batch":
        """Return the batch with every tensor moved."""
        return Batch(
            tuple(map(move, self.views)),
            move(self.labels),
            move(self.index),
            None if self.pixel_range is None else move(self.pixel_range),
            self.damaged,
        )

    def with_views(self, *views: Tensor) -> "Batch":
        """Return the batch with other views of the same images."""
        return replace(self, views=views)
