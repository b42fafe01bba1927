"""The losses against loops in plain Python."""

import math

import pytest
import torch
from torch.nn import functional as F

from openmix.models.contrastive import in_batch, info_nce, nt_xent, unit


def rows(count: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)).double(), dim=1)


def dot(a, b) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def choice(chosen: float, others: list[float]) -> float:
    """Return minus the log of the chosen one's share among itself and others."""
    return -math.log(math.exp(chosen) / (math.exp(chosen) + sum(map(math.exp, others))))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_info_nce(temperature):
    queries, positives, negatives = rows(4, 0), rows(4, 1), rows(9, 2)
    losses, hits = [], []
    for query, positive in zip(queries, positives, strict=True):
        own, others = dot(query, positive), [dot(query, negative) for negative in negatives]
        losses.append(choice(own / temperature, [s / temperature for s in others]))
        hits.append(own > max(others))
    found = info_nce(queries, positives, negatives, temperature)
    assert found.loss.item() == pytest.approx(sum(losses) / 4, rel=1e-9)
    assert found.top1.item() == pytest.approx(100 * sum(hits) / 4)


@pytest.mark.parametrize("first", [0, 3])
def test_in_batch(first):
    queries, keys = rows(3, 0), rows(6, 1)
    losses = []
    for i, query in enumerate(queries):
        similar = [dot(query, key) / 0.2 for key in keys]
        losses.append(choice(similar.pop(first + i), similar))
    assert in_batch(queries, keys, first, 0.2).loss.item() == pytest.approx(sum(losses) / 3, rel=1e-9)


@pytest.mark.parametrize(("first", "count"), [(0, 3), (6, 3), (0, 1)])
def test_nt_xent(first, count):
    """The double loop of the paper's algorithm 1, for rows that another process may have others beside."""
    everyone = rows(12, 3) if count == 3 else rows(2, 3)
    own = everyone[first : first + 2 * count]
    losses = []
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = [dot(own[i], other) / 0.5 for k, other in enumerate(everyone) if k not in (first + i, first + partner)]
        losses.append(choice(dot(own[i], own[partner]) / 0.5, others))
    found = nt_xent(own, everyone, first, 0.5)
    assert found.loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-9, abs=1e-12)


def test_gradients_are_right():
    queries, others = rows(3, 0).requires_grad_(), rows(6, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, n: info_nce(q, q.flip(0), n, 0.2).loss, (queries, others))
    assert torch.autograd.gradcheck(lambda q, k: in_batch(q, k, 3, 0.2).loss, (queries, others))
    assert torch.autograd.gradcheck(lambda r: nt_xent(r, r, 0, 0.5).loss, (others,))


def test_similarities_are_of_float32_under_autocast():
    queries, keys = rows(64, 0).float(), rows(64, 1).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert unit(queries.bfloat16()).dtype == torch.float32
        found = [f.loss for f in (info_nce(queries, keys, keys, 0.1), in_batch(queries, keys, 0, 0.1))]
        found.append(nt_xent(queries, queries, 0, 0.1).loss)
    exact = [f.loss for f in (info_nce(queries, keys, keys, 0.1), in_batch(queries, keys, 0, 0.1))]
    exact.append(nt_xent(queries, queries, 0, 0.1).loss)
    assert all(loss.dtype == torch.float32 for loss in found)
    assert [loss.item() for loss in found] == [loss.item() for loss in exact]


def test_a_network_that_has_collapsed_finds_nothing():
    """All rows are one: of ties nobody is the most similar."""
    rows = unit(torch.ones(4, 3))
    assert info_nce(rows, rows, rows, 0.1).top1 == 0
    assert in_batch(rows, rows, 0, 0.1).top1 == 0
    assert nt_xent(rows, rows, 0, 0.1).top1 == 0
