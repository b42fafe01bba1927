"""The sub-problem's solver against brute force, on random costs of every kind; real ones are in test_comixup_labels."""

import itertools

import pytest
import torch
from torch import Tensor

from openmix.ops.comixup_cut import cut_grid, label_bounds


def random_problem(batch: int, n: int, count: int, seed: int, smooth: float = 0.5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    unary = torch.rand(batch, n, n, count, generator=generator) * 2 - 1
    half = torch.rand(batch, count, count, generator=generator).triu(1) * smooth
    return unary, half + half.transpose(1, 2)


def all_energies(unary: Tensor, pairwise: Tensor) -> tuple[Tensor, Tensor]:
    """Every labeling (M, n * n), and the energies (B, M), in float64."""
    batch, n, _, count = unary.shape
    every = torch.tensor(list(itertools.product(range(count), repeat=n * n)))
    u, w = unary.double().flatten(1, 2), pairwise.double()
    total = torch.zeros(batch, len(every), dtype=torch.float64)
    for p in range(n * n):
        total += u[:, p, every[:, p]]
        if p % n:
            total += w[:, every[:, p - 1], every[:, p]]
        if p >= n:
            total += w[:, every[:, p - n], every[:, p]]
    return every, total


def energies(unary: Tensor, pairwise: Tensor, labels: Tensor) -> Tensor:
    every_batch = torch.arange(len(labels))[:, None, None]
    grid = labels.view(unary.shape[:3])
    total = unary.gather(3, grid[..., None]).double().sum((1, 2, 3))
    for a, b in ((grid[:, 1:], grid[:, :-1]), (grid[:, :, 1:], grid[:, :, :-1])):
        total += pairwise.double()[every_batch, a, b].sum((1, 2))
    return total


@pytest.mark.parametrize(("n", "count"), [(2, 2), (2, 5), (2, 9), (3, 3), (3, 4), (4, 2)])
@pytest.mark.parametrize("smooth", [0.02, 0.5, 3.0])
def test_as_many_candidates_as_labels_is_exact(n, count, smooth):
    unary, pairwise = random_problem(24 if count**n < 64 else 3, n, count, seed=n * 10 + count, smooth=smooth)
    cut = cut_grid(unary, pairwise, labels=count, candidates=count)
    _, every = all_energies(unary, pairwise)
    torch.testing.assert_close(energies(unary, pairwise, cut.labels), every.amin(1), rtol=0, atol=1e-5)
    torch.testing.assert_close(cut.energy.double(), every.amin(1), rtol=0, atol=1e-5)
    assert not cut.gap.any()


@pytest.mark.parametrize(("n", "count"), [(2, 7), (3, 3)])
@pytest.mark.parametrize("smooth", [0.02, 0.5, 3.0])
@pytest.mark.parametrize(("labels", "candidates", "rounds"), [(7, 2, 1), (3, 2, 3), (2, 2, 6), (5, 1, 8)])
def test_the_gap_is_never_too_small(n, count, smooth, labels, candidates, rounds):
    unary, pairwise = random_problem(60, n, count, seed=n, smooth=smooth)
    cut = cut_grid(unary, pairwise, labels, candidates, rounds)
    lowest = all_energies(unary, pairwise)[1].amin(1)
    torch.testing.assert_close(cut.energy.double(), energies(unary, pairwise, cut.labels), rtol=0, atol=1e-5)
    assert bool((cut.energy.double() - cut.gap <= lowest + 1e-5).all())
    assert bool((cut.energy.double() >= lowest - 1e-5).all())


def test_few_candidates_leave_a_gap_that_is_seen():
    unary, pairwise = random_problem(60, 2, 9, seed=1, smooth=3.0)
    cut = cut_grid(unary, pairwise, labels=9, candidates=2, rounds=1)
    missed = energies(unary, pairwise, cut.labels) > all_energies(unary, pairwise)[1].amin(1) + 1e-5
    assert bool(missed.any()) and bool((cut.gap[missed] > 0).all())
    assert float((cut_grid(unary, pairwise).gap < 1e-5).float().mean()) > 0.8


@pytest.mark.parametrize("rounds", [1, 2, 5, 20])
def test_bounds_are_below_the_energies_with_a_label(rounds):
    unary, pairwise = random_problem(40, 3, 3, seed=5)
    bounds = label_bounds(unary, pairwise, rounds)
    every, total = all_energies(unary, pairwise)
    exact = torch.stack(
        [torch.stack([total[:, every[:, p] == k].amin(1) for k in range(3)], 1) for p in range(9)], 1
    ).view(40, 3, 3, 3)
    assert bool((bounds <= exact + 1e-5).all())
    # how far the bound of the minimum is below it: rounds are worth their time
    slack = float((total.amin(1) - bounds.flatten(1, 2).amin(2).amax(1)).mean())
    assert slack < {1: 0.25, 2: 0.05, 5: 0.01, 20: 1e-4}[rounds]


def test_a_label_that_costs_more_than_all_edges_can_save_is_left_out_for_good():
    unary, pairwise = random_problem(8, 2, 4, seed=2)
    wide = torch.cat([unary, torch.full((8, 2, 2, 20), 1e3)], 3)
    edges = torch.full((8, 24, 24), 0.5)
    edges[:, :4, :4] = pairwise
    edges.diagonal(dim1=1, dim2=2).zero_()
    cut = cut_grid(wide, edges, candidates=4)
    assert not cut.gap.any()
    torch.testing.assert_close(cut.energy.double(), all_energies(unary, pairwise)[1].amin(1), rtol=0, atol=1e-5)


def test_a_problem_is_solved_alike_whatever_is_beside_it():
    unary, pairwise = random_problem(6, 4, 9, seed=3)
    together = cut_grid(unary, pairwise)
    for b in range(6):
        alone = cut_grid(unary[b : b + 1], pairwise[b : b + 1])
        assert torch.equal(alone.labels[0], together.labels[b])
        torch.testing.assert_close(alone.energy[0], together.energy[b])


def test_nothing_is_read_on_another_device():
    unary, pairwise = (t.to("meta") for t in random_problem(3, 4, 23, seed=0))
    cut = cut_grid(unary, pairwise)
    assert cut.labels.device.type == "meta" and cut.labels.shape == (3, 16)
