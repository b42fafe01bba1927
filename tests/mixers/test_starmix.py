"""StarMix against a loop over pixels and against Dirichlet's marginals and moments."""

from collections import Counter

import pytest
import torch
from scipy import stats
from torch import Tensor

from openmix.mixers import starmix


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("shape", [(5, 3, 6, 8), (1, 1, 3, 3), (4, 2, 7, 5)])
def test_every_pixel_is_the_weighted_sum(make_batch, shape, k, per_sample):
    batch, channels, height, width = shape
    images, labels = make_batch(batch, channels, height, width)
    for seed in range(4):
        mixed = starmix(images, labels, generator=seeded(seed), k=k, per_sample=per_sample)
        assert mixed.sources.shape == mixed.target.weights.shape == (batch, k)
        assert mixed.sources[:, 0].tolist() == list(range(batch))
        for column in mixed.sources.T.tolist():
            assert sorted(column) == list(range(batch)), "every partner column is a permutation"
        assert mixed.masks.shape == (batch, k, 1, 1)
        assert torch.equal(mixed.masks[:, :, 0, 0], mixed.target.weights)
        x, out = images.double().tolist(), mixed.images.double().tolist()
        for b in range(batch):
            shares, sources = mixed.target.weights[b].double().tolist(), mixed.sources[b].tolist()
            assert sum(shares) == pytest.approx(1, abs=1e-6)
            for c in range(channels):
                for i in range(height):
                    for j in range(width):
                        wanted = sum(w * x[s][c][i][j] for w, s in zip(shares, sources, strict=True))
                        assert out[b][c][i][j] == pytest.approx(wanted, abs=5e-7)


def test_one_draw_a_batch_or_one_an_image(make_batch):
    images, labels = make_batch(batch=8)
    whole = starmix(images, labels, generator=seeded(0)).target.weights
    single = starmix(images, labels, generator=seeded(0), per_sample=True).target.weights
    assert len(whole.unique(dim=0)) == 1
    assert len(single.unique(dim=0)) == 8


def shares(alpha: float, k: int, per_sample: bool) -> Tensor:
    if per_sample:
        n = 20_000
        images, labels = torch.zeros(n, 1, 1, 1), torch.zeros(n, dtype=torch.int64)
        mixed = starmix(images, labels, generator=seeded(91), alpha=alpha, k=k, per_sample=True)
        return mixed.target.weights.double()
    images, labels, generator = torch.zeros(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64), seeded(92)
    drawn = [starmix(images, labels, generator=generator, alpha=alpha, k=k).target.weights for _ in range(1500)]
    return torch.cat(drawn).double()


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize(("alpha", "k"), [(1.0, 3), (0.3, 3), (2.0, 5), (1.0, 2)])
def test_shares_follow_dirichlet(alpha, k, per_sample):
    drawn = shares(alpha, k, per_sample)
    n = len(drawn)
    for share in drawn.T:
        # A part of Dirichlet is Beta(alpha, (k - 1) alpha).
        assert stats.kstest(share.numpy(), stats.beta(alpha, (k - 1) * alpha).cdf).pvalue > 1e-4
    variance = (k - 1) / (k**2 * (k * alpha + 1))
    for i in range(k):
        for j in range(i):
            covariance = (drawn[:, i] - 1 / k) * (drawn[:, j] - 1 / k)
            wanted = -variance / (k - 1)
            assert float(covariance.mean()) == pytest.approx(wanted, abs=4.5 * float(covariance.var() / n) ** 0.5)


def test_partners_are_independent_uniform_permutations():
    images, labels, generator = torch.zeros(3, 1, 1, 1), torch.zeros(3, dtype=torch.int64), seeded(93)
    counts: Counter[tuple[tuple[int, ...], ...]] = Counter()
    for _ in range(2500):
        sources = starmix(images, labels, generator=generator).sources
        counts[tuple(map(tuple, sources.T[1:].tolist()))] += 1
    assert len(counts) == 36
    assert stats.chisquare(list(counts.values())).pvalue > 1e-5
