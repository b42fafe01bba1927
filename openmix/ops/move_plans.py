"""A plan that moves blocks within images, and blends block by block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.blend import blend
from openmix.ops.planes import elements, from_planes, is_channels_last, select_rows, to_planes
from openmix.ops.plans import OnDevice, check_size, pair, shares

__all__ = ["MovePlan", "block_of_lines"]


@dataclass(frozen=True)
class MovePlan(OnDevice):
    """Rearranges the blocks of each image and of its partner, and blends the two.

    Where n does not divide a side, blocks differ by a line. One that comes into a larger place shows its last line
    twice; one that comes into a smaller place loses it.

    Attributes:
        partner: int64 (B,).
        lam: the own share in each of n x n places, float32 (B, 1, n, n).
        own: which of the own blocks comes into each place, row by row: int64 (B, n * n).
        other: which of the partner's blocks comes into each place: int64 (B, n * n).
        size: (H, W) of the images, at least n.
    """

    partner: Tensor
    lam: Tensor
    own: Tensor
    other: Tensor
    size: tuple[int, int]

    @property
    def sources(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        return pair(self.partner)

    @property
    def weights(self) -> Tensor:
        """The mean share over the pixels."""
        lam, n = self.lam, self.lam.shape[2]
        for axis, side in enumerate(self.size, start=2):
            if side % n:
                lam = lam.index_select(axis, block_of_lines(side, n, lam.device))
        return shares(lam.mean((2, 3)))

    @property
    def masks(self) -> None:
        """None: content is moved."""
        return None

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Move blocks and blend them in float32 at least; integers are refused with TypeError."""
        check_size(x, len(self.partner), self.size)
        planes, n = to_planes(x, is_channels_last(x)), self.lam.shape[2]
        if all(side % n == 0 for side in self.size):
            return from_planes(self._mixed(planes), x)
        (rows, back_rows), (columns, back_columns) = (_stretch(side, n, x.device) for side in self.size)
        columns, back_columns = (elements(c[None], planes, self.size[1])[0] for c in (columns, back_columns))
        mixed = self._mixed(planes.index_select(2, rows).index_select(3, columns))
        return from_planes(mixed.index_select(2, back_rows).index_select(3, back_columns), x)

    def _mixed(self, planes: Tensor) -> Tensor:
        """Mix planes (B, P, H, L) with sides that n divides."""
        n, image = self.lam.shape[2], torch.arange(len(planes), device=planes.device)
        own, other = _moved(planes, image, self.own, n), _moved(planes, self.partner, self.other, n)
        return blend(own, other, self.lam.reshape(-1, 1, n, 1, n, 1)).reshape(planes.shape)


def block_of_lines(side: int, n: int, device: torch.device) -> Tensor:
    """Return in which of n blocks each of ``side`` rows or columns lies: int64 (side,).

    >>> block_of_lines(5, 2, torch.device("cpu"))
    tensor([0, 0, 0, 1, 1])
    """
    return torch.arange(side, device=device) * n // side


def _stretch(side: int, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return which lines fill n blocks of one size, and which of these are the ``side`` lines again."""
    length = -(-side // n)
    edges = -(-torch.arange(n + 1, device=device) * side // n)
    within = edges[:-1, None] + torch.arange(length, device=device)
    block = block_of_lines(side, n, device)
    back = block * length + torch.arange(side, device=device) - edges[block]
    return torch.minimum(within, edges[1:, None] - 1).flatten(), back


def _moved(planes: Tensor, image: Tensor, source: Tensor, n: int) -> Tensor:
    """Return the blocks ``source`` (B, n * n) of images ``image`` (B,): (B, P, n, H / n, n, L / n)."""
    batch, number, height, length = planes.shape
    row, column = (t.view(batch, n, 1, n) for t in (source // n, source % n))
    inner = torch.arange(height // n, device=source.device)[:, None]
    # each row of a plane is cut into n, one for each block that it crosses
    line = ((row * (height // n) + inner) * n + column).flatten(1)
    cut = planes.reshape(batch, number, height * n, length // n)
    return select_rows(cut, image[:, None], line).view(batch, number, n, height // n, n, length // n)
