"""Minimise a batch of grid energies, exactly or with a proof of how close the result is."""

import math
from collections.abc import Callable

import torch

from openmix.ops.grid_convex import ConvexRelaxation
from openmix.ops.grid_energy import GridEnergy, GridSolution
from openmix.ops.grid_levels import LevelRelaxation
from openmix.ops.grid_profile import minimise_by_profile
from openmix.ops.grid_relaxation import solve_relaxed

__all__ = ["minimise"]

CLOSED = 1e-4  # a gap of this much of the energy is good enough
EXACT = 1e-6  # this much of a sum of float32 numbers is rounding
STATES = 3**8  # of a profile, at most
FEW_STATES = 256  # of a profile: programming is quicker than any iteration
# iterations of either relaxation: on a CPU at most, and where nothing is read
CONVEX_AT_MOST, CONVEX_UNREAD = 600, 240
GENERAL_AT_MOST, GENERAL_UNREAD = 1000, 600
CONVEX_BEFORE_EXACT = 150  # at most, where programming follows
ONE_THREAD = 32768  # numbers in a tensor, up to which torch uses one thread


@torch.no_grad()
def minimise(energy: GridEnergy, *, convex: bool = True) -> GridSolution:
    """Return, for each grid, a labeling of the least energy, or one that is proven to be close to it.

    With up to 3 ** 8 labelings of a row - grids of 4 with up to 4 labels, of 8 with 2 or 3 - it is the minimum, up to
    rounding: by dynamic programming or, on a CPU, by the relaxation below where that comes within 1e-6 of its bound.
    Greater grids are relaxed to a minimum cut, and this is solved by iterations that yield a bound as well. On a CPU
    they go on until the gap is at most 1e-4 of the energy's magnitude, for a limited time; elsewhere nothing is read,
    and their number is fixed. What is left open can be seen in the gap.

    Args:
        energy: what to minimise.
        convex: whether the cells' costs are convex in the label, as Puzzle Mix's are: then the cut has one number a
            cell, not one a label, and is found several times sooner. If True where they are not, gaps may stay open;
            but on a CPU the general relaxation closes those, which takes longer than with False.

    >>> unary = torch.tensor([[[[0.0, 9.0], [1.0, 0.0]], [[3.0, 0.0], [0.0, 0.0]]]])
    >>> solution = minimise(GridEnergy(unary, torch.ones(1, 2, 1), torch.ones(1, 1, 2)))
    >>> solution.labels, solution.energy
    (tensor([[[0, 1],
             [1, 1]]]), tensor([2.]))
    """
    on_cpu = energy.unary.device.type == "cpu"
    states = energy.n_labels ** energy.unary.shape[1]
    if states <= STATES:
        if states <= FEW_STATES or not (on_cpu and convex):
            return _exact(energy)
        return _solve_open(energy, _convex(energy, EXACT, CONVEX_BEFORE_EXACT), EXACT, _exact)
    if not convex:
        return _general(energy)
    if not on_cpu:
        return solve_relaxed(energy, ConvexRelaxation.of(energy), CLOSED, CONVEX_UNREAD)
    return _solve_open(energy, _convex(energy, CLOSED, CONVEX_AT_MOST), CLOSED, _general)


def _convex(energy: GridEnergy, tolerance: float, iterations: int) -> GridSolution:
    """Solve on a CPU, in parts of the batch that are small enough for torch to use one thread.

    An operation on so few numbers does not gain from more, and to wait for them, where other programs run, can cost a
    hundred times as much as the operation.
    """
    batch, n = energy.unary.shape[:2]
    most = max(1, ONE_THREAD // (n * n * max(2, energy.n_labels - 1)))
    size = math.ceil(batch / math.ceil(batch / most))
    parts = [energy.take(slice(i, i + size)) for i in range(0, batch, size)]
    return GridSolution.joined([solve_relaxed(p, ConvexRelaxation.of(p), tolerance, iterations) for p in parts])


def _exact(energy: GridEnergy) -> GridSolution:
    labels = minimise_by_profile(energy)
    least = energy.of(labels)
    return GridSolution(labels, least, torch.zeros_like(least))


def _general(energy: GridEnergy) -> GridSolution:
    iterations = GENERAL_AT_MOST if energy.unary.device.type == "cpu" else GENERAL_UNREAD
    return solve_relaxed(energy, LevelRelaxation.of(energy), CLOSED, iterations)


def _solve_open(
    energy: GridEnergy, solution: GridSolution, tolerance: float, solve: Callable[[GridEnergy], GridSolution]
) -> GridSolution:
    """Replace what has a greater gap by what another solver finds; on a CPU only, as the gaps are read."""
    rest = (solution.gap > tolerance * solution.energy.abs()).nonzero()[:, 0]
    if len(rest):
        found = solve(energy.take(rest))
        solution.labels[rest], solution.energy[rest], solution.gap[rest] = found.labels, found.energy, found.gap
    return solution
