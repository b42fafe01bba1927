"""Optimal transport between feature maps, held against the iteration written out and against linear programming."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from openmix.ops.align import AlignPlan, sinkhorn, transport


def written_out(cost: torch.Tensor, eps: float, iterations: int) -> torch.Tensor:
    """AlignMix's iteration: rows, columns, and a look at how far the rows' potentials moved."""
    batch, p, q = cost.shape
    log_mu, log_nu = np.log(1 / p + 1e-8), np.log(1 / q + 1e-8)
    u, v = torch.zeros(batch, p), torch.zeros(batch, q)
    for _ in range(iterations):
        before = u
        u = torch.stack(
            [eps * (log_mu - torch.logsumexp((u[:, i, None] + v - cost[:, i]) / eps, 1)) + u[:, i] for i in range(p)], 1
        )
        v = torch.stack(
            [
                eps * (log_nu - torch.logsumexp((u + v[:, j, None] - cost[:, :, j]) / eps, 1)) + v[:, j]
                for j in range(q)
            ],
            1,
        )
        if (u - before).abs().sum(1).mean() < 0.1:
            break
    return torch.exp((u[:, :, None] + v[:, None, :] - cost) / eps)


@pytest.mark.parametrize("iterations", [1, 3, 100])
def test_sinkhorn_is_the_iteration_written_out(iterations):
    cost = torch.rand(4, 6, 5, generator=torch.Generator().manual_seed(0)) * 3
    torch.testing.assert_close(sinkhorn(cost, 0.1, iterations), written_out(cost, 0.1, iterations))


def test_rounds_after_the_stop_change_nothing(monkeypatch):
    """A GPU computes them and throws them away; so does this CPU where it may not look."""
    cost = torch.rand(4, 9, 9, generator=torch.Generator().manual_seed(1)) * 3
    stopped = sinkhorn(cost, 0.1, 100)

    rounds = []
    original = torch.logsumexp
    monkeypatch.setattr(torch, "logsumexp", lambda *a: rounds.append(1) or original(*a))
    sinkhorn(cost, 0.1, 100)
    looked = len(rounds)
    monkeypatch.setattr("openmix.ops.align.bool", lambda _: False, raising=False)
    rounds.clear()
    torch.testing.assert_close(sinkhorn(cost, 0.1, 100), stopped, rtol=0, atol=0)
    assert len(rounds) == 200 > looked


def test_marginals_are_uniform_and_the_plan_nears_the_best_assignment():
    generator = torch.Generator().manual_seed(2)
    x, y = torch.rand(3, 8, 2, generator=generator), torch.rand(3, 8, 2, generator=generator)
    cost = (x[:, :, None] - y[:, None]).square().sum(3)
    plan = sinkhorn(cost, 0.002, 5000, threshold=0.0)
    torch.testing.assert_close(plan.sum(1), torch.full((3, 8), 1 / 8), rtol=1e-3, atol=0)
    torch.testing.assert_close(plan.sum(2), torch.full((3, 8), 1 / 8), rtol=2e-2, atol=0)
    for b in range(3):
        rows, columns = linear_sum_assignment(cost[b].numpy())
        best = float(cost[b].numpy()[rows, columns].sum()) / 8
        assert best - 1e-3 <= float((plan[b] * cost[b]).sum()) <= best + 0.01


def test_transport_finds_a_permutation_of_distinct_positions():
    x = torch.eye(6)[None] * 10
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    plan = transport(x, x[:, order], 0.1, 100) * 6
    wanted = torch.zeros(6, 6)
    wanted[order, torch.arange(6)] = 1
    torch.testing.assert_close(plan[0], wanted, rtol=0, atol=1e-4)


def naive(x: torch.Tensor, plan: AlignPlan) -> torch.Tensor:
    """Position by position: what of each position of one map goes to each of the other."""
    out = torch.empty_like(x)
    batch, _, height, width = x.shape
    n = height * width
    for b in range(batch):
        own, other = x[b].flatten(1), x[plan.partner[b]].flatten(1)
        moves = transport(own.T[None].contiguous(), other.T[None].contiguous(), plan.eps, plan.iterations)[0]
        lam = float(plan.lam[b])
        for i in range(n):
            if plan.to_own:
                moved = sum(moves[i, j] * n * other[:, j] for j in range(n))
                pixel = lam * own[:, i] + (1 - lam) * moved
            else:
                moved = sum(moves[j, i] * n * own[:, j] for j in range(n))
                pixel = lam * moved + (1 - lam) * other[:, i]
            out[b, :, i // width, i % width] = pixel
    return out


@pytest.mark.parametrize("to_own", [True, False])
def test_apply_moves_position_by_position(to_own):
    x = torch.rand(3, 5, 2, 3, generator=torch.Generator().manual_seed(3))
    # a batch of one stops where its own iteration stops: so many rounds that all have settled
    plan = AlignPlan(torch.tensor([1, 2, 0]), torch.full((3, 1, 1, 1), 0.3), to_own, 1.0, 1)
    torch.testing.assert_close(plan.apply(x), naive(x, plan))
    torch.testing.assert_close(plan.weights, torch.tensor([[0.3, 0.7]] * 3))
    assert plan.masks is None and plan.sources.tolist() == [[0, 1], [1, 2], [2, 0]]


@pytest.mark.parametrize("to_own", [True, False])
def test_a_moved_copy_is_put_back_in_place(to_own):
    """A partner that is the image with its positions shuffled: aligned, nothing is left to blend."""
    own = torch.eye(9).view(9, 3, 3) * 10
    order = torch.randperm(9, generator=torch.Generator().manual_seed(4))
    x = torch.stack([own, own.flatten(1)[:, order].view(9, 3, 3)])
    mixed = AlignPlan(torch.tensor([1, 0]), torch.full((2, 1, 1, 1), 0.4), to_own, 0.1, 100).apply(x)
    wanted = x if to_own else x.flip(0)
    torch.testing.assert_close(mixed, wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("to_own", [True, False])
def test_gradients_pass_through_the_blend_and_not_the_transport(to_own):
    x = torch.rand(2, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    plan = AlignPlan(torch.tensor([1, 0]), torch.full((2, 1, 1, 1), 0.3), to_own, 0.1, 100)
    weights = torch.rand_like(x)
    (gradient,) = torch.autograd.grad((plan.apply(x) * weights).sum(), x)
    flat = x.detach().flatten(2)
    moves = transport(flat.transpose(1, 2), flat[[1, 0]].transpose(1, 2), 0.1, 100).double() * 4
    g = weights.flatten(2)
    wanted = 0.3 * g + (0.7 * g @ moves)[[1, 0]] if to_own else 0.3 * g @ moves.transpose(1, 2) + (0.7 * g)[[1, 0]]
    torch.testing.assert_close(gradient.flatten(2), wanted, rtol=1e-5, atol=1e-6)


def test_half_precision_features_under_autocast():
    x = torch.rand(4, 8, 2, 2, generator=torch.Generator().manual_seed(5)) * 4
    plan = AlignPlan(torch.tensor([1, 2, 3, 0]), torch.full((4, 1, 1, 1), 0.5), True, 0.1, 100)
    with torch.autocast("cpu", torch.bfloat16):
        half = plan.apply(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), plan.apply(x.bfloat16().float()), rtol=0.05, atol=0.05)


def test_compiles_whole_and_equals_eager():
    x = torch.rand(4, 8, 2, 2)
    plan = AlignPlan(torch.tensor([1, 2, 3, 0]), torch.full((4, 1, 1, 1), 0.5), True, 0.1, 100)
    compiled = torch.compile(lambda plan, x: plan.apply(x), fullgraph=True, backend="eager")
    assert torch.equal(compiled(plan, x), plan.apply(x))
    assert plan.to("meta").apply(x.to("meta")).shape == x.shape


@pytest.mark.parametrize(("channels", "positions", "scale"), [(512, 16, 30.0), (2048, 49, 100.0), (512, 49, 1000.0)])
def test_columns_sum_to_one_however_large_features_are(channels, positions, scale):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, positions, channels, generator=generator).relu() * scale for _ in range(2))
    plan = transport(x, y, 0.1, 100)
    torch.testing.assert_close(plan.sum(1) * positions, torch.ones(4, positions), rtol=1e-4, atol=0)


@pytest.mark.parametrize("offset", [10.0, 1000.0])
def test_a_common_offset_changes_nothing(offset):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, 9, 64, generator=generator) * 0.25 for _ in range(2))
    near, far = transport(x, y, 0.1, 100), transport((x + offset), (y + offset), 0.1, 100)
    rounded = (x + offset).double() - offset, (y + offset).double() - offset
    torch.testing.assert_close(far, transport(*rounded, 0.1, 100), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(far, near, rtol=0.05 if offset > 100 else 1e-3, atol=1e-3)


def test_the_memory_format_is_kept():
    x = torch.rand(2, 4, 3, 3).contiguous(memory_format=torch.channels_last)
    plan = AlignPlan(torch.tensor([1, 0]), torch.full((2, 1, 1, 1), 0.5), True, 0.1, 100)
    assert plan.apply(x).is_contiguous(memory_format=torch.channels_last)
