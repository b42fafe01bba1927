"""Plans of more than two sources: K images blended, and four images laid out about a point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.planes import elements, from_planes, is_channels_last, select_rows, to_planes
from openmix.ops.plans import OnDevice, check_size

__all__ = ["MosaicPlan", "SumPlan"]


@dataclass(frozen=True)
class SumPlan(OnDevice):
    """Blends K images each: ``sum_k shares[:, k] * x[sources[:, k]]``.

    Attributes:
        sources: int64 (B, K), the image itself first.
        shares: float32 (B, K), or pixel by pixel (B, K, H, W), summing to 1 over K. They may be on the way of a
            gradient: that of the images by them is then computed as well.
    """

    sources: Tensor
    shares: Tensor

    @property
    def weights(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        return self.shares if self.shares.ndim == 2 else self.shares.mean((2, 3))

    @property
    def masks(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        return self.shares[:, :, None, None] if self.shares.ndim == 2 else self.shares

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Blend in float32 at least and cast back; integers are refused with TypeError."""
        check_size(x, len(self.sources), None if self.shares.ndim == 2 else tuple(self.shares.shape[2:]))
        if not x.is_floating_point():
            raise TypeError(f"cannot blend {x.dtype}: this method mixes images by shares; pass floating point values")
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        shares = self.masks[:, :, None].to(wide.dtype)
        mixed = wide * shares[:, 0]
        for k in range(1, self.sources.shape[1]):
            mixed = torch.addcmul(mixed, wide[self.sources[:, k]], shares[:, k])
        return mixed.to(x.dtype)


@dataclass(frozen=True)
class MosaicPlan(OnDevice):
    """Cuts each image at a row and a column and fills the four fields with four images.

    Attributes:
        sources: int64 (B, 4), the image itself first.
        field: int64 (B, 4), which source each field shows: top left, top right, bottom left, bottom right.
        cut: int64 (B, 2), the first row and the first column of the lower and of the right fields.
        origin: int64 (B, 4, 2), of each field, the row and the column of its source that its first pixel shows.
        step: float32 (B, 4, 2), rows and columns of the source for each one of the field: 1 for a crop.
        size: (H, W) of the images.
    """

    sources: Tensor
    field: Tensor
    cut: Tensor
    origin: Tensor
    step: Tensor
    size: tuple[int, int]

    @property
    def weights(self) -> Tensor:
        """The exact area of each source's field."""
        height, width = self.size
        top, left = self.cut[:, 0], self.cut[:, 1]
        area = torch.stack(
            [top * left, top * (width - left), (height - top) * left, (height - top) * (width - left)], dim=1
        )
        return torch.zeros_like(area, dtype=torch.float32).scatter_(1, self.field, area.float() / (height * width))

    @property
    def masks(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        shown = self._shown_source()[:, None]
        return (shown == torch.arange(4, device=shown.device)[None, :, None, None]).float()

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Copy pixels, always by the nearest one where a source is made small: exact for every dtype."""
        check_size(x, len(self.sources), self.size)
        height, width = self.size
        planes = to_planes(x, is_channels_last(x))
        image = self.sources.gather(1, self.field)  # of each field
        lower = torch.arange(height, device=x.device) >= self.cut[:, :1]
        right = torch.arange(width, device=x.device) >= self.cut[:, 1:]
        # the row of its left field and that of its right one, side by side, make a row of twice the width
        strips = torch.cat(
            [
                select_rows(
                    planes,
                    torch.where(lower, image[:, 2 + side, None], image[:, side, None]),
                    torch.where(lower, self._lines(2 + side, 0), self._lines(side, 0)),
                )
                for side in (0, 1)
            ],
            dim=3,
        )
        # the columns within it, for the rows of the upper fields and for those of the lower ones
        column = [torch.where(right, self._lines(row + 1, 1) + width, self._lines(row, 1)) for row in (0, 2)]
        upper, under = (elements(c, planes, width)[:, None, None] for c in column)
        index = torch.where(lower[:, None, :, None], under, upper).expand(*planes.shape)
        return from_planes(strips.gather(3, index), x)

    def _shown_source(self) -> Tensor:
        """Return which of the four sources each pixel shows: int64 (B, H, W)."""
        height, width = self.size
        low = torch.arange(height, device=self.cut.device)[None, :, None] >= self.cut[:, 0, None, None]
        right = torch.arange(width, device=self.cut.device)[None, None, :] >= self.cut[:, 1, None, None]
        number = 2 * low.long() + right.long()
        return self.field.gather(1, number.flatten(1)).view_as(number)

    def _lines(self, field: int, axis: int) -> Tensor:
        """Return the row (axis 0) or column (1) of its source that each of a field's shows: int64 (B, H) or (B, W)."""
        lines = torch.arange(self.size[axis], device=self.cut.device)
        begins = self.cut[:, axis, None] if (field >= 2 if axis == 0 else field % 2 == 1) else 0
        offset = ((lines - begins) * self.step[:, field, axis, None]).floor().long()
        return (self.origin[:, field, axis, None] + offset).clamp(0, self.size[axis] - 1)
