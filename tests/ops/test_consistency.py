"""The Jensen-Shannon loss against its definition, scipy and the formula of AugMix's code."""

import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch.nn import functional as F

from openmix.ops.consistency import jensen_shannon


def random_logits(n, batch=5, classes=7, scale=3.0):
    return list(scale * torch.randn(n, batch, classes, generator=torch.Generator().manual_seed(n)))


def test_two_as_scipy_has_them():
    one, other = random_logits(2)
    expected = jensenshannon(one.double().softmax(1).numpy(), other.double().softmax(1).numpy(), axis=1) ** 2
    torch.testing.assert_close(jensen_shannon([one, other]).double(), torch.as_tensor(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_entropy_of_the_mean_less_mean_entropy(n):
    views = [v.double() for v in random_logits(n)]
    p = torch.stack(views).softmax(2)

    def entropy(q):
        return -(q * q.log()).sum(-1)

    expected = entropy(p.mean(0)) - entropy(p).mean(0)
    torch.testing.assert_close(jensen_shannon(views), expected)


def test_three_as_the_authors_write_it():
    views = random_logits(3)
    p = [v.softmax(1) for v in views]
    log_mean = torch.clamp(sum(p) / 3, 1e-7, 1).log()
    expected = sum(F.kl_div(log_mean, q, reduction="batchmean") for q in p) / 3
    torch.testing.assert_close(jensen_shannon(views, reduction="mean"), expected)


def test_bounds_are_reached_whatever_the_logits():
    certain = [torch.full((1, 3), -1e4).scatter(1, torch.tensor([[i]]), 1e4).requires_grad_() for i in range(3)]
    loss = jensen_shannon(certain)
    torch.testing.assert_close(loss, torch.tensor([math.log(3)]))
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss.sum(), certain))
    assert jensen_shannon([certain[0]] * 3).item() == pytest.approx(0, abs=1e-6)


def test_gradients_reach_every_view():
    views = [v.double().requires_grad_() for v in random_logits(3, batch=2, classes=4)]
    assert torch.autograd.gradcheck(lambda *v: jensen_shannon(v), views)


def test_reductions():
    views = random_logits(3)
    each = jensen_shannon(views)
    assert each.shape == (5,)
    assert torch.equal(jensen_shannon(views, reduction="mean"), each.mean())
    assert torch.equal(jensen_shannon(views, reduction="sum"), each.sum())
    with pytest.raises(ValueError, match="batchmean"):
        jensen_shannon(views, reduction="batchmean")


def test_half_precision_is_computed_in_float32():
    views = [v.bfloat16() for v in random_logits(3)]
    assert torch.equal(jensen_shannon(views), jensen_shannon([v.float() for v in views]))
