"""What the relaxations of grid energies share: the layout, the roundings, and iterating until the gap closes."""

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass, field, fields
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor

from openmix.ops.grid_energy import GridEnergy, GridSolution

__all__ = ["OVER_RELAXATION", "Relaxation", "flow_out", "plus", "solve_relaxed", "to_batch_last", "total"]

OVER_RELAXATION = 1.7  # in (0, 2)
THRESHOLDS = 0.5, 0.25, 0.75  # of the roundings, in turn
LOOK_EVERY = 10  # iterations on a CPU, where a look may end them
LOOK_EVERY_UNREAD = 40  # elsewhere

R = TypeVar("R", bound="Relaxation")


@dataclass
class Relaxation(ABC):
    """A grid energy with labels made continuous, and how far its minimisation has got.

    In every tensor the batch is the last dimension, so that all operations run along contiguous memory.

    Attributes:
        base: float64 (B,); the energy of label 0 everywhere.
        slopes: float32 (K, n, n, B); what a cell's cost rises by from label k to k + 1, for K = L - 1.
        weight: float32 (2, n, n, B); of the edge from a cell to the one at its right, and to the one below it; 0 at the
            border.
        levels: float32 (K, n, n, B) in [0, 1], not rising with k; how far each cell is above label k, at the last
            iterate.
        labels: float32 (n, n, B); the best labeling that was found.
        energy: float64 (B,), of that.
        bound: float64 (B,); the highest lower bound that was found.
    """

    base: Tensor
    slopes: Tensor
    weight: Tensor
    levels: Tensor
    labels: Tensor = field(init=False)
    energy: Tensor = field(init=False)
    bound: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.labels = torch.zeros_like(self.slopes[0])
        self.energy = torch.full_like(self.base, torch.inf)
        self.bound = -self.energy

    @abstractmethod
    def advance(self, iterations: int) -> None:
        """Go on for so many iterations."""

    @abstractmethod
    def lower_bound(self) -> Tensor:
        """Return a lower bound of the energy of all labelings, from the last iterate: float64 (B,)."""

    def look(self, threshold: float) -> None:
        """Round the last iterate, take its bound, and keep either if it is better than before."""
        above = self.levels.clone().gt_(threshold)
        energy = self._energy(above)
        self.labels = torch.where(energy < self.energy, plus(above), self.labels)
        self.energy = torch.minimum(energy, self.energy)
        self.bound = torch.maximum(self.lower_bound(), self.bound)

    def _energy(self, above: Tensor) -> Tensor:
        """Return the energy of the labels that are above those k: float64 (B,) for 0 and 1, (K, n, n, B)."""
        labels = plus(above)
        right, down = labels[:, 1:] - labels[:, :-1], labels[1:] - labels[:-1]
        pairs = total(right.square_().mul_(self.weight[0, :, :-1])) + total(down.square_().mul_(self.weight[1, :-1]))
        return self.base + total(above * self.slopes) + pairs / len(self.slopes) ** 2

    def take(self: R, keep: Tensor) -> R:
        """Return the same for a part of the batch alone; ``keep`` is an index."""
        part = copy(self)
        for f in fields(self):
            setattr(part, f.name, getattr(self, f.name).index_select(-1, keep))
        return part


def solve_relaxed(energy: GridEnergy, relaxation: Relaxation, tolerance: float, iterations: int) -> GridSolution:
    """Iterate until each gap is at most ``tolerance`` of the energy's magnitude, or so many iterations are done.

    On a CPU, grids that are done leave the batch. Elsewhere nothing is read, and all iterations are done for all.
    """
    on_cpu = relaxation.base.device.type == "cpu"
    every = LOOK_EVERY if on_cpu else LOOK_EVERY_UNREAD
    labels, bound = torch.empty_like(relaxation.labels), torch.empty_like(relaxation.bound)
    part = torch.arange(len(bound), device=bound.device)
    for look in range(iterations // every):
        relaxation.advance(every)
        relaxation.look(THRESHOLDS[look % len(THRESHOLDS)])
        if on_cpu:
            is_open = relaxation.energy - relaxation.bound > tolerance * relaxation.energy.abs()
            keep, done = is_open.nonzero()[:, 0], is_open.logical_not().nonzero()[:, 0]
            if len(done):
                labels.index_copy_(-1, part[done], relaxation.labels.index_select(-1, done))
                bound.index_copy_(0, part[done], relaxation.bound.index_select(0, done))
                relaxation, part = relaxation.take(keep), part[keep]
            if not len(keep):
                break
    labels.index_copy_(-1, part, relaxation.labels)
    bound.index_copy_(0, part, relaxation.bound)
    found = labels.permute(2, 0, 1).long()
    least = energy.of(found)
    return GridSolution(found, least, (least.double() - bound).clamp(min=0).float())


def to_batch_last(energy: GridEnergy) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``energy`` as a relaxation has it: base, slopes and weight."""
    batch, n = energy.unary.shape[:2]
    unary = energy.unary.permute(3, 1, 2, 0)
    weight = unary.new_zeros(2, n, n, batch)
    weight[0, :, :-1] = energy.right.permute(1, 2, 0)
    weight[1, :-1] = energy.down.permute(1, 2, 0)
    base = energy.unary[..., 0].flatten(1).sum(1, dtype=torch.float64)
    return base, unary.diff(dim=0).contiguous(), weight


def total(terms: Tensor) -> Tensor:
    """Return the sum over all but the batch, most of it in float32: float64 (B,) for (n, n, B) or (K, n, n, B)."""
    cells = terms if terms.dim() == 3 else plus(terms)
    return cells.sum(0).sum(0, dtype=torch.float64)


def plus(terms: Tensor) -> Tensor:
    """Return the sum over the first dimension, which is short; ``sum`` would use several threads, to no gain."""
    return reduce(torch.add, terms.unbind(0))


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
