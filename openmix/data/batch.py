"""What a loader yields."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Batch"]


@dataclass(frozen=True)
class Batch:
    """Some images of one micro-batch.

    Attributes:
        views: one or several (B, C, H, W) tensors of the same images, uint8 as loaded or float once normalised.
        labels: int64 (B,).
        index: int64 (B,), each image's position in its data set.
        pixel_range: float32 (2, C), the values of black and of white in float views; None where they are 0 and 1.
    """

    views: tuple[Tensor, ...]
    labels: Tensor
    index: Tensor
    pixel_range: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """The first view."""
        return self.views[0]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on ``device``, without waiting for the copy where the memory is pinned."""
        return Batch(
            tuple(v.to(device, non_blocking=True) for v in self.views),
            self.labels.to(device, non_blocking=True),
            self.index.to(device, non_blocking=True),
            None if self.pixel_range is None else self.pixel_range.to(device, non_blocking=True),
        )

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory; torch's DataLoader calls this."""
        return Batch(tuple(v.pin_memory() for v in self.views), self.labels.pin_memory(), self.index.pin_memory())

    def with_views(self, *views: Tensor) -> "Batch":
        """Return the batch with other views of the same images."""
        return replace(self, views=views)
