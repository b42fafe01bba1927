"""Transport against scipy's assignment, against all permutations, and against the authors' rounds."""

import itertools

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from openmix.ops import transport
from openmix.ops.transport import transport_blocks


def instances(n: int, power: float, seed: int, batch: int = 12) -> tuple[Tensor, Tensor]:
    """Saliency, the more peaked the higher the power, and masks that show from nothing to everything."""
    g = torch.Generator().manual_seed(seed)
    saliency = torch.rand(batch, n, n, generator=g).pow(power)
    smooth = torch.nn.functional.interpolate(torch.rand(batch, 1, 3, 3, generator=g), size=(n, n), mode="bilinear")[
        :, 0
    ]
    return saliency / saliency.sum((1, 2), keepdim=True), smooth < torch.linspace(0, 1, batch)[:, None, None]


def gains(saliency: Tensor, t_eps: float) -> Tensor:
    """What each place gains by each block: float64 (places, blocks)."""
    n = len(saliency)
    at = torch.cartesian_prod(torch.arange(n), torch.arange(n)).double() / (n - 1)
    return saliency.flatten().double() - t_eps * torch.cdist(at, at).square()


def total(saliency: Tensor, shown: Tensor, source: Tensor, t_eps: float) -> float:
    places = shown.flatten().nonzero()[:, 0]
    return float(gains(saliency, t_eps)[places, source[places]].sum())


def optimum(saliency: Tensor, shown: Tensor, t_eps: float) -> float:
    worth = gains(saliency, t_eps)[shown.flatten()].numpy()
    return float(worth[linear_sum_assignment(worth, maximize=True)].sum())


@pytest.mark.parametrize("power", [1, 4, 12])
@pytest.mark.parametrize(("n", "t_eps"), [(2, 0.8), (2, 0.1), (4, 0.8), (4, 0.05), (8, 0.8), (16, 0.8)])
def test_the_sum_is_the_optimum_within_the_stated_gap(n, t_eps, power):
    saliency, shown = instances(n, power, seed=n)
    source, gap = transport_blocks(saliency, shown, t_eps)
    assert source.dtype == torch.int64 and source.shape == (12, n * n)
    lacks = []
    for b in range(12):
        places = shown[b].flatten()
        assert len(set(source[b][places].tolist())) == int(places.sum()), "no block is seen twice"
        assert torch.equal(source[b][~places], torch.arange(n * n)[~places])
        lacks.append(optimum(saliency[b], shown[b], t_eps) - total(saliency[b], shown[b], source[b], t_eps))
        assert -1e-6 <= lacks[-1] <= float(gap[b]) + 1e-6
    assert sum(lacks) / 12 < 1e-3
    assert int((source != torch.arange(n * n)).sum()) > 0 or power == 1 or n == 2


def test_two_by_two_against_all_permutations():
    g = torch.Generator().manual_seed(3)
    saliency = torch.rand(40, 2, 2, generator=g).pow(3)
    saliency /= saliency.sum((1, 2), keepdim=True)
    shown = torch.rand(40, 2, 2, generator=g) < 0.5
    source, gap = transport_blocks(saliency, shown, 0.3)
    moved = 0
    for b in range(40):
        best = max(total(saliency[b], shown[b], torch.tensor(p), 0.3) for p in itertools.permutations(range(4)))
        found = total(saliency[b], shown[b], source[b], 0.3)
        assert best - float(gap[b]) - 1e-6 <= found <= best + 1e-6
        moved += source[b].tolist() != [0, 1, 2, 3]
    assert moved > 5


def test_flat_saliency_moves_nothing_and_nobody_bids(monkeypatch):
    monkeypatch.setattr(transport, "_bid", lambda *args: pytest.fail("a bid"))
    saliency, shown = instances(8, 1, seed=0)
    saliency = (saliency + 1) / (saliency + 1).sum((1, 2), keepdim=True)
    source, gap = transport_blocks(saliency, shown, 0.8)
    assert torch.equal(source, torch.arange(64).expand(12, 64)) and not gap.any()
    source, gap = transport_blocks(saliency.pow(50), torch.ones_like(shown), 0.8)
    assert torch.equal(source, torch.arange(64).expand(12, 64)), "where everything is shown, nothing is to be gained"


def test_places_that_want_the_same_blocks_equally_come_to_an_end(monkeypatch):
    """Three places in a row, one block above them and one below: by millionths, prices would rise for ever so long."""
    rises, bid = [], transport._bid
    monkeypatch.setattr(transport, "_bid", lambda *args: (rises.append(args[2]), bid(*args)))
    saliency = torch.zeros(1, 3, 3)
    saliency[0, 0, 1] = saliency[0, 2, 1] = 0.5
    shown = torch.zeros(1, 3, 3, dtype=torch.bool)
    shown[0, 1] = True
    source, gap = transport_blocks(saliency, shown, 0.1)
    lack = optimum(saliency[0], shown[0], 0.1) - total(saliency[0], shown[0], source[0], 0.1)
    assert -1e-6 <= lack <= float(gap[0]) + 1e-6 < 0.1
    assert 100 < len(rises) < 300


@pytest.mark.parametrize("power", [1, 4, 12])
@pytest.mark.parametrize("n", [2, 4, 8])
def test_prices_prove_the_gap(n, power):
    """Blocks without an owner are free of charge, and no place misses more than its slack: that bounds the optimum."""
    saliency, shown = instances(n, power, seed=n + 2)
    auction, cost = transport._begin(saliency, shown, 0.3), transport._costs(n, 0.3, torch.device("cpu"))
    transport._until_done(auction, cost)
    net, owner, source, slack, waiting = (t[:, : n * n] for t in auction)
    assert not waiting.any()
    assert bool((net <= saliency.flatten(1) + 1e-7).all()), "no price is below 0"
    sold = torch.zeros(12, n * n, dtype=torch.bool)
    for b in range(12):
        places = shown[b].flatten().nonzero()[:, 0]
        assert owner[b][source[b][places]].tolist() == places.tolist()
        sold[b, source[b][places]] = True
        worth = net[b] - cost[places]
        missed = worth.amax(1) - worth.gather(1, source[b][places, None])[:, 0]
        assert bool((missed <= slack[b][places] + 1e-6).all())
    torch.testing.assert_close(net[~sold], saliency.flatten(1)[~sold], rtol=0, atol=1e-7)


@pytest.mark.parametrize(("n", "power"), [(2, 4), (4, 4), (8, 1), (8, 4)])
def test_a_fixed_number_of_rounds_comes_to_the_same(n, power):
    """What other devices do, which are not asked whether all is done."""
    saliency, shown = instances(n, power, seed=n + 1)
    source, _ = transport_blocks(saliency, shown, 0.8)
    auction, cost = transport._begin(saliency, shown, 0.8), transport._costs(n, 0.8, torch.device("cpu"))
    for step in range(transport.ROUNDS):
        transport._bid(auction, cost, transport.LEAST_RISE * transport.FAST_GROWTH**step)
    assert not auction.waiting.any()
    for b in range(12):
        fixed = total(saliency[b], shown[b], auction.source[b], 0.8)
        assert abs(fixed - total(saliency[b], shown[b], source[b], 0.8)) <= float(auction.slack[b].sum()) + 1e-6


def test_a_device_that_cannot_be_read_is_not_asked():
    saliency, shown = instances(4, 4, seed=0, batch=3)
    source, gap = transport_blocks(saliency.to("meta"), shown.to("meta"), 0.8)
    assert source.shape == (3, 16) and gap.shape == (3,)


def authors_rounds(saliency: Tensor, shown: Tensor, t_eps: float) -> list[int | None]:
    """The authors' rule: each block picks its cheapest place, each place its cheapest bidder, and losers pay 1 more."""
    n = len(saliency)
    indices = range(n * n)
    # what a block brings counts where it is shown
    hidden = [[0 if shown[j // n, j % n] else float(saliency[i // n, i % n]) for j in indices] for i in indices]
    worth = gains(saliency, t_eps).T.tolist()
    cost = [[hidden[i][j] - worth[i][j] for j in indices] for i in indices]
    winners: list[int | None] = []
    for _ in range(n):
        picks = [min(indices, key=row.__getitem__) for row in cost]
        winners = [None] * (n * n)
        for i, j in enumerate(picks):
            holder = winners[j]
            if holder is None or cost[i][j] < cost[holder][j]:
                winners[j] = i
        for i, j in enumerate(picks):
            if winners[j] != i:
                cost[i][j] += 1
    return winners


@pytest.mark.parametrize(("n", "t_eps"), [(2, 0.3), (4, 0.3), (4, 0.8)])
def test_never_less_than_by_the_authors_rounds(n, t_eps):
    saliency, shown = instances(n, 4, seed=2)
    source, gap = transport_blocks(saliency, shown, t_eps)
    for b in range(12):
        theirs = authors_rounds(saliency[b], shown[b], t_eps)
        places = shown[b].flatten().nonzero()[:, 0].tolist()
        worth = gains(saliency[b], t_eps)
        found = sum(float(worth[j, i]) for j in places if (i := theirs[j]) is not None)
        assert total(saliency[b], shown[b], source[b], t_eps) >= found - float(gap[b]) - 1e-6
