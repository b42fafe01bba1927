"""The plan of Co-Mixup: a grid of cells, each of which shows one of several sources, or the mean of two."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.planes import from_planes, is_channels_last, select_rows, to_planes
from openmix.ops.plans import OnDevice, check_size

__all__ = ["CellPlan"]


@dataclass(frozen=True)
class CellPlan(OnDevice):
    """Shows in each cell of a grid the mean of two sources, which may be one and the same.

    Attributes:
        sources: int64 (B, K), the image itself first.
        shown: int64 (B, n, n, 2), which two of its sources each cell shows.
        size: (H, W) of the images. Where n does not divide a side, cells differ by a pixel.
    """

    sources: Tensor
    shown: Tensor
    size: tuple[int, int]

    @property
    def weights(self) -> Tensor:
        """The share of pixels that show each source, halves counted as such."""
        height, width = (
            torch.tensor(self._edges(side), device="cpu").diff().to(self.shown.device, non_blocking=True)
            for side in self.size
        )
        area = (height[:, None] * width)[None, :, :, None].expand_as(self.shown)
        pixels = torch.zeros_like(self.sources).scatter_add_(1, self.shown.flatten(1), area.flatten(1))
        return pixels.float() / (2 * self.size[0] * self.size[1])

    @property
    def masks(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        rows, columns = (self._cells(side) for side in self.size)
        sources = torch.arange(self.sources.shape[1], device=self.shown.device)[:, None, None]
        cells = (self.shown[:, None] == sources[..., None]).float().mean(4)  # (B, K, n, n)
        return cells.index_select(3, columns).index_select(2, rows)

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Blend in float32 at least and cast back; integers are refused with TypeError."""
        check_size(x, len(self.sources), self.size)
        if not x.is_floating_point():
            raise TypeError(f"cannot blend {x.dtype}: this method mixes images by shares; pass floating point values")
        planes = to_planes(x.to(torch.promote_types(x.dtype, torch.float32)), is_channels_last(x))
        unit = planes.shape[3] // self.size[1]  # elements of a plane's row to a pixel
        images = self.sources.gather(1, self.shown.flatten(1)).view_as(self.shown)
        images = images.index_select(1, self._cells(self.size[0]))  # of each row, (B, H, n, 2)
        row = torch.arange(self.size[0], device=x.device).expand(len(x), -1)
        strips = []
        for j, (begin, end) in enumerate(itertools.pairwise(self._edges(self.size[1]))):
            strip = planes[..., begin * unit : end * unit].contiguous()
            first, second = (select_rows(strip, images[:, :, j, k], row) for k in (0, 1))
            strips.append(first.lerp(second, 0.5))
        return from_planes(torch.cat(strips, 3), x).to(x.dtype)

    def _cells(self, side: int) -> Tensor:
        """Return which row, or column, of cells each pixel of a side belongs to: int64 (side,)."""
        return torch.arange(side, device=self.shown.device) * self.shown.shape[1] // side

    def _edges(self, side: int) -> list[int]:
        """Return where each row, or column, of cells begins, and where the last one ends."""
        n = self.shown.shape[1]
        return [-(-i * side // n) for i in range(n + 1)]
