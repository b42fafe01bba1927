"""The solver as a whole: against brute force, dynamic programming and gco's graph cuts, on noise and on real images."""

import runpy
from pathlib import Path

import pytest
import torch

from openmix.ops import grid_solver
from openmix.ops.grid_convex import ConvexRelaxation
from openmix.ops.grid_energy import GridEnergy
from openmix.ops.grid_profile import minimise_by_profile
from openmix.ops.grid_relaxation import LOOK_EVERY_UNREAD, THRESHOLDS
from openmix.ops.grid_solver import minimise

INSTANCES = runpy.run_path(str(Path(__file__).with_name("grid_instances.py")))
any_energy, brute_force = INSTANCES["any_energy"], INSTANCES["brute_force"]
random_puzzle, real_puzzle = INSTANCES["random_puzzle"], INSTANCES["real_puzzle"]
SIZES = pytest.mark.parametrize(("n", "n_labels"), [(n, n_labels) for n in (2, 4, 8, 16) for n_labels in (2, 3, 4)])
EXACT = {(2, 2), (2, 3), (2, 4), (4, 2), (4, 3), (4, 4), (8, 2), (8, 3)}


def solve_all(energy, **options):
    """The solution of a large batch, 128 grids at a time, as tensors in float64."""
    parts = [minimise(energy.take(slice(i, i + 128)), **options) for i in range(0, len(energy.unary), 128)]
    labels, least, gap = (torch.cat([getattr(part, name) for part in parts]) for name in ("labels", "energy", "gap"))
    assert torch.equal(least, energy.of(labels))
    return labels, least.double(), gap.double()


def check_against_gco(energy, n, n_labels, **options):
    labels, least, gap = solve_all(energy, **options)
    assert (gap >= 0).all()
    assert (gap <= (1e-6 if (n, n_labels) in EXACT else 1.0001e-4) * least.abs()).double().mean() >= 0.99
    cut = energy.of(INSTANCES["gco_swap"](INSTANCES["gco_inputs"](energy))).double()
    assert (least - gap <= cut + 2e-7 * cut.abs()).all(), "the bound is one"
    assert (least <= cut + 1e-3 * cut.abs()).all()
    assert ((least - cut) / cut.abs()).mean() <= 5e-6, "on average not above; equal, where two labels are a cut"
    return labels, least, cut


@SIZES
def test_noise_beside_gco(n, n_labels):
    pytest.importorskip("gco", reason="gco-wrapper has no wheel for this Python")
    check_against_gco(random_puzzle(100, n, n_labels), n, n_labels)


@SIZES
def test_costs_without_order_beside_gco(n, n_labels):
    pytest.importorskip("gco", reason="gco-wrapper has no wheel for this Python")
    check_against_gco(any_energy(20, n, n_labels), n, n_labels, convex=False)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["random_puzzle", "real_puzzle", "any_energy"])
@SIZES
def test_2000_beside_gco(kind, n, n_labels):
    pytest.importorskip("gco", reason="gco-wrapper has no wheel for this Python")
    if kind == "real_puzzle" and not INSTANCES["CIFAR"].is_file():
        pytest.skip("the real CIFAR-10 images are not at ../shared/data/cifar10")
    energy = INSTANCES[kind](2000, n, n_labels, seed=1)
    labels, least, cut = check_against_gco(energy, n, n_labels, convex=kind != "any_energy")
    if n == 16 and n_labels > 2:
        assert least.mean() < cut.mean()
    assert kind == "any_energy" or labels.float().mean() / (n_labels - 1) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_no_labeling_of_9_cells_is_better(n_labels):
    energy = any_energy(50 if n_labels < 4 else 3, 3, n_labels)
    torch.testing.assert_close(minimise(energy).energy, brute_force(energy), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["random_puzzle", "any_energy"])
@pytest.mark.parametrize(("n", "n_labels"), sorted(EXACT))
def test_exact_where_it_is_said_to_be(kind, n, n_labels):
    energy = INSTANCES[kind](48, n, n_labels, seed=2)
    solution = minimise(energy)
    torch.testing.assert_close(solution.energy, energy.of(minimise_by_profile(energy)), rtol=1e-6, atol=0)
    assert (solution.gap <= 1e-6 * solution.energy).all()


def test_what_the_relaxation_leaves_open_is_solved_otherwise(monkeypatch):
    exact, general = grid_solver._exact, grid_solver._general
    seen = []
    for solver in ("_exact", "_general"):
        inner = getattr(grid_solver, solver)
        monkeypatch.setattr(grid_solver, solver, lambda e, inner=inner: seen.append(len(e.unary)) or inner(e))
    for n, n_labels, solve, close in ((8, 3, exact, 1e-6), (8, 4, general, 2e-4)):
        convex, other = random_puzzle(12, n, n_labels), any_energy(12, n, n_labels, strength=0.5)
        mixed = GridEnergy(*(torch.cat([getattr(e, k) for e in (convex, other)]) for k in ("unary", "right", "down")))
        order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
        solution = minimise(mixed.take(order))
        torch.testing.assert_close(solution.energy, solve(mixed).energy[order], rtol=close, atol=0)
        assert (solution.gap <= 1.0001e-4 * solution.energy).all()
    assert min(seen) >= 8 and max(seen) < 24, "some, not all"


@SIZES
def test_no_saliency_and_no_contrast(n, n_labels):
    # as Puzzle Mix has it for two equal images without gradients; nothing but the prior tells labels apart
    from openmix.ops.puzzle import puzzle_energy, saliency_shares

    for lam in (0.0, 0.3, 1.0):
        energy = puzzle_energy(
            saliency_shares(torch.zeros(3, 32, 32), n, n), torch.zeros(3, 3, 32, 32), torch.tensor([1, 2, 0]),
            torch.full((3, 1, 1), lam), n_labels=n_labels, **INSTANCES["SETTINGS"],
        )  # fmt: skip
        solution = minimise(energy)
        assert solution.energy.isfinite().all() and solution.gap.isfinite().all()
        likeliest = energy.unary[0, 0, 0].argmin()
        torch.testing.assert_close(solution.energy, energy.of(likeliest.expand(3, n, n)), rtol=2e-4, atol=0)


@SIZES
def test_all_zero(n, n_labels):
    zero = GridEnergy(torch.zeros(2, n, n, n_labels), torch.zeros(2, n, n - 1), torch.zeros(2, n - 1, n))
    solution = minimise(zero)
    assert not solution.energy.any() and not solution.gap.any()
    assert ((solution.labels >= 0) & (solution.labels < n_labels)).all()


@SIZES
def test_equal_calls_give_equal_labels_and_leave_the_input_alone(n, n_labels):
    energy = random_puzzle(7, n, n_labels)
    before = [t.clone() for t in (energy.unary, energy.right, energy.down)]
    one, other = minimise(energy), minimise(energy)
    assert torch.equal(one.labels, other.labels) and torch.equal(one.gap, other.gap)
    assert all(map(torch.equal, before, (energy.unary, energy.right, energy.down)))
    assert one.labels.dtype == torch.int64 and one.energy.dtype == one.gap.dtype == torch.float32


@pytest.mark.parametrize(("n", "n_labels"), [(2, 3), (8, 2), (8, 3), (16, 3)])
def test_a_batch_of_one_and_gradients_outside(n, n_labels):
    energy = random_puzzle(3, n, n_labels)
    energy = GridEnergy(energy.unary.requires_grad_(), energy.right, energy.down)
    together = minimise(energy).energy
    alone = torch.cat([minimise(energy.take(slice(b, b + 1))).energy for b in range(3)])
    assert not together.requires_grad
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=0)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize(("n", "n_labels"), [(8, 3), (16, 2), (16, 4)])
def test_units_do_not_matter(n, n_labels, scale):
    energy = random_puzzle(8, n, n_labels)
    other = minimise(GridEnergy(energy.unary * scale, energy.right * scale, energy.down * scale))
    torch.testing.assert_close(other.energy / scale, minimise(energy).energy, rtol=2e-4, atol=0)


@pytest.mark.parametrize(("n", "n_labels"), [(16, 2), (16, 3), (16, 4), (8, 4)])
def test_the_iterations_done_where_nothing_is_read_are_enough(n, n_labels):
    energy = random_puzzle(256, n, n_labels, seed=3)
    state = ConvexRelaxation.of(energy)
    for look in range(grid_solver.CONVEX_UNREAD // LOOK_EVERY_UNREAD):
        state.advance(LOOK_EVERY_UNREAD)
        state.look(THRESHOLDS[look % 3])
    gap = (state.energy - state.bound) / state.energy
    assert (gap <= 1e-4).float().mean() >= 0.99
    assert gap.max() <= 2e-3
    # what leaves the batch early is not worse than its tolerance
    torch.testing.assert_close(minimise(energy).energy.double(), state.energy, rtol=2.2e-3, atol=0)


@pytest.mark.parametrize("convex", [True, False])
@SIZES
def test_nothing_is_read_off_the_cpu(n, n_labels, convex, monkeypatch):
    # where tensors hold no values, to read one is an error
    monkeypatch.setattr(grid_solver, "CONVEX_UNREAD", 40)
    monkeypatch.setattr(grid_solver, "GENERAL_UNREAD", 40)
    shapes = (5, n, n, n_labels), (5, n, n - 1), (5, n - 1, n)
    solution = minimise(GridEnergy(*(torch.empty(shape, device="meta") for shape in shapes)), convex=convex)
    assert solution.labels.shape == (5, n, n) and solution.labels.device.type == "meta"
    assert solution.energy.shape == solution.gap.shape == (5,)
