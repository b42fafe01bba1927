"""Minimise a batch of grid energies."""

import torch
from torch import Tensor

from openmix.ops.grid_cells import Relaxation
from openmix.ops.grid_convex import ConvexRelaxation
from openmix.ops.grid_energy import GridEnergy, GridSolution
from openmix.ops.grid_levels import LevelRelaxation
from openmix.ops.grid_profile import minimise_by_profile

__all__ = ["minimise"]

TOLERANCE = 1e-4
EXACT = 1e-6  # of float32 numbers summed, this is rounding
STATES = 6561  # of a profile, at most: 8 cells of 3 labels


def minimise(energy: GridEnergy, *, convex: bool | None = None) -> GridSolution:
    """Return labelings of the least energy.

    >>> energy = GridEnergy(torch.rand(5, 4, 4, 3), torch.rand(5, 4, 3), torch.rand(5, 3, 4))
    >>> bool((minimise(energy).gap == 0).all())
    True
    """
    on_cpu = energy.unary.device.type == "cpu"
    states = energy.labels ** energy.unary.shape[1]
    if convex is None:
        convex = on_cpu and _is_convex(energy)
    if states <= STATES:
        if not on_cpu or not convex or states <= 256:
            return _exact(energy)
        labels, bound = _relaxed(ConvexRelaxation.of(energy), EXACT, 150)
        found = energy.of(labels)
        gap = (found.double() - bound).clamp(min=0).float()
        rest = (gap > 2 * EXACT * found.abs()).nonzero()[:, 0]
        if len(rest):
            exact = _exact(GridEnergy(energy.unary[rest], energy.right[rest], energy.down[rest]))
            labels[rest], found[rest], gap[rest] = exact.labels, exact.energy, exact.gap
        return GridSolution(labels, found, gap)
    relaxation, iterations = (ConvexRelaxation, 160) if convex else (LevelRelaxation, 600)
    labels, bound = _relaxed(relaxation.of(energy), TOLERANCE, 1000 if on_cpu else iterations)
    found = energy.of(labels)
    return GridSolution(labels, found, (found.double() - bound).clamp(min=0).float())


def _exact(energy: GridEnergy) -> GridSolution:
    labels = minimise_by_profile(energy)
    found = energy.of(labels)
    return GridSolution(labels, found, torch.zeros_like(found))


def _is_convex(energy: GridEnergy) -> bool:
    slopes = energy.unary.diff(dim=3)
    return bool((slopes.diff(dim=3) >= -1e-6 * slopes.abs().amax()).all())


def _relaxed(relaxation: Relaxation, tolerance: float, iterations: int, every: int = 10) -> tuple[Tensor, Tensor]:
    """Iterate; return labels (B, n, n) and lower bounds."""
    n, batch = relaxation.levels.shape[2:]
    labels = relaxation.base.new_zeros(n, n, batch, dtype=torch.float32)
    least = relaxation.base.new_full((batch,), torch.inf)
    bound = -least
    best, low, high = labels.clone(), bound.clone(), least.clone()
    part = torch.arange(batch, device=low.device)
    for _ in range(0, iterations, every):
        relaxation.advance(every)
        rounded, energy = relaxation.rounded()
        best = torch.where(energy < high, rounded, best)
        high = torch.minimum(energy, high)
        low = torch.maximum(relaxation.bound(), low)
        if low.device.type == "cpu":
            keep = (high - low > tolerance * high.abs()).nonzero()[:, 0]
            if len(keep) < len(part):
                labels[..., part], least[part], bound[part] = best, high, low
                relaxation, part = relaxation.take(keep), part[keep]
                best, high, low = best[..., keep], high[keep], low[keep]
                if not len(keep):
                    break
    labels[..., part], least[part], bound[part] = best, high, low
    return labels.permute(2, 0, 1).long(), bound
