"""What the relaxations of grid energies share: the layout, the roundings, and iterating until the gap closes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from openmix.ops.grid_energy import GridEnergy, GridSolution

__all__ = ["OVER_RELAXATION", "Relaxation", "flow_out", "solve_relaxed", "to_batch_last"]

OVER_RELAXATION = 1.7  # in (0, 2)
THRESHOLDS = 0.25, 0.5, 0.75  # of the roundings
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
        levels: float32 (K, n, n, B) in [0, 1]; how far each cell is above label k, at the last iterate.
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

    def look(self) -> None:
        """Round the last iterate at a few thresholds, take its bound, and keep what is better than before."""
        rounded = torch.stack([(self.levels > threshold).sum(0) for threshold in THRESHOLDS]).float()
        energy, which = self.energies(rounded).min(0)
        rounded = rounded.gather(0, which.expand(1, *rounded.shape[1:]))[0]
        self.labels = torch.where(energy < self.energy, rounded, self.labels)
        self.energy = torch.minimum(energy, self.energy)
        self.bound = torch.maximum(self.lower_bound(), self.bound)

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

    def take(self: R, keep: Tensor) -> R:
        """Return the same for a part of the batch alone; ``keep`` is an index."""
        values = {f.name: getattr(self, f.name).index_select(-1, keep) for f in fields(self)}
        part = replace(self, **{f.name: values[f.name] for f in fields(self) if f.init})
        part.labels, part.energy, part.bound = values["labels"], values["energy"], values["bound"]
        return part


def solve_relaxed(energy: GridEnergy, relaxation: Relaxation, tolerance: float, iterations: int) -> GridSolution:
    """Iterate until each gap is at most ``tolerance`` of the energy's magnitude, or so many iterations are done.

    On a CPU, grids that are done leave the batch. Elsewhere nothing is read, and all iterations are done for all.
    """
    on_cpu = relaxation.base.device.type == "cpu"
    every = LOOK_EVERY if on_cpu else LOOK_EVERY_UNREAD
    labels, bound = relaxation.labels.clone(), relaxation.bound.clone()
    part = torch.arange(len(bound), device=bound.device)
    for _ in range(0, iterations, every):
        relaxation.advance(every)
        relaxation.look()
        labels[..., part], bound[part] = relaxation.labels, relaxation.bound
        if on_cpu:
            is_open = relaxation.energy - relaxation.bound > tolerance * relaxation.energy.abs()
            keep = is_open.nonzero()[:, 0]
            if not len(keep):
                break
            if len(keep) < len(part):
                relaxation, part = relaxation.take(keep), part[keep]
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
