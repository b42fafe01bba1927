"""Positions on a grid as sines and cosines, which nothing learns."""

import torch
from torch import Tensor

__all__ = ["sincos_positions"]


def sincos_positions(channels: int, grid: tuple[int, int]) -> Tensor:
    """Return MAE's fixed encoding of the places of a grid, row by row: float32 (h * w, channels).

    The first half of the channels tells the column and the second half the row, each by sines and then cosines of
    ``place / 10000 ** (k / K)``, k = 0 ... K - 1 for K = channels / 4.

    Args:
        channels: divisible by 4.
        grid: rows and columns.

    Raises:
        ValueError: ``channels`` is not divisible by 4.

    >>> sincos_positions(4, (1, 2))
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0000, 1.0000]])
    """
    if channels % 4:
        raise ValueError(f"positions of sines and cosines take channels divisible by 4, got {channels}")
    rows, columns = (torch.arange(n, dtype=torch.float64, device="cpu") for n in grid)
    frequencies = 10000 ** -(torch.arange(channels // 4, dtype=torch.float64, device="cpu") / (channels // 4))

    def encode(places: Tensor) -> Tensor:
        angles = places[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    of_columns = encode(columns).repeat(len(rows), 1)
    of_rows = encode(rows).repeat_interleave(len(columns), 0)
    return torch.cat([of_columns, of_rows], dim=1).float()
