"""Energies of labelings of square grids, with ordered labels and a quadratic cost between neighbours.

Puzzle Mix (Kim et al., 2020, arXiv:2009.06962) chooses how much of either image a block shows by minimising one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GridEnergy", "GridSolution"]


@dataclass(frozen=True)
class GridEnergy:
    """The energies E(z) = sum_p unary[p, z_p] + sum_pq w_pq (v(z_p) - v(z_q))^2 of B grids, with v(l) = l / (L - 1).

    Attributes:
        unary: float32 (B, n, n, L); the cost of each of L >= 2 labels in each cell: any finite values, in any unit.
        right: float32 (B, n, n - 1), >= 0; w between the cells (i, j) and (i, j + 1).
        down: float32 (B, n - 1, n), >= 0; w between the cells (i, j) and (i + 1, j).

    Raises:
        ValueError: the shapes do not belong together. The values are not looked at.

    >>> energy = GridEnergy(torch.zeros(1, 2, 2, 3), torch.ones(1, 2, 1), torch.ones(1, 1, 2))
    >>> energy.of(torch.tensor([[[0, 2], [1, 2]]]))  # differences of 1, 1/2, 1/2 and 0
    tensor([1.5000])
    """

    unary: Tensor
    right: Tensor
    down: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.unary.shape)
        if len(shape) != 4 or shape[1] != shape[2] or shape[1] < 1 or shape[3] < 2:
            raise ValueError(f"unary must be (B, n, n, L) with n >= 1 and L >= 2, got {shape}")
        batch, n = shape[:2]
        expected = {"right": (batch, n, n - 1), "down": (batch, n - 1, n)}
        for name, edges in (("right", self.right), ("down", self.down)):
            if tuple(edges.shape) != expected[name]:
                raise ValueError(f"{name} must be {expected[name]} beside a unary of {shape}, got {tuple(edges.shape)}")
        if not self.unary.dtype == self.right.dtype == self.down.dtype == torch.float32:
            raise ValueError("unary, right and down must be float32")

    @property
    def n_labels(self) -> int:
        """L, the number of labels."""
        return self.unary.shape[3]

    def take(self, part: slice | Tensor) -> "GridEnergy":
        """Return the energies of a part of the batch."""
        return GridEnergy(self.unary[part], self.right[part], self.down[part])

    def of(self, labels: Tensor) -> Tensor:
        """Return the energy of a labeling of each grid: float32 (B,), summed in float64, for int64 (B, n, n)."""
        value = labels.to(torch.float64) / (self.n_labels - 1)
        unary = self.unary.gather(3, labels[..., None]).squeeze(3)
        right = value.diff(dim=2).square() * self.right
        down = value.diff(dim=1).square() * self.down
        terms = [t.flatten(1).sum(1, dtype=torch.float64) for t in (unary, right, down)]
        return (terms[0] + terms[1] + terms[2]).float()


@dataclass(frozen=True)
class GridSolution:
    """Labelings of low energy, and how low.

    Attributes:
        labels: int64 (B, n, n).
        energy: float32 (B,), of the labels.
        gap: float32 (B,), >= 0: the energy less a proven lower bound of the minimum; 0 where the labels are the minimum
            by construction, up to rounding.
    """

    labels: Tensor
    energy: Tensor
    gap: Tensor

    @classmethod
    def joined(cls, parts: Sequence["GridSolution"]) -> "GridSolution":
        """Return the solutions of the parts of a batch as one."""
        names = ("labels", "energy", "gap")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
