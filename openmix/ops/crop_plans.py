"""A plan that pastes a box of the partner, resized, into a box of each image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.box_plans import BoxPlan
from openmix.ops.boxes import inside_box
from openmix.ops.checks import check_choice
from openmix.ops.planes import like_layout
from openmix.ops.plans import check_size

__all__ = ["CropPlan"]


@dataclass(frozen=True)
class CropPlan(BoxPlan):
    """Pastes a box of the partner, resized, into a box of each image; both boxes are the same for all images.

    The corner pixels of the two boxes coincide, as in ``interpolate`` with ``align_corners=True``. Masks say where own
    pixels are kept and where the partner's are shown, wherever in the partner these come from.

    Attributes:
        boxes: the box that is pasted into, int64 (1, 4); empty where nothing is pasted.
        crop: the box that is shown there, int64 (1, 4); not empty unless the other one is.
    """

    crop: Tensor

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Resize and paste, bilinearly unless told 'nearest', which copies pixels of any dtype."""
        check_size(x, len(self.partner), self.size)
        chosen = interpolation or "bilinear"
        check_choice("interpolation", chosen, ("nearest", "bilinear"))
        if chosen == "bilinear" and not x.is_floating_point():
            raise TypeError(f"cannot interpolate {x.dtype} bilinearly; pass floating point values, or 'nearest'")
        shown = x[self.partner]
        if chosen == "bilinear":
            shown = shown.to(torch.promote_types(x.dtype, torch.float32))
        for axis in (0, 1):
            low, share = self._lines(axis, nearest=chosen == "nearest")
            lower = shown.index_select(axis + 2, low)
            if share is None:
                shown = lower
            else:
                upper = shown.index_select(axis + 2, (low + 1).clamp(max=self.size[axis] - 1))
                shown = lower.lerp(upper, share.to(lower.dtype).view(-1, *(1,) * (1 - axis)))
        return like_layout(torch.where(inside_box(self.boxes, self.size), shown.to(x.dtype), x), x)

    def _lines(self, axis: int, nearest: bool) -> tuple[Tensor, Tensor | None]:
        """Return which of the partner's rows (axis 0) or columns (1) each one shows, and the next one's share, or None.

        Outside of the box they are of no use.
        """
        begin, end = self.boxes[0, 2 * axis], self.boxes[0, 2 * axis + 1]
        first, last = self.crop[0, 2 * axis], self.crop[0, 2 * axis + 1] - 1
        step = (last - first).float() / (end - begin - 1).clamp(min=1).float()
        place = (torch.arange(self.size[axis], device=step.device) - begin) * step  # within the partner's box
        line = (place + 0.5 if nearest else place).floor()
        low = (first + line.long()).clamp(0, self.size[axis] - 1)
        return low, None if nearest else place - line
