"""Plans that paste into boxes: the partner's pixels in place, or the whole partner made small."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.blend import select
from openmix.ops.boxes import box_area, inside_box, outside_box
from openmix.ops.planes import elements, from_planes, is_channels_last, select_rows, to_planes
from openmix.ops.plans import OnDevice, check_size, pair, shares

__all__ = ["BoxPlan", "ResizePlan", "resize_plan"]


@dataclass(frozen=True)
class BoxPlan(OnDevice):
    """Pastes the partner's pixels into a box of each image.

    Attributes:
        partner: int64 (B,).
        boxes: int64 (B, 4), (y0, y1, x0, x1), half-open; empty where y0 == y1 or x0 == x1. (1, 4) if all are alike.
        size: (H, W) of the images.
    """

    partner: Tensor
    boxes: Tensor
    size: tuple[int, int]

    @property
    def sources(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        return pair(self.partner)

    @property
    def weights(self) -> Tensor:
        """The exact area kept, and the exact area pasted."""
        height, width = self.size
        return shares(1 - box_area(self.boxes).float()[:, None] / (height * width)).expand(len(self.partner), 2)

    @property
    def masks(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        return shares(outside_box(self.boxes, self.size, torch.float32)).expand(len(self.partner), -1, -1, -1)

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Copy pixels: exact for every dtype; of images for all that is finite."""
        check_size(x, len(self.partner), self.size)
        if interpolation is None and x.is_floating_point():
            return select(outside_box(self.boxes, self.size, x.dtype), x, x[self.partner])
        return torch.where(inside_box(self.boxes, self.size), x[self.partner], x)


@dataclass(frozen=True)
class ResizePlan(BoxPlan):
    """Pastes the whole partner image, made small, into a box of each image.

    Its masks say where own pixels are kept and where the partner's are shown, wherever in the partner these come from.

    Attributes:
        boxes: one for each image, (B, 4).
        step: float32 (B, 2), partner rows and columns per pasted row and column: pixel (i, j) of the box shows the
            partner's pixel (floor(i * step_y), floor(j * step_x)), which is the rule of ``interpolate``'s 'nearest'.
        window: (h, w) that no box exceeds; work is done in a window of that size about each box, and nowhere else.
        even: every box is as large as the window.
        interpolation: 'nearest' or 'bilinear', for the images.
    """

    step: Tensor
    window: tuple[int, int]
    even: bool
    interpolation: str = "nearest"

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Resize and paste; 'nearest' copies pixels of any dtype, 'bilinear' needs floating point."""
        check_size(x, len(self.partner), self.size)
        chosen = interpolation or self.interpolation
        if chosen not in ("nearest", "bilinear"):
            raise ValueError(f"interpolation must be 'nearest' or 'bilinear', got {chosen!r}")
        channels_last = is_channels_last(x)
        planes = to_planes(x, channels_last)
        rows, columns = (self._window_lines(axis) for axis in (0, 1))
        if chosen == "nearest":
            shown = self._nearest(planes, rows, columns)
        else:
            shown = to_planes(self._bilinear(x, rows, columns), channels_last)
        at = (rows[:, :, None] * planes.shape[3] + elements(columns, planes, self.size[1])[:, None, :]).flatten(1)
        at = at[:, None].expand(-1, planes.shape[1], -1)
        flat, shown = planes.flatten(2), shown.flatten(2)
        if not self.even:  # beside its box, a window shows the image itself
            inside_columns = self._inside(columns, 1).repeat_interleave(planes.shape[3] // self.size[1], dim=1)
            inside = self._inside(rows, 0)[:, :, None] & inside_columns[:, None, :]
            shown = torch.where(inside.flatten(1)[:, None], shown, flat.gather(2, at))
        return from_planes(flat.scatter(2, at, shown), x)

    def _window_lines(self, axis: int) -> Tensor:
        """Return the image rows (axis 0) or columns (1) of each window: int64 (B, h) or (B, w)."""
        length = self.window[axis]
        first = self.boxes[:, 2 * axis].clamp(max=self.size[axis] - length)
        return first[:, None] + torch.arange(length, device=first.device)

    def _inside(self, lines: Tensor, axis: int) -> Tensor:
        """Return which of the window's rows or columns lie in the box: bool, like ``lines``."""
        low, high = self.boxes[:, 2 * axis, None], self.boxes[:, 2 * axis + 1, None]
        return (lines >= low) & (lines < high)

    def _partner_lines(self, lines: Tensor, axis: int) -> Tensor:
        """Return how far into the partner, in its rows or columns, each of the window's lies: float32."""
        return (lines - self.boxes[:, 2 * axis, None]) * self.step[:, axis, None]

    def _nearest(self, planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the partner's pixels for each pixel of the window: planes (B, P, h, l)."""
        row, column = (
            self._partner_lines(lines, axis).floor().long().clamp(0, self.size[axis] - 1)
            for axis, lines in enumerate((rows, columns))
        )
        strips = select_rows(planes, self.partner[:, None], row)
        return strips.gather(3, elements(column, planes, self.size[1])[:, None, None].expand(*strips.shape[:3], -1))

    def _bilinear(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the partner, interpolated, for each pixel of the window: (B, C, h, w)."""
        if not x.is_floating_point():
            raise TypeError(f"cannot interpolate {x.dtype} bilinearly; pass floating point values, or 'nearest'")
        # grid_sample wants pixel centres in [-1, 1], x before y; in half precision they would miss the pixels
        wide = torch.promote_types(x.dtype, torch.float32)
        y, x_ = (
            (self._partner_lines(lines, axis) + 0.5 * self.step[:, axis, None]) * (2 / self.size[axis]) - 1
            for axis, lines in enumerate((rows, columns))
        )
        shape = len(x), *self.window
        grid = torch.stack([x_[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=-1).to(wide)
        partner = x[self.partner].to(wide)
        return F.grid_sample(partner, grid, mode="bilinear", padding_mode="border", align_corners=False).to(x.dtype)


def resize_plan(
    partner: Tensor, boxes: Tensor, size: tuple[int, int], step: Tensor, interpolation: str = "nearest"
) -> ResizePlan:
    """Make a :class:`ResizePlan` from tensors on the CPU; the window is read off the boxes."""
    sides = torch.stack([boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]], dim=1)
    height, width = sides.amax(0).clamp(min=1).tolist()
    even = bool((sides == sides[:1]).all()) and bool((sides > 0).all())
    return ResizePlan(partner, boxes, size, step, (height, width), even, interpolation)
