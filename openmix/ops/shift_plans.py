"""A plan that pastes a window of the partner, as it is, into another place of each image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.box_plans import BoxPlan
from openmix.ops.plans import check_size

__all__ = ["ShiftPlan"]


@dataclass(frozen=True)
class ShiftPlan(BoxPlan):
    """Pastes a window of the partner into a box of each image, all of one size.

    Its masks say where own pixels are kept and where the partner's are shown, wherever in the partner these come from.

    Attributes:
        boxes: one for each image, (B, 4), each of the window's size and within the image.
        corner: int64 (B, 2), where in the partner the window begins, (y, x).
        window: (h, w).
    """

    corner: Tensor
    window: tuple[int, int]

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Copy pixels: exact for every dtype."""
        check_size(x, len(self.partner), self.size)
        image = torch.arange(len(x), device=x.device)[:, None, None]
        rows, columns = self._lines(self.corner)
        content = x[self.partner[:, None, None], :, rows, columns]
        rows, columns = self._lines(self.boxes[:, ::2])
        mixed = x.clone()
        mixed[image, :, rows, columns] = content
        return mixed

    def _lines(self, corner: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows (B, h, 1) and columns (B, 1, w) of a window that begins at ``corner``."""
        height, width = self.window
        rows = corner[:, :1] + torch.arange(height, device=corner.device)
        columns = corner[:, 1:] + torch.arange(width, device=corner.device)
        return rows[:, :, None], columns[:, None, :]
