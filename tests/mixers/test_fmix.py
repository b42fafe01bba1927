"""FMix against its formulas (Harris et al., 2020): counts of pixels exactly, the field's shape by NumPy's own FFT."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import openmix
from openmix.mixers import fmix


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int, height: int, width: int, seed: int, **hyper) -> Tensor:
    """Own masks (N,H,W) of n images, each with its own draw."""
    images, labels = torch.zeros(n, 1, height, width), torch.zeros(n, dtype=torch.int64)
    masks = fmix(images, labels, generator=seeded(seed), per_sample=True, **hyper).masks
    assert masks is not None
    return masks[:, 0]


# Every pixel


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("max_soft", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(5, 3, 9, 14), (4, 1, 11, 7), (1, 2, 8, 8)])
def test_every_pixel_is_weighed_by_the_mask(make_batch, shape, max_soft, per_sample):
    batch, channels, height, width = shape
    images, labels = make_batch(batch, channels, height, width)
    for seed in range(6):
        mixed = fmix(images, labels, generator=seeded(seed), max_soft=max_soft, per_sample=per_sample)
        partner = mixed.sources[:, 1].tolist()
        assert sorted(partner) == list(range(batch))
        x, out, own = images.double().tolist(), mixed.images.double().tolist(), mixed.masks[:, 0].tolist()
        for b in range(batch):
            total = 0.0
            for i in range(height):
                for j in range(width):
                    m = own[b][i][j]
                    total += m
                    for c in range(channels):
                        wanted = m * x[b][c][i][j] + (1 - m) * x[partner[b]][c][i][j]
                        assert out[b][c][i][j] == pytest.approx(wanted, abs=3e-7 if max_soft else 0)
            assert float(mixed.target.weights[b, 0]) == pytest.approx(total / (height * width), abs=1e-6)
            assert float(mixed.target.weights[b, 1]) == pytest.approx(1 - total / (height * width), abs=1e-6)


def test_one_mask_a_batch_or_one_an_image(make_batch):
    images, labels = make_batch(batch=8)
    whole = fmix(images, labels, generator=seeded(0)).masks[:, 0]
    single = fmix(images, labels, generator=seeded(0), per_sample=True).masks[:, 0]
    assert len(whole.flatten(1).unique(dim=0)) == 1
    assert len(single.flatten(1).unique(dim=0)) == 8
    assert len(single.mean((1, 2)).unique()) == 8


# How many pixels are kept


def count_probabilities(pixels: int, a: float, b: float) -> np.ndarray:
    """P(n) for n = floor or ceil of lam * pixels by a fair coin, lam ~ Beta(a, b)."""
    steps = np.diff(stats.beta.cdf(np.arange(pixels + 1) / pixels, a, b))
    return 0.5 * (np.append(steps, 0) + np.append(0, steps))


@pytest.mark.parametrize("hyper", [{}, {"alpha": 0.2}, {"alpha": 3.0}, {"reformulate": True}], ids=str)
def test_counts_follow_beta_and_the_coin(hyper):
    n, height, width = 20_000, 4, 6
    counts = drawn(n, height, width, 61, **hyper).sum((1, 2)).long()
    alpha = hyper.get("alpha", 1.0)
    exact = n * count_probabilities(24, alpha + 1 if "reformulate" in hyper else alpha, alpha)
    assert exact.min() > 5
    assert stats.chisquare(torch.bincount(counts, minlength=25).numpy(), exact).pvalue > 1e-5


def test_counts_per_batch_follow_beta():
    images, labels, generator = torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.int64), seeded(62)
    counts = [int(fmix(images, labels, generator=generator).masks[0, 0].sum()) for _ in range(2000)]
    exact = 2000 * count_probabilities(16, 1.0, 1.0)
    assert stats.chisquare(np.bincount(counts, minlength=17), exact).pvalue > 1e-5


@pytest.mark.parametrize("per_sample", [False, True])
def test_reformulate_gives_the_label_whole_and_draws_more_of_the_own_image(make_batch, per_sample):
    images, labels = make_batch()
    mixed = fmix(images, labels, generator=seeded(3), reformulate=True, per_sample=per_sample)
    assert mixed.target.weights.tolist() == [[1.0, 0.0]] * 5
    assert torch.equal(mixed.target.labels, labels[mixed.sources])
    # Beta(2, 1) has mean 2/3 and standard deviation 0.236: 4.5 standard errors of 4000 draws are 0.017.
    assert float(drawn(4000, 6, 6, 63, reformulate=True).mean()) == pytest.approx(2 / 3, abs=0.017)


# The soft edge


@pytest.mark.parametrize("max_soft", [0.1, 0.3, 0.5])
def test_soft_masks_fall_in_even_steps(max_soft):
    pixels = 9 * 12
    for own in drawn(300, 9, 12, 64, max_soft=max_soft, alpha=0.6):
        values = own.flatten().double().sort(descending=True).values.numpy()
        ones, zeros = int((values == 1).sum()), int((values == 0).sum())
        if ones + zeros == pixels:
            # No pixel is between: s is 0, or 1, whose two points are 1 and 0.
            possible = [(ones, ones, 0), (ones, ones, 1)]
        else:
            # linspace holds both its ends, so a one and a zero are its own.
            top, bottom = ones - 1, pixels - (zeros - 1)
            assert (bottom - top) % 2 == 0
            possible = [((top + bottom) // 2, (top + bottom) // 2, (bottom - top) // 2)]
            s = possible[0][2]
            steps = np.concatenate([np.ones(top), np.linspace(1, 0, 2 * s), np.zeros(pixels - bottom)])
            np.testing.assert_allclose(values, steps, rtol=0, atol=1e-6)
        # n is floor or ceil of lam * pixels, so lam * pixels is within one of it.
        widths = {
            (n, int(min(pixels * max_soft, x, pixels - x)))
            for n, _, _ in possible
            for x in np.linspace(max(n - 1, 0), min(n + 1, pixels), 41)
        }
        assert widths & {(n, s) for n, _, s in possible}


def test_soft_edges_are_at_most_as_wide_as_asked():
    masks = drawn(2000, 8, 10, 65, max_soft=0.25, alpha=1e6)  # lam is a half, so 20 pixels either way
    between = ((masks > 0) & (masks < 1)).sum((1, 2))
    assert between.unique().tolist() == [38], "40 points of which the ends are 1 and 0"


# The field


def numpy_field(generator: np.random.Generator, height: int, width: int, decay: float) -> np.ndarray:
    """The inverse FFT of Gaussian noise over f ** decay, f in cycles a pixel and not below the longer side's first."""
    shape = height, width // 2 + 1
    noise = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    for i in range(height):
        for j in range(shape[1]):
            fy, fx = min(i, height - i) / height, j / width
            noise[i, j] /= max((fy**2 + fx**2) ** 0.5, 1 / max(height, width)) ** decay
    return np.fft.irfft2(noise, s=(height, width))


def top_half(field: np.ndarray) -> np.ndarray:
    mask = np.zeros(field.size)
    mask[np.argsort(-field.ravel())[: field.size // 2]] = 1
    return mask.reshape(field.shape)


SHIFTS = [(0, 1), (1, 0), (1, 1), (0, 4), (4, 0), (0, 8), (8, 0), (3, 5)]


def agreements(masks: np.ndarray) -> np.ndarray:
    """How often pixels a shift apart (the image closes upon itself, as an FFT does) agree, by mask: (N, shifts)."""
    signs = 2 * masks - 1
    return np.stack([(signs * np.roll(signs, s, axis=(1, 2))).mean((1, 2)) for s in SHIFTS], axis=1)


@pytest.mark.parametrize(("height", "width"), [(16, 24), (25, 17)])
@pytest.mark.parametrize("decay", [1.0, 3.0])
def test_masks_look_like_those_of_a_field_by_numpy(height, width, decay):
    """Neighbourhoods of 1500 masks each, where half of the image is kept: every agreement within 4.5 errors."""
    n, generator = 1500, np.random.default_rng(66)
    wanted = agreements(np.stack([top_half(numpy_field(generator, height, width, decay)) for _ in range(n)]))
    # Where the number of pixels is odd the coin decides on one of them, which is 1 in 425.
    found = agreements(drawn(n, height, width, 67, decay_power=decay, alpha=1e6).double().numpy())
    error = np.sqrt((wanted.var(0) + found.var(0)) / n)
    np.testing.assert_array_less(np.abs(wanted.mean(0) - found.mean(0)), 4.5 * error + 0.01 * (height * width % 2))


def spectral_slope(fields: Tensor) -> float:
    """The slope of log power over log frequency, from 2 to 8 cycles an image: power there is f ** -2 decay."""
    side = fields.shape[-1]
    power = torch.fft.fft2(fields.double() - 0.5).abs().square().mean(0)
    f = torch.fft.fftfreq(side)
    radius = (f[:, None] ** 2 + f**2).sqrt() * side
    inside = (radius >= 2) & (radius <= 8) & (f != 0)  # the half-spectrum's own edge has half the power
    slope = np.polyfit(radius[inside].log().numpy(), power[inside].log().numpy(), 1)[0]
    return float(slope)


@pytest.mark.parametrize("decay", [0.5, 1.0, 1.5])
def test_spectrum_falls_with_twice_the_decay_power(decay):
    """The widest soft edge makes a mask the ranks of its field, whose spectrum is all but the field's own."""
    ranks = drawn(1500, 32, 32, 68, decay_power=decay, alpha=1e6, max_soft=0.5)
    assert spectral_slope(ranks) == pytest.approx(-2 * decay, abs=0.15)


def test_place_is_uniform():
    """A field looks the same everywhere: every pixel of 4000 masks is kept half the time, within 4.5 errors."""
    kept = drawn(4000, 10, 13, 69, alpha=1e6).double().mean(0)
    assert float((kept - 0.5).abs().max()) < 4.5 * 0.5 / 4000**0.5


def test_mask_and_partner_are_independent():
    images, labels, generator = torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64), seeded(70)
    mixes = [fmix(images, labels, generator=generator) for _ in range(1200)]
    alone = [float(m.target.weights[0, 0]) for m in mixes if int(m.partner[0]) == 0]
    paired = [float(m.target.weights[0, 0]) for m in mixes if int(m.partner[0]) == 1]
    assert 600 - 4.5 * 300**0.5 < len(alone) < 600 + 4.5 * 300**0.5
    assert stats.ks_2samp(alone, paired).pvalue > 1e-4


@pytest.mark.parametrize("decay_power", [17.0, 30.0, 60.0])
def test_the_steepest_spectra_still_make_masks(decay_power):
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        mixed = openmix.FMix(decay_power=decay_power)(torch.rand(2, 1, 64, 64), torch.arange(2), generator=generator)
        edges = (mixed.mask[0, 0].diff(dim=0) != 0).sum() + (mixed.mask[0, 0].diff(dim=1) != 0).sum()
        assert edges < 64 * 8, "a few smooth blobs, not noise"
