"""The relaxations against dynamic programming: what they bound, what they round to, what they cannot do."""

import runpy
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from openmix.ops.grid_convex import ConvexRelaxation
from openmix.ops.grid_energy import GridEnergy
from openmix.ops.grid_levels import LevelRelaxation
from openmix.ops.grid_profile import minimise_by_profile
from openmix.ops.grid_relaxation import solve_relaxed

INSTANCES = runpy.run_path(str(Path(__file__).with_name("grid_instances.py")))
any_energy, random_puzzle = INSTANCES["any_energy"], INSTANCES["random_puzzle"]
BOTH = pytest.mark.parametrize("relaxation", [ConvexRelaxation, LevelRelaxation])


def least(energy):
    return energy.of(minimise_by_profile(energy)).double()


@BOTH
@pytest.mark.parametrize(("n", "n_labels"), [(2, 3), (3, 4), (5, 2), (6, 3), (4, 4)])
def test_any_iterate_bounds_the_minimum_from_both_sides(relaxation, n, n_labels):
    for energy in (any_energy(16, n, n_labels, strength=0.5), random_puzzle_of(16, n, n_labels)):
        state, exact = relaxation.of(energy), least(energy)
        tolerance = 1e-6 * exact.abs()
        for threshold in (0.5, 0.25, 0.75, 0.5):
            state.advance(7)
            assert (state.lower_bound() <= exact + tolerance).all()
            state.look(threshold)
            assert (state.energy >= exact - tolerance).all()
            labels = state.labels.permute(2, 0, 1).long()
            torch.testing.assert_close(energy.of(labels).double(), state.energy, rtol=1e-6, atol=0)


def random_puzzle_of(count, n, n_labels):
    """Puzzle Mix's energies of sizes that do not divide an image: a corner of a greater grid."""
    e = random_puzzle(count, 8, n_labels)
    return GridEnergy(e.unary[:, :n, :n], e.right[:, :n, : n - 1], e.down[:, : n - 1, :n])


@BOTH
@pytest.mark.parametrize("n_labels", [2, 3])
def test_convex_costs_are_solved_by_both(relaxation, n_labels):
    energy = random_puzzle(64, 8, n_labels)
    solution = solve_relaxed(energy, relaxation.of(energy), 1e-6, 3000)
    exact = least(energy)
    assert (solution.gap <= 2e-6 * solution.energy).all()
    torch.testing.assert_close(solution.energy.double(), exact, rtol=2e-6, atol=0)


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_neighbours_that_are_far_apart(n_labels, strength):
    # costs rise steeply, some one way and some the other, so that the least energies have jumps over several labels
    energy = any_energy(48, 4, n_labels, strength=strength)
    slopes = torch.randn(48, 4, 4, n_labels - 1, generator=torch.Generator().manual_seed(1)).sort(dim=3).values
    unary = torch.cat([torch.full((48, 4, 4, 1), 3.0), 3 + slopes.cumsum(3)], dim=3)
    energy = GridEnergy(unary, energy.right, energy.down)
    solution = solve_relaxed(energy, ConvexRelaxation.of(energy), 1e-6, 3000)
    exact = minimise_by_profile(energy)
    assert exact.diff(dim=1).abs().amax() == n_labels - 1
    torch.testing.assert_close(solution.energy, energy.of(exact), rtol=2e-6, atol=0)
    assert (solution.gap <= 2e-6 * solution.energy.abs()).all()


def test_other_costs_are_solved_by_levels_alone():
    energy = any_energy(32, 6, 3, strength=0.5)
    exact = least(energy)
    general = solve_relaxed(energy, LevelRelaxation.of(energy), 1e-5, 3000)
    torch.testing.assert_close(general.energy.double(), exact, rtol=1e-5, atol=0)
    assert (general.gap <= 1.1e-5 * general.energy).all()
    convex = solve_relaxed(energy, ConvexRelaxation.of(energy), 1e-5, 500)
    assert (convex.gap > 1e-3 * convex.energy).float().mean() > 0.5, "else the general one would not be needed"
    assert ((convex.energy - convex.gap).double() <= exact + 1e-6).all(), "but what it says holds"


def test_four_labels_by_levels():
    energy = any_energy(16, 5, 4, strength=0.5)
    solution = solve_relaxed(energy, LevelRelaxation.of(energy), 1e-5, 4000)
    torch.testing.assert_close(solution.energy.double(), least(energy), rtol=2e-5, atol=0)


def test_grids_that_are_done_leave_and_come_back_in_order():
    energy = random_puzzle(64, 8, 3)
    solution = solve_relaxed(energy, ConvexRelaxation.of(energy), 1e-4, 400)
    torch.testing.assert_close(solution.energy, energy.of(solution.labels), rtol=0, atol=0)
    exact = least(energy)
    assert ((solution.energy.double() - exact).abs() <= 1e-4 * exact).all()
    assert (solution.energy.double() - solution.gap.double() <= exact * (1 + 1e-6)).all()


@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_the_hull_is_the_greatest_convex_function_below(n_labels):
    energy = any_energy(8, 3, n_labels)
    hull = ConvexRelaxation.of(energy).hull
    assert all((b >= a - 1e-6).all() for a, b in pairwise(hull))
    lower = torch.cat([torch.zeros_like(hull[:1]), hull.cumsum(0)])
    cost = (energy.unary - energy.unary[..., :1]).permute(3, 1, 2, 0)
    for label in range(n_labels):  # the least mean of two labels around it, by how near they are
        chords = [
            (cost[a] * (b - label) + cost[b] * (label - a)) / (b - a)
            for a in range(label)
            for b in range(label + 1, n_labels)
        ]
        torch.testing.assert_close(lower[label], torch.stack([cost[label], *chords]).amin(0), rtol=0, atol=1e-6)


@BOTH
def test_no_weights(relaxation):
    energy = any_energy(4, 8, 3, strength=0.0)
    solution = solve_relaxed(energy, relaxation.of(energy), 1e-6, 2000)
    best = energy.unary.argmin(3)
    assert (solution.energy.double() >= energy.of(best).double() * (1 - 1e-6)).all()
    assert solution.energy.isfinite().all() and solution.gap.isfinite().all()
    if relaxation is LevelRelaxation:
        assert torch.equal(solution.labels, best)
