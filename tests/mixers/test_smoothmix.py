"""SmoothMix against its formula: the bell of every image is read back from its mask, and laid out again by a loop."""

from math import exp

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import openmix
from openmix.mixers import smoothmix


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bells(n: int, height: int, width: int, seed: int, **hyper) -> Tensor:
    """Partner masks (N,H,W), float64, of n images, each with its own draw."""
    images, labels = torch.zeros(n, 1, height, width), torch.zeros(n, dtype=torch.int64)
    masks = smoothmix(images, labels, generator=seeded(seed), per_sample=True, **hyper).masks
    assert masks is not None
    return masks[:, 1].double()


def read_axis(profiles: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Centre and spread of (N,L) profiles of a bell: -2 log K is a parabola, of which three points tell all."""
    q = -2 * profiles.log().numpy()
    x, values = np.arange(q.shape[1]), []
    for row in q:
        # the nearest points to the centre, where single precision tells K best
        near = np.argsort(row)[: max(5, len(row) // 2)]
        a, b, _ = np.polyfit(x[near], row[near], 2)
        values.append((-b / (2 * a), a**-0.5))
    centre, spread = np.array(values).T
    return centre, spread


def read(masks: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(row, column) of the centres and the spreads along rows and columns, each (N,)."""
    index = torch.arange(len(masks))
    peak = masks.flatten(1).argmax(1)
    cy, sy = read_axis(masks[index, :, peak % masks.shape[2]])
    cx, sx = read_axis(masks[index, peak // masks.shape[2]])
    return cy, cx, sy, sx


@pytest.mark.parametrize("preset", [None, "openmixup"])
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("shape", [(5, 3, 11, 16), (4, 1, 14, 9), (1, 2, 8, 8)])
def test_every_pixel_is_weighed_by_a_bell(make_batch, shape, per_sample, preset):
    batch, channels, height, width = shape
    images, labels = make_batch(batch, channels, height, width)
    mixer = openmix.build_mixer("smoothmix", preset=preset, per_sample=per_sample)
    for seed in range(5):
        mixed = mixer(images, labels, generator=seeded(seed))
        partner = mixed.sources[:, 1].tolist()
        assert sorted(partner) == list(range(batch))
        cy, cx, sy, sx = read(mixed.masks[:, 1].double())
        x, out, masks = images.double().tolist(), mixed.images.double().tolist(), mixed.masks.tolist()
        for b in range(batch):
            row, column = round(cy[b] + 0.5) - 0.5, round(cx[b] + 0.5) - 0.5
            s = (sy[b] / height + sx[b] / width) / 2
            assert cy[b] == pytest.approx(row, abs=5e-3) and cx[b] == pytest.approx(column, abs=5e-3)
            assert sy[b] / height == pytest.approx(sx[b] / width, rel=2e-3)
            total = 0.0
            for i in range(height):
                for j in range(width):
                    k = exp(-((i - row) ** 2 / (2 * (s * height) ** 2) + (j - column) ** 2 / (2 * (s * width) ** 2)))
                    total += masks[b][1][i][j]
                    assert masks[b][1][i][j] == pytest.approx(k, abs=2e-3)
                    assert masks[b][0][i][j] == pytest.approx(1 - masks[b][1][i][j], abs=1e-6)
                    for c in range(channels):
                        m = masks[b][1][i][j]
                        wanted = (1 - m) * x[b][c][i][j] + m * x[partner[b]][c][i][j]
                        assert out[b][c][i][j] == pytest.approx(wanted, abs=1e-6)
            pasted = total / (height * width)
            own = pasted if preset == "openmixup" else 1 - pasted
            assert mixed.target.weights[b].tolist() == pytest.approx([own, 1 - own], abs=1e-6)


@pytest.mark.parametrize("s", [0.25, 0.3, 0.5, 0.9])
@pytest.mark.parametrize(("height", "width"), [(7, 10), (12, 5)])
def test_known_spread_leaves_the_centre_alone(height, width, s):
    """Each mask is one of H x W bells, to single precision, and each is as likely."""
    y, x = np.arange(height), np.arange(width)
    centres = [(i - 0.5, j - 0.5) for i in range(height) for j in range(width)]
    legal = np.stack(
        [
            np.exp(-((y[:, None] - cy) ** 2) / (2 * (s * height) ** 2) - (x - cx) ** 2 / (2 * (s * width) ** 2))
            for cy, cx in centres
        ]
    ).reshape(len(centres), -1)
    n = 4000
    masks = bells(n, height, width, 81, sigma=(s, s)).flatten(1).numpy()
    nearest = np.array([np.abs(legal - mask).max(1).argmin() for mask in masks])
    np.testing.assert_allclose(masks, legal[nearest], rtol=1e-5, atol=1e-6)
    counts = np.bincount(nearest, minlength=len(centres))
    assert stats.chisquare(counts).pvalue > 1e-5


def test_one_bell_a_batch_or_one_an_image(make_batch):
    images, labels = make_batch(batch=8)
    whole = smoothmix(images, labels, generator=seeded(0)).masks[:, 0]
    single = smoothmix(images, labels, generator=seeded(0), per_sample=True).masks[:, 0]
    assert len(whole.flatten(1).unique(dim=0)) == 1
    assert len(single.flatten(1).unique(dim=0)) == 8


@pytest.mark.parametrize("sigma", [(0.25, 0.5), (0.1, 0.9)])
def test_spread_is_uniform_and_apart_from_the_centre(sigma):
    n = 2000
    cy, cx, sy, _ = read(bells(n, 24, 17, 82, sigma=sigma))
    s = sy / 24
    low, high = sigma
    assert low - 1e-3 < s.min() and s.max() < high + 1e-3
    assert stats.kstest(s, stats.uniform(low, high - low).cdf).pvalue > 1e-4
    for centre in (cy, cx):
        # A correlation of n independent pairs has standard deviation n ** -0.5.
        assert abs(np.corrcoef(s, centre)[0, 1]) < 4.5 * n**-0.5
    assert abs(np.corrcoef(cy, cx)[0, 1]) < 4.5 * n**-0.5


def test_spread_per_batch_is_uniform():
    images, labels, generator = torch.zeros(1, 1, 12, 12), torch.zeros(1, dtype=torch.int64), seeded(83)
    masks = torch.cat([smoothmix(images, labels, generator=generator).masks[:, 1] for _ in range(1000)])
    cy, cx, sy, _ = read(masks.double())
    assert stats.kstest(sy / 12, stats.uniform(0.25, 0.25).cdf).pvalue > 1e-4
    for centre in (cy, cx):
        assert stats.chisquare(np.bincount(np.rint(centre + 0.5).astype(int), minlength=12)).pvalue > 1e-5


def test_port_swaps_the_weights_and_nothing_else(make_batch):
    images, labels = make_batch()
    right = smoothmix(images, labels, generator=seeded(5), per_sample=True)
    port = openmix.build_mixer("smoothmix", preset="openmixup", per_sample=True)
    swapped = port(images, labels, generator=seeded(5))
    assert torch.equal(right.images, swapped.images) and torch.equal(right.masks, swapped.masks)
    torch.testing.assert_close(right.target.weights, swapped.target.weights.flip(1), rtol=0, atol=1e-6)
    assert float((right.target.weights - swapped.target.weights).abs().max()) > 0.05
