"""Co-Mixup's sweeps against loops with brute force for a solver, and its solver against the authors' graph cut."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops import comixup_labels
from openmix.ops.comixup_cut import cut_grid
from openmix.ops.comixup_groups import Partitions, compatibility, saliency_shares
from openmix.ops.comixup_labels import label_outputs

spec = importlib.util.spec_from_file_location("naive_comixup", Path(__file__).with_name("naive_comixup.py"))
assert spec is not None and spec.loader is not None
naive = importlib.util.module_from_spec(spec)
spec.loader.exec_module(naive)

USUAL = {"beta": 0.32, "gamma": 1.0, "tau": 0.83}


def random_groups(counts: list[int], width: int, cells: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """cost, compat, initial and counts of groups of random saliency, filled up to a width."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor(counts)
    saliency = torch.rand(len(counts), width, cells, generator=generator).pow(3)
    prior = torch.rand(len(counts), width, generator=generator)
    cost = -saliency / saliency.sum(2, keepdim=True) - 0.05 / cells * torch.log(prior)[..., None]
    distance = torch.rand(len(counts), width, width, generator=generator)
    compat = 0.9 * torch.eye(width) + 0.1 * (distance + distance.transpose(1, 2)) / width
    initial = (torch.rand(len(counts), width, cells, generator=generator) * size[:, None, None]).long()
    return cost, compat, initial, size


def shares_of(pairs: Tensor, n: int) -> Tensor:
    """(n, cells, n) for one group's pairs (width, cells, 2)."""
    return (F.one_hot(pairs[:n, :, 0], n) + F.one_hot(pairs[:n, :, 1], n)) / 2


@pytest.mark.parametrize("sweeps", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("tau", [0.83, 0.3, 5.0])
def test_sweeps_equal_loops_with_brute_force(sweeps, tau):
    """Groups of four sizes side by side, on 2 x 2 cells, where all labelings can be tried."""
    counts, cells = [5, 3, 4, 1, 5, 2], 4
    for seed in range(3):
        cost, compat, initial, size = random_groups(counts, 5, cells, seed)
        settings = {"beta": 0.32 / cells, "gamma": 1.0 / cells, "tau": tau, "sweeps": sweeps}
        pairs = label_outputs(cost, compat, initial, size, **settings)
        for g, n in enumerate(counts):
            wanted = naive.label_group(
                cost[g, :n].double().numpy(),
                compat[g, :n, :n].double().numpy(),
                initial[g, :n].numpy(),
                naive.brute_force,
                **settings,
            )
            assert torch.equal(shares_of(pairs[g], n).double(), torch.from_numpy(wanted)), (seed, g)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 1e4])
def test_fillers_are_never_shown(gamma):
    counts = [5, 1, 2, 3]
    cost, compat, initial, size = random_groups(counts, 5, 16, seed=4)
    pairs = label_outputs(cost, compat, initial, size, beta=0.02, gamma=gamma, tau=0.0, sweeps=4)
    for g, n in enumerate(counts):
        assert int(pairs[g, :n].max()) < n


def test_the_loops_come_to_every_part_of_the_method():
    """Blends, collisions that are resolved, and groups that are done early: the test above would be blind without."""
    cells, blended, apart, early = 4, 0, 0, 0
    for seed in range(3):
        for n in (5, 3):
            cost, compat, initial, _ = random_groups([n], n, cells, seed)
            args = cost[0].numpy(), compat[0].numpy(), initial[0].numpy(), naive.brute_force
            runs = {s: naive.label_group(*args, beta=0.08, gamma=0.25, tau=0.83, sweeps=s) for s in (2, 3, 8, 9, 10)}
            blended += int((runs[3] == 0.5).sum())
            apart += int(naive.collisions(runs[3]).sum())
            early += bool((runs[9] == runs[10]).all())
    assert blended and apart and early


@pytest.fixture(scope="module")
def real_saliency() -> Tensor:
    maps = naive.real_saliency(100)
    if maps is None:
        pytest.skip("the real CIFAR-10 images are not at ../shared/data/cifar10")
    return maps


def real_groups(saliency: Tensor, seed: int = 0) -> tuple[Partitions, Tensor, Tensor, Tensor]:
    parts, rng = Partitions(len(saliency), 20), np.random.default_rng(seed)
    prior = torch.from_numpy(rng.dirichlet([2.0] * 20, parts.groups)).float()
    cost = -parts.fold(saliency_shares(saliency, 4)) - 0.05 / 16 * torch.log(prior + 1e-8)[..., None]
    return parts, cost, prior, torch.from_numpy(rng.integers(0, 20, (parts.groups, 20, 16)))


def test_costs_and_compatibility_equal_loops(real_saliency):
    parts, cost, prior, _ = real_groups(real_saliency)
    compat = compatibility(real_saliency, parts, 0.3)
    for g in range(2):
        maps = real_saliency[20 * g : 20 * g + 20].double().numpy()
        wanted = naive.costs(maps, prior[g].numpy(), 4, 0.05)
        torch.testing.assert_close(cost[g].double(), torch.from_numpy(wanted), rtol=0, atol=1e-6)
        wanted = naive.repulsion(maps, 0.3)
        torch.testing.assert_close(compat[g].double(), torch.from_numpy(wanted), rtol=0, atol=1e-6)


def test_a_whole_run_on_real_saliency_equals_loops_with_our_solver(real_saliency):
    """All that goes in step, gathered and scattered, on the authors' setting; the solver has its own tests."""

    def solve(unary: np.ndarray, pairwise: np.ndarray) -> np.ndarray:
        grid, side = torch.from_numpy(unary).float(), round(len(unary) ** 0.5)
        return cut_grid(grid.view(1, side, side, -1), torch.from_numpy(pairwise).float()[None]).labels[0].numpy()

    parts, cost, _, initial = real_groups(real_saliency[:40])
    compat = compatibility(real_saliency[:40], parts, 0.001)
    settings = {"beta": 0.32 / 16, "gamma": 1 / 16, "tau": 0.83, "sweeps": 4}
    pairs = label_outputs(cost, compat, initial, parts.counts(), **settings)
    for g in range(2):
        arrays = (t[g].double().numpy() for t in (cost, compat))
        wanted = naive.label_group(*arrays, initial[g].numpy(), solve, **settings)
        same = shares_of(pairs[g], 20).double() == torch.from_numpy(wanted)
        assert bool(same.all())


@pytest.fixture(scope="module")
def captured(real_saliency) -> list[tuple[np.ndarray, np.ndarray]]:
    """The 400 sub-problems of a batch of 100 images, without the labels that are none."""
    found = []

    def noted(unary: Tensor, pairwise: Tensor):
        for u, w in zip(unary.flatten(1, 2).double().numpy(), pairwise.double().numpy(), strict=True):
            exists = u[0] < comixup_labels.NEVER / 2
            found.append((u[:, exists], w[np.ix_(exists, exists)]))
        return cut_grid(unary, pairwise)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comixup_labels, "cut_grid", noted)
        parts, cost, _, initial = real_groups(real_saliency)
        compat = compatibility(real_saliency, parts, 0.001)
        label_outputs(cost, compat, initial, parts.counts(), beta=0.02, gamma=1 / 16, tau=0.83, sweeps=4)
    assert len(found) == 400
    return found


def solved(problems: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Energies, and which of them are proven to be the least."""
    results = [
        cut_grid(torch.from_numpy(u).float().view(1, 4, 4, -1), torch.from_numpy(w).float()[None]) for u, w in problems
    ]
    energies = [naive.energy(u, w, r.labels[0].numpy()) for (u, w), r in zip(problems, results, strict=True)]
    return np.array(energies), np.array([float(r.gap) < 1e-5 for r in results])


def test_nearly_all_real_sub_problems_are_solved_with_proof(captured):
    energies, proven = solved(captured)
    assert proven.mean() >= 0.99
    # many more candidates, rounds and labels find nothing better, and prove it
    for (u, w), energy in zip(captured[::7], energies[::7], strict=True):
        grid = torch.from_numpy(u).float().view(1, 4, 4, -1)
        full = cut_grid(grid, torch.from_numpy(w).float()[None], labels=23, candidates=9, rounds=40)
        assert float(full.gap) < 1e-5 and energy <= float(full.energy) + 1e-5


def test_never_above_the_graph_cut(captured):
    pytest.importorskip("gco")
    ours, _ = solved(captured)
    swap = np.array([naive.energy(u, w, naive.swap(u, w)) for u, w in captured])
    assert (ours <= swap + 1e-5).all() and (ours <= swap + 1e-3 * abs(swap)).all()
    assert ours.mean() <= swap.mean() + 1e-6
    assert (swap > ours + 1e-4).mean() > 0.05, "the graph cut is not always at the minimum"


def test_zero_and_tiny_saliency_is_shared_equally():
    maps = torch.zeros(4, 32, 32)
    maps[1] += 1e-42
    maps[2, :8, :8] = 1e-38
    maps[3, 0, 0] = 1e38
    shares = saliency_shares(maps, 4)
    assert shares[:2].tolist() == [[1 / 16] * 16] * 2
    assert shares[2:].tolist() == [[1.0] + [0.0] * 15] * 2
    compat = compatibility(torch.zeros(4, 32, 32), Partitions(4, 4), 0.5)
    assert torch.equal(compat[0], 0.5 * torch.eye(4))


@pytest.mark.parametrize(("batch", "size"), [(7, 3), (6, 3), (1, 1), (2, 2), (5, 2), (20, 20), (41, 20)])
def test_groups_are_laid_out_and_back(batch, size):
    parts = Partitions(batch, size)
    x = torch.arange(1.0, 2 * batch + 1).view(batch, 2)
    folded = parts.fold(x)
    assert folded.shape == (parts.groups, max(size, 3), 2) and torch.equal(parts.unfold(folded), x)
    places = [[size * g + i for i in range(size) if size * g + i < batch] for g in range(parts.groups)]
    assert parts.counts().tolist() == list(map(len, places))
    for g, rows in enumerate(places):
        assert torch.equal(folded[g, : len(rows)], x[rows]) and not folded[g, len(rows) :].any()
