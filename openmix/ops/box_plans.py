"""Plans that paste into boxes: the partner's pixels in place, or the whole partner made small."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.boxes import box_area, inside_box
from openmix.ops.plans import OnDevice, check_size, pair, shares

__all__ = ["BoxPlan", "ResizePlan", "largest_box"]


@dataclass(frozen=True)
class BoxPlan(OnDevice):
    """Pastes the partner's pixels into a box of each image.

    Attributes:
        partner: int64 (B,).
        boxes: int64 (B, 4), (y0, y1, x0, x1), half-open; empty where y0 == y1 or x0 == x1.
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
        return shares(1 - box_area(self.boxes).float()[:, None] / (height * width))

    @property
    def masks(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        return shares(1 - inside_box(self.boxes, self.size).float())

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Copy pixels: exact for every dtype."""
        check_size(x, len(self.partner), self.size)
        return torch.where(inside_box(self.boxes, self.size), x[self.partner], x)


def largest_box(boxes: Tensor) -> tuple[int, int]:
    """Return the height and the width, each at least 1, that no box of int64 (N, 4) on the CPU exceeds."""
    return max(1, int((boxes[:, 1] - boxes[:, 0]).max())), max(1, int((boxes[:, 3] - boxes[:, 2]).max()))


@dataclass(frozen=True)
class ResizePlan(BoxPlan):
    """Pastes the whole partner image, made small, into a box of each image.

    Its masks say where own pixels are kept and where the partner's are shown, wherever in the partner these come from.

    Attributes:
        step: float32 (B, 2), partner rows and columns per pasted row and column: pixel (i, j) of the box shows the
            partner's pixel (floor(i * step_y), floor(j * step_x)), which is the rule of ``interpolate``'s 'nearest'.
        window: (h, w) that no box exceeds; work is done in a window of that size about each box, and nowhere else.
        interpolation: 'nearest' or 'bilinear', for the images.
    """

    step: Tensor
    window: tuple[int, int]
    interpolation: str = "nearest"

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Resize and paste; 'nearest' copies pixels of any dtype, 'bilinear' needs floating point."""
        check_size(x, len(self.partner), self.size)
        chosen = interpolation or self.interpolation
        if chosen not in ("nearest", "bilinear"):
            raise ValueError(f"interpolation must be 'nearest' or 'bilinear', got {chosen!r}")
        rows, columns = (self._window_lines(axis) for axis in (0, 1))
        itself = torch.arange(len(x), device=x.device)[:, None, None]
        at = itself, slice(None), rows[:, :, None], columns[:, None, :]
        mixed = x.clone()
        mixed[at] = self._nearest(x, rows, columns) if chosen == "nearest" else self._bilinear(x, rows, columns, x[at])
        return mixed

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
        """Return how far into the partner, in its rows or columns, each of the window's lie: float32."""
        return (lines - self.boxes[:, 2 * axis, None]) * self.step[:, axis, None]

    def _nearest(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return what each pixel of the window shows, (B, h, w, C); beside the box it is the image's own pixel."""
        inside = self._inside(rows, 0)[:, :, None] & self._inside(columns, 1)[:, None, :]
        from_rows, from_columns = (
            self._partner_lines(lines, axis).floor().long().clamp(0, self.size[axis] - 1)
            for axis, lines in enumerate((rows, columns))
        )
        itself = torch.arange(len(x), device=x.device)[:, None, None]
        image = torch.where(inside, self.partner[:, None, None], itself)
        row = torch.where(inside, from_rows[:, :, None], rows[:, :, None])
        column = torch.where(inside, from_columns[:, None, :], columns[:, None, :])
        return x[image, :, row, column]

    def _bilinear(self, x: Tensor, rows: Tensor, columns: Tensor, own: Tensor) -> Tensor:
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
        sampled = F.grid_sample(
            x[self.partner].to(wide), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        inside = self._inside(rows, 0)[:, :, None] & self._inside(columns, 1)[:, None, :]
        return torch.where(inside[..., None], sampled.to(x.dtype).permute(0, 2, 3, 1), own)
