"""What the iterative solvers of grid energies share: the layout, roundings and the interface of a relaxation."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from openmix.ops.grid_energy import GridEnergy

__all__ = ["Relaxation", "cells_of", "flow_out"]

THRESHOLDS = 0.25, 0.5, 0.75
RELAXATION = 1.7  # over-relaxation of the iterations, in (0, 2)


@dataclass
class Relaxation(ABC):
    """A grid energy with labels made continuous, and how far its minimisation has got.

    In every tensor the batch is the last dimension, so that all operations run along contiguous memory.

    Attributes:
        base: float64 (B,); the energy of label 0 everywhere.
        slopes: float32 (K, n, n, B); what a cell's cost rises by from label k to k + 1, for K = L - 1.
        weight: float32 (2, n, n, B); of the edge from a cell to the one at its right, and to the one below it; 0 at the
            border.
        levels: float32 (K, n, n, B) in [0, 1]; how far each cell is above label k, at the last iterate.
    """

    base: Tensor
    slopes: Tensor
    weight: Tensor
    levels: Tensor

    @abstractmethod
    def advance(self, iterations: int) -> None:
        """Go on for so many iterations."""

    @abstractmethod
    def bound(self) -> Tensor:
        """Return a lower bound of the energy of all labelings, from the last iterate: float64 (B,)."""

    def rounded(self) -> tuple[Tensor, Tensor]:
        """Round at a few thresholds; return the best labels, float32 (n, n, B), and their energies, float64 (B,)."""
        labels = torch.stack([(self.levels > threshold).sum(0) for threshold in THRESHOLDS]).float()
        energy, best = self.energies(labels).min(0)
        return labels.gather(0, best.expand(1, *labels.shape[1:]))[0], energy

    def energies(self, labels: Tensor) -> Tensor:
        """Return the energies of T labelings of each grid: float64 (T, B) for float32 (T, n, n, B)."""
        levels = len(self.slopes)
        above = torch.stack([labels > k for k in range(levels)], dim=1)
        value = labels / levels
        terms = (
            above * self.slopes,
            (value.diff(dim=2).square() * self.weight[0, :, :-1])[:, None],
            (value.diff(dim=1).square() * self.weight[1, :-1])[:, None],
        )
        return self.base + sum(term.sum((1, 2, 3), dtype=torch.float64) for term in terms)

    def take(self, keep: Tensor) -> Self:
        """Return the same for a part of the batch alone; ``keep`` is an index."""
        return replace(self, **{f.name: getattr(self, f.name).index_select(-1, keep) for f in fields(self)})


def cells_of(energy: GridEnergy) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``energy`` as a relaxation has it: base, slopes and weight."""
    batch, n = energy.unary.shape[:2]
    unary = energy.unary.permute(3, 1, 2, 0)
    weight = unary.new_zeros(2, n, n, batch)
    weight[0, :, :-1] = energy.right.permute(1, 2, 0)
    weight[1, :-1] = energy.down.permute(1, 2, 0)
    base = energy.unary[..., 0].flatten(1).sum(1, dtype=torch.float64)
    return base, unary.diff(dim=0).contiguous(), weight


def flow_out(start: Tensor, end: Tensor) -> Tensor:
    """Return, for each cell, what its edges carry away less what they bring: (..., n, n, B).

    Args:
        start: (2, ..., n, n, B); what the edge to the right, and the one down, take from the cell where they start.
        end: (2, ..., n, n, B), at the same places; what they bring to the cell where they end.
    """
    out = start[0] + start[1]
    out[..., 1:, :] -= end[0][..., :-1, :]
    out[..., 1:, :, :] -= end[1][..., :-1, :, :]
    return out
