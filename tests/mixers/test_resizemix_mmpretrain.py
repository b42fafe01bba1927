"""ResizeMix as mmpretrain has it: lam and not the side ratio is drawn, and the partner is resized bilinearly."""

from collections import Counter
from itertools import pairwise
from math import floor

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

import openmix
from openmix.mixers import resizemix

Box = tuple[int, int, int, int]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build_port(**hyper):
    return openmix.build_mixer("resizemix", preset="mmpretrain", **hyper)


def bilinear(image: Tensor, height: int, width: int) -> Tensor:
    """Resize (C,H,W) with corners not aligned and no filter: each pixel's centre falls between four others."""
    small = torch.empty(len(image), height, width, dtype=torch.float64)
    rows, columns = image.shape[1:]
    for i in range(height):
        y = min(max((i + 0.5) * rows / height - 0.5, 0), rows - 1)
        for j in range(width):
            x = min(max((j + 0.5) * columns / width - 0.5, 0), columns - 1)
            top, left = min(floor(y), rows - 2), min(floor(x), columns - 2)
            v, u = y - top, x - left
            four = image[:, top : top + 2, left : left + 2].double()
            across = (1 - u) * four[:, :, 0] + u * four[:, :, 1]
            small[:, i, j] = (1 - v) * across[:, 0] + v * across[:, 1]
    return small


def box_probabilities(height: int, width: int, scope: tuple[float, float], alpha: float) -> dict[Box | None, float]:
    """The exact distribution of the clipped box, side ratio sqrt(1 - lam), lam = low + (high - low) Beta."""
    low, high = scope
    # lam at which int(H sqrt(1 - lam)) // 2 or that of W changes
    breaks = {1 - (i / height) ** 2 for i in range(height + 1)} | {1 - (j / width) ** 2 for j in range(width + 1)}
    edges = [low, *sorted(b for b in breaks if low < b < high), high]
    table: Counter[Box | None] = Counter()
    for a, b in pairwise(edges):
        chance = float(np.diff(stats.beta.cdf([(a - low) / (high - low), (b - low) / (high - low)], alpha, alpha))[0])
        ratio = (1 - (a + b) / 2) ** 0.5
        half_h, half_w = int(height * ratio) // 2, int(width * ratio) // 2
        for y in range(height):
            for x in range(width):
                box = max(y - half_h, 0), min(y + half_h, height), max(x - half_w, 0), min(x + half_w, width)
                table[box if half_h and half_w else None] += chance / (height * width)
    return table


@pytest.mark.parametrize("shape", [(5, 3, 14, 22), (4, 1, 17, 9), (1, 2, 12, 12)])
def test_the_whole_partner_is_resized_bilinearly_to_the_clipped_box(make_batch, find_box, shape):
    batch, channels, height, width = shape
    images, labels = make_batch(batch, channels, height, width)
    legal = box_probabilities(height, width, (0.1, 0.8), 1.0)
    for seed in range(12):
        mixed = build_port()(images, labels, generator=seeded(seed))
        partner = mixed.sources[:, 1].tolist()
        assert sorted(partner) == list(range(batch))
        found = {find_box(mask) for mask in mixed.masks[:, 0]}
        assert len(found) == 1, "one box a batch"
        box = found.pop()
        assert box in legal
        y0, y1, x0, x1 = box
        kept = 1 - (y1 - y0) * (x1 - x0) / (height * width)
        for b in range(batch):
            wanted = images[b].double().clone()
            wanted[:, y0:y1, x0:x1] = bilinear(images[partner[b]], y1 - y0, x1 - x0)
            torch.testing.assert_close(mixed.images[b].double(), wanted, rtol=0, atol=1e-5)
            outside = mixed.masks[b, 0] == 1
            assert torch.equal(mixed.images[b, :, outside], images[b, :, outside])
            assert mixed.target.weights[b].tolist() == pytest.approx([kept, 1 - kept], abs=1e-7)


def test_bilinear_is_what_interpolate_does_at_every_size(find_box):
    side, sides = 45, set()
    images = torch.rand(1, 2, side, side, generator=seeded(0))
    for step in range(60):
        lam = 0.03 + 0.95 * step / 60
        mixed = build_port(scope=(lam, lam))(images, torch.zeros(1, dtype=torch.int64), generator=seeded(step))
        y0, y1, x0, x1 = find_box(mixed.masks[0, 0])
        small = F.interpolate(images, size=(y1 - y0, x1 - x0), mode="bilinear")
        torch.testing.assert_close(mixed.images[:, :, y0:y1, x0:x1], small, rtol=0, atol=1e-5)
        sides |= {y1 - y0, x1 - x0}
    assert len(sides) > 25


@pytest.mark.parametrize(
    ("scope", "alpha"), [((0.1, 0.8), 1.0), ((0.1, 0.8), 0.4), ((0.3, 0.6), 2.0)], ids=["default", "edges", "narrow"]
)
def test_boxes_an_image_follow_the_exact_distribution(find_box, scope, alpha):
    n, height, width = 6000, 6, 8
    mixer = build_port(scope=scope, alpha=alpha, per_sample=True, per_sample_box=True)
    mixed = mixer(torch.zeros(n, 1, height, width), torch.zeros(n, dtype=torch.int64), generator=seeded(141))
    assert_distributed(Counter(map(find_box, mixed.masks[:, 0])), box_probabilities(height, width, scope, alpha))


def test_boxes_a_batch_follow_the_exact_distribution(find_box):
    images, labels, generator = torch.zeros(1, 1, 5, 7), torch.zeros(1, dtype=torch.int64), seeded(142)
    mixer = build_port()
    found = Counter(find_box(mixer(images, labels, generator=generator).masks[0, 0]) for _ in range(1200))
    assert_distributed(found, box_probabilities(5, 7, (0.1, 0.8), 1.0))


def assert_distributed(observed: Counter, exact: dict[Box | None, float]) -> None:
    n = sum(observed.values())
    assert set(observed) <= {box for box, chance in exact.items() if chance > 0}
    common = [box for box in exact if n * exact[box] >= 5]
    counts, wanted = [observed[box] for box in common], [n * exact[box] for box in common]
    assert sum(wanted) > 0.8 * n
    if n - sum(wanted) >= 5:
        counts, wanted = [*counts, n - sum(counts)], [*wanted, n - sum(wanted)]
    assert stats.chisquare(counts, np.array(wanted) * sum(counts) / sum(wanted)).pvalue > 1e-5


def test_apply_is_nearest_unless_told_otherwise(make_batch, find_box):
    images, labels = make_batch(4, 3, 24, 40)
    mixed = build_port()(images, labels, generator=seeded(2))
    y0, y1, x0, x1 = find_box(mixed.masks[0, 0])
    near, smooth = mixed.apply(images), mixed.apply(images, interpolation="bilinear")
    small = F.interpolate(images[mixed.partner], size=(y1 - y0, x1 - x0))
    assert torch.equal(near[:, :, y0:y1, x0:x1], small)
    assert torch.equal(smooth, mixed.images)
    assert not torch.equal(near, smooth)


# The same two switches with the authors' other settings


@pytest.mark.parametrize("lam", [0.19, 0.36, 0.5, 0.75, 0.84])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_scope_of_lam_scales_by_its_root_inside_the_image_too(make_batch, find_box, lam, interpolation):
    images, labels = make_batch(3, 2, 25, 38)
    mixed = resizemix(
        images, labels, generator=seeded(3), scope=(lam, lam), scope_of="lam", interpolation=interpolation
    )
    small = F.interpolate(images, scale_factor=(1 - lam) ** 0.5, mode=interpolation)
    for b in range(3):
        y0, y1, x0, x1 = find_box(mixed.masks[b, 0])
        patch = mixed.images[b, :, y0:y1, x0:x1]
        torch.testing.assert_close(patch, small[mixed.partner[b]], rtol=0, atol=1e-5 * (interpolation == "bilinear"))


@pytest.mark.parametrize("alpha", [0.4, 1.0, 2.0])
@pytest.mark.parametrize("scope", [(0.1, 0.8), (0.3, 0.6)])
def test_lam_is_beta_stretched_to_the_scope(alpha, scope):
    """A box that is pushed inside keeps its side, int(40 sqrt(1 - lam))."""
    n, side, (low, high) = 4000, 40, scope
    images, labels = torch.zeros(n, 1, side, side), torch.zeros(n, dtype=torch.int64)
    mixed = resizemix(images, labels, generator=seeded(143), scope=scope, scope_of="lam", alpha=alpha, per_sample=True)
    sides = mixed.masks[:, 1].sum((1, 2)).sqrt().long()
    # A side of h or more: lam <= 1 - (h / 40) ** 2.
    stretched = (1 - (np.arange(side + 1) / side) ** 2 - low) / (high - low)
    exact = n * -np.diff(stats.beta.cdf(stretched, alpha, alpha))
    observed = torch.bincount(sides, minlength=side).numpy()
    assert observed.sum() == n and observed[exact == 0].sum() == 0
    assert stats.chisquare(observed[exact > 0], exact[exact > 0]).pvalue > 1e-5


@pytest.mark.parametrize("tau", [0.25, 0.37, 0.5, 0.8])
def test_bilinear_interpolation_of_the_authors_scale(make_batch, find_box, tau):
    images, labels = make_batch(3, 3, 24, 40)
    mixed = resizemix(images, labels, generator=seeded(4), scope=(tau, tau), interpolation="bilinear")
    small = F.interpolate(images, scale_factor=tau, mode="bilinear")
    for b in range(3):
        y0, y1, x0, x1 = find_box(mixed.masks[b, 0])
        torch.testing.assert_close(mixed.images[b, :, y0:y1, x0:x1], small[mixed.partner[b]], rtol=0, atol=1e-5)


def test_one_pixel_of_channels_last(make_batch):
    """A window of one pixel lies alike in both memory formats; the image's format decides."""
    images, labels = make_batch(batch=3, height=8, width=8)
    mixer = openmix.ResizeMix(scope=(0.1, 0.1), interpolation="bilinear")
    last = images.contiguous(memory_format=torch.channels_last)
    for seed in range(5):
        one, other = (mixer(x, labels, generator=torch.Generator().manual_seed(seed)) for x in (images, last))
        assert torch.equal(one.images, other.images)
