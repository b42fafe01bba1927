"""MixUp against a loop over pixels (Zhang et al., 2018) and against Beta's distribution function."""

import pytest
import torch
from scipy import stats

import openmix
from openmix.mixers import mixup


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("shape", [(5, 3, 6, 8), (1, 1, 3, 3), (4, 2, 7, 5)])
@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_every_pixel_is_the_weighted_sum(make_batch, shape, alpha, per_sample):
    batch, channels, height, width = shape
    images, labels = make_batch(batch, channels, height, width)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        mixed = mixup(images, labels, generator=generator, alpha=alpha, per_sample=per_sample)
        x, out = images.double().tolist(), mixed.images.double().tolist()
        partner = mixed.sources[:, 1].tolist()
        assert sorted(partner) == list(range(batch))
        assert mixed.sources[:, 0].tolist() == list(range(batch))
        for b in range(batch):
            lam = float(mixed.target.weights[b, 0])
            assert 0 <= lam <= 1
            assert float(mixed.target.weights[b, 1]) == pytest.approx(1 - lam, abs=1e-7)
            for c in range(channels):
                for i in range(height):
                    for j in range(width):
                        wanted = lam * x[b][c][i][j] + (1 - lam) * x[partner[b]][c][i][j]
                        assert out[b][c][i][j] == pytest.approx(wanted, abs=3e-7)


def test_the_mask_is_the_constant_weight(make_batch):
    images, labels = make_batch()
    mixed = mixup(images, labels, generator=torch.Generator().manual_seed(0), per_sample=True)
    assert mixed.masks.shape == (5, 2, 1, 1)
    assert torch.equal(mixed.masks[:, :, 0, 0], mixed.target.weights)


def test_one_lambda_a_batch_or_one_an_image(make_batch):
    images, labels = make_batch(batch=8)
    whole = mixup(images, labels, generator=torch.Generator().manual_seed(0))
    single = mixup(images, labels, generator=torch.Generator().manual_seed(0), per_sample=True)
    assert whole.target.weights[:, 0].unique().numel() == 1
    assert single.target.weights[:, 0].unique().numel() == 8


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 2.0])
def test_lambda_per_sample_follows_beta(alpha):
    n = 20_000
    mixed = mixup(
        torch.zeros(n, 1, 1, 1),
        torch.zeros(n, dtype=torch.int64),
        generator=torch.Generator().manual_seed(11),
        alpha=alpha,
        per_sample=True,
    )
    assert_beta(mixed.target.weights[:, 0], alpha)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 2.0])
def test_lambda_per_batch_follows_beta(alpha):
    generator = torch.Generator().manual_seed(12)
    mixer = openmix.build_mixer("mixup", alpha=alpha)
    images, labels = torch.zeros(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64)
    draws = [mixer(images, labels, generator=generator).target.weights[0, 0] for _ in range(1500)]
    assert_beta(torch.stack(draws), alpha)


def assert_beta(draws: torch.Tensor, alpha: float) -> None:
    """Kolmogorov-Smirnov on a grid: for small alpha float32 rounds a fifth of the draws to exactly 1."""
    grid = torch.cat(
        [torch.logspace(-5, -2, 7), torch.linspace(0.02, 0.98, 49), 1 - torch.logspace(-5, -2, 7)]
    ).double()
    empirical = (draws.double()[:, None] <= grid).double().mean(0)
    exact = torch.from_numpy(stats.beta.cdf(grid.numpy(), alpha, alpha))
    bound = (3.8 / len(draws)) ** 0.5  # Dvoretzky-Kiefer-Wolfowitz at 1e-3: sqrt(ln(2 / 1e-3) / (2 n))
    assert float((empirical - exact).abs().max()) < bound


def test_partner_is_a_uniform_permutation():
    generator = torch.Generator().manual_seed(13)
    images, labels = torch.zeros(4, 1, 1, 1), torch.zeros(4, dtype=torch.int64)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(2400):
        drawn = tuple(mixup(images, labels, generator=generator).sources[:, 1].tolist())
        counts[drawn] = counts.get(drawn, 0) + 1
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_partner_and_lambda_are_independent():
    """Whether the image is its own partner says nothing about lambda."""
    generator = torch.Generator().manual_seed(14)
    images, labels = torch.zeros(2, 1, 1, 1), torch.zeros(2, dtype=torch.int64)
    drawn = [mixup(images, labels, generator=generator) for _ in range(1500)]
    alone = [float(m.target.weights[0, 0]) for m in drawn if int(m.sources[0, 1]) == 0]
    paired = [float(m.target.weights[0, 0]) for m in drawn if int(m.sources[0, 1]) == 1]
    assert stats.ks_2samp(alone, paired).pvalue > 1e-4
