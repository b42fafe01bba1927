"""A plan that pastes a box of the partner, resized, into a box of each image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.box_plans import BoxPlan
from openmix.ops.boxes import box_area
from openmix.ops.checks import check_choice
from openmix.ops.plans import check_size

__all__ = ["CropPlan", "crop_plan"]


@dataclass(frozen=True)
class CropPlan(BoxPlan):
    """Pastes a box of the partner, resized, into a box of each image; both boxes are the same for all images.

    The corner pixels of the two boxes coincide, as in ``interpolate`` with ``align_corners=True``. Masks say where own
    pixels are kept and where the partner's are shown, wherever in the partner these come from.

    Attributes:
        boxes: the box that is pasted into, int64 (1, 4); empty where nothing is pasted.
        crop: the box that is shown there, int64 (1, 4); not empty unless the other one is.
        window: (h, w), the size of the box, at least one pixel: work is done there and nowhere else.
    """

    crop: Tensor
    window: tuple[int, int]

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Resize and paste, bilinearly unless told 'nearest', which copies pixels of any dtype."""
        check_size(x, len(self.partner), self.size)
        chosen = interpolation or "bilinear"
        check_choice("interpolation", chosen, ("nearest", "bilinear"))
        if chosen == "nearest":
            rows, columns = ((self._places(axis) + 0.5).long() + self.crop[0, 2 * axis] for axis in (0, 1))
            shown = _select(x, rows, 2)[self.partner]
            shown = _select(shown, columns, 3)
        elif x.is_floating_point():
            shown = self._between(self._between(x, 0)[self.partner], 1).to(x.dtype)
        else:
            raise TypeError(f"cannot interpolate {x.dtype} bilinearly; pass floating point values, or 'nearest'")
        rows, columns = self._lines(0)[:, None], self._lines(1)
        mixed = x.clone()
        mixed[:, :, rows, columns] = torch.where(box_area(self.boxes) > 0, shown, x[:, :, rows, columns])
        return mixed

    def _lines(self, axis: int) -> Tensor:
        """Return the image rows (axis 0) or columns (1) of the window: int64 (h,) or (w,)."""
        return self.boxes[0, 2 * axis] + torch.arange(self.window[axis], device=self.boxes.device)

    def _places(self, axis: int) -> Tensor:
        """Return how far into the partner's box, in its rows or columns, each of the window's lies: float32."""
        length = self.crop[0, 2 * axis + 1] - self.crop[0, 2 * axis]
        step = (length - 1).clamp(min=0).float() / max(self.window[axis] - 1, 1)
        return torch.arange(self.window[axis], device=step.device) * step

    def _between(self, x: Tensor, axis: int) -> Tensor:
        """Return the rows or columns of the window, each interpolated between the two that are nearest: float32."""
        place = self._places(axis)
        low = place.floor()
        line = low.long() + self.crop[0, 2 * axis]
        lower = _select(x, line, axis + 2).to(torch.promote_types(x.dtype, torch.float32))
        upper = _select(x, line + 1, axis + 2).to(lower.dtype)
        share = (place - low).to(lower.dtype)
        return lower.lerp(upper, share[:, None] if axis == 0 else share)


def _select(x: Tensor, line: Tensor, dim: int) -> Tensor:
    """Return rows or columns of ``x``, of which one more may be named than there are."""
    return x.index_select(dim, line.clamp(max=x.shape[dim] - 1))


def crop_plan(partner: Tensor, boxes: Tensor, size: tuple[int, int], crop: Tensor) -> CropPlan:
    """Make a :class:`CropPlan` from tensors on the CPU; nothing is pasted unless both boxes hold a pixel."""
    both = (box_area(boxes) > 0) & (box_area(crop) > 0)
    boxes, crop = boxes * both, crop * both
    height, width = (int((boxes[0, 2 * axis + 1] - boxes[0, 2 * axis]).clamp(min=1)) for axis in (0, 1))
    return CropPlan(partner, boxes, size, crop, (height, width))
