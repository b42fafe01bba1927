"""The plan of single-image methods that erase a box."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.boxes import inside_box
from openmix.ops.plans import OnDevice, check_size, pair

__all__ = ["ErasePlan"]


@dataclass(frozen=True)
class ErasePlan(OnDevice):
    """Sets a box of each image to a constant; the label stays whole.

    Like an unmixed image, each is a pair with itself, of weights 1 and 0. Its masks do not sum to 1 where nothing is
    left to be seen.

    Attributes:
        itself: int64 (B,), 0 .. B-1.
        boxes: int64 (B, 4), (y0, y1, x0, x1), half-open.
        size: (H, W) of the images.
        fill: the value that replaces the pixels.
    """

    itself: Tensor
    boxes: Tensor
    size: tuple[int, int]
    fill: float

    @property
    def sources(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        return pair(self.itself)

    @property
    def weights(self) -> Tensor:
        """1 for the image itself, whatever is left of it."""
        one = torch.ones(len(self.itself), 1, dtype=torch.float32, device=self.itself.device)
        return torch.cat([one, 1 - one], dim=1)

    @property
    def masks(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        kept = 1 - inside_box(self.boxes, self.size).float()
        return torch.cat([kept, torch.zeros_like(kept)], dim=1)

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Return a copy with the boxes filled, of any dtype."""
        check_size(x, len(self.itself), self.size)
        return torch.where(inside_box(self.boxes, self.size), x.new_full((), self.fill), x)
