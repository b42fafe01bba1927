"""GridMix against its formulas, painted with NumPy's slices: every mask that can be drawn, and how often."""

from collections import Counter
from math import ceil, floor, trunc

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import openmix
from openmix.mixers import gridmix

# A hole of patch - 1 pixels whatever the patch: the share of the image is as good as none, so sqrt(1 - lam) is 1.
WIDEST = (1e-6, 1e-6)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int, height: int, width: int, seed: int, preset: str | None = None, **hyper) -> Tensor:
    """Partner masks (N,H,W) of n images, each with its own draw."""
    mixer = openmix.build_mixer("gridmix", preset=preset, per_sample=True, **hyper)
    masks = mixer(torch.zeros(n, 1, height, width), torch.zeros(n, dtype=torch.int64), generator=seeded(seed)).masks
    assert masks is not None
    return masks[:, 1]


def paint(height: int, width: int, n: int, crop: tuple[int, int], first: tuple[int, int], root: float, aspect=1.0):
    """The partner's mask; ``crop`` and ``first`` are (rows, columns), ``root`` is sqrt(1 - lam)."""
    crop_h, crop_w = crop
    n = max(1, min(n, crop_w // 2))
    patch_w = ceil(crop_w / n)
    patch_h = max(1, floor(patch_w * aspect))
    hole_w = min(max(1, floor(patch_w * root)), patch_w - 1)
    hole_h = min(max(1, floor(patch_h * root)), patch_h - 1)
    mask = np.zeros((height, width), np.float32)
    for a in range(0, crop_h, patch_h):
        for c in range(0, crop_w, patch_w):
            b, d = min(a + hole_h, crop_h), min(c + hole_w, crop_w)
            mask[first[0] + a : first[0] + b, first[1] + c : first[1] + d] = 1
    return mask


def crop_of(height: int, width: int, share: float, aspect: float, wrap: bool) -> tuple[int, int]:
    crop_w = max(1, floor((share * height * width / aspect) ** 0.5))
    crop_h = max(1, floor(crop_w * aspect))
    return (crop_h, crop_w) if wrap else (min(crop_h, height), min(crop_w, width))


def places(crop: int, size: int) -> list[int]:
    """Where a crop may begin, each as likely: trunc((size - crop) * u) also rounds towards 0 where that is negative."""
    steps = abs(size - crop)
    return [trunc((size - crop) * (i + 0.5) / steps) for i in range(steps)] or [0]


# Every pixel


@pytest.mark.parametrize("preset", [None, "openmixup"])
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("shape", [(5, 3, 12, 20), (4, 1, 17, 9), (1, 2, 8, 8)])
def test_hole_pixels_are_the_partner_s(make_batch, shape, per_sample, preset):
    batch, channels, height, width = shape
    images, labels = make_batch(batch, channels, height, width)
    mixer = openmix.build_mixer("gridmix", preset=preset, per_sample=per_sample)
    for seed in range(8):
        mixed = mixer(images, labels, generator=seeded(seed))
        partner = mixed.sources[:, 1].tolist()
        assert sorted(partner) == list(range(batch))
        x, out, own = images.tolist(), mixed.images.tolist(), mixed.masks[:, 0].tolist()
        for b in range(batch):
            kept = 0
            for i in range(height):
                for j in range(width):
                    assert own[b][i][j] in (0, 1)
                    kept += own[b][i][j]
                    source = b if own[b][i][j] else partner[b]
                    assert all(out[b][c][i][j] == x[source][c][i][j] for c in range(channels))
            assert float(mixed.target.weights[b, 0]) == pytest.approx(kept / (height * width), abs=1e-7)
            assert float(mixed.target.weights[b, 1]) == pytest.approx(1 - kept / (height * width), abs=1e-7)


def test_one_grid_a_batch_or_one_an_image(make_batch):
    images, labels = make_batch(batch=8)
    whole = gridmix(images, labels, generator=seeded(0)).masks[:, 0]
    single = gridmix(images, labels, generator=seeded(0), per_sample=True).masks[:, 0]
    assert len(whole.flatten(1).unique(dim=0)) == 1
    assert len(single.flatten(1).unique(dim=0)) > 5


# Everything known but the place: the whole mask follows, and every place is as likely


KNOWN = [
    # H, W, n, lam, cut area's share, cut aspect, hole aspect
    (12, 12, 3, 0.5, 0.7, 1.0, 1.0),
    (12, 20, 3, 0.45, 0.5, 0.61, 1.0),
    (20, 13, 2, 0.6, 0.9, 1.3, 1.0),
    (15, 15, 6, 0.4, 0.55, 1.7, 1.0),
    (16, 16, 4, 0.7, 0.99, 0.8, 0.5),
    (16, 16, 2, 0.55, 0.8, 1.0, 1.6),
    (9, 30, 4, 0.5, 1.0, 0.7, 1.0),
    (30, 9, 3, 0.5, 1.0, 1.9, 0.7),
    (10, 10, 9, 0.5, 0.5, 1.2, 1.0),
    (6, 6, 5, 0.5, 0.08, 1.1, 1.0),
    (13, 13, 3, 0.5, 1.0, 2.0, 1.0),
]


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("known", KNOWN, ids=str)
def test_known_grid_at_every_place(known, wrap):
    height, width, n, lam, share, aspect, hole_aspect = known
    crop = crop_of(height, width, share, aspect, wrap)
    exact: Counter[bytes] = Counter()
    rows, columns = places(crop[0], height), places(crop[1], width)
    for y in rows:
        for x in columns:
            mask = paint(height, width, n, crop, (y, x), (1 - lam) ** 0.5, hole_aspect)
            exact[mask.tobytes()] += 1 / (len(rows) * len(columns))
    masks = drawn(
        4000,
        height,
        width,
        71,
        alpha=(lam, lam),
        n_holes=(n, n),
        cut_area_ratio=(share, share),
        cut_aspect_ratio=(aspect, aspect),
        hole_aspect_ratio=(hole_aspect, hole_aspect),
        wrap=wrap,
    )
    observed = Counter(mask.numpy().tobytes() for mask in masks)
    assert set(observed) == set(exact)
    if len(exact) > 1:
        counts = [(observed[key], 4000 * chance) for key, chance in exact.items()]
        assert stats.chisquare(*zip(*counts, strict=True)).pvalue > 1e-5


def test_wrapping_moves_and_loses_holes_of_a_crop_that_begins_outside():
    """The port's bug: rows from -4 to -2 are at the other end in NumPy, and rows from -1 to 1 are none."""
    known = {"alpha": (0.5, 0.5), "n_holes": (3, 3), "cut_area_ratio": (1, 1), "cut_aspect_ratio": (2, 2)}
    wrapped, whole = drawn(300, 13, 13, 72, wrap=True, **known), drawn(300, 13, 13, 72, **known)
    # A crop of 18 x 9 rows and columns in patches of 3 with holes of 2, three in a row.
    rows_by_first = {
        0: (0, 1, 3, 4, 6, 7, 9, 10, 12),
        -1: (2, 3, 5, 6, 8, 9, 11, 12),
        -2: (1, 2, 4, 5, 7, 8, 10, 11),
        -3: (0, 1, 3, 4, 6, 7, 9, 10, 11, 12),
        -4: (2, 3, 5, 6, 8, 9, 10, 11, 12),
    }
    rows = [{tuple(mask.amax(1).nonzero().flatten().tolist()) for mask in masks} for masks in (wrapped, whole)]
    assert rows == [set(rows_by_first.values()), {rows_by_first[0]}]


# One thing unknown at a time


def test_lambda_is_uniform_on_a_pair_and_beta_for_a_number():
    """One hole in a crop of the whole image is floor(40 sqrt(1 - lam)) a side, 39 at most and 1 at least."""
    n, side = 4000, 40
    for alpha, below in [
        ((0.4, 0.7), lambda lam: np.clip((lam - 0.4) / 0.3, 0, 1)),
        ((0.1, 0.2), lambda lam: np.clip((lam - 0.1) / 0.1, 0, 1)),
        (1.0, lambda lam: lam),
        (0.3, lambda lam: stats.beta.cdf(lam, 0.3, 0.3)),
    ]:
        masks = drawn(n, side, side, 73, alpha=alpha, n_holes=(1, 1), cut_area_ratio=(1, 1), cut_aspect_ratio=(1, 1))
        holes = masks.sum((1, 2)).sqrt().long()
        # Side h or more: sqrt(1 - lam) >= h / 40; side 1 takes 0, and 39 takes 40.
        tails = [1.0, *(float(below(1 - (h / side) ** 2)) for h in range(2, side)), 0.0]
        exact = n * -np.diff(tails)
        observed = torch.bincount(holes, minlength=side)[1:].numpy()
        assert observed[exact == 0].sum() == 0
        keep = exact > 0
        assert stats.chisquare(observed[keep], exact[keep]).pvalue > 1e-5


@pytest.mark.parametrize(("low", "high"), [(2, 6), (3, 3), (1, 4)])
def test_number_of_holes_is_a_uniform_integer(low, high):
    masks = drawn(
        4000, 24, 24, 74, n_holes=(low, high), alpha=(0.5, 0.5), cut_area_ratio=(1, 1), cut_aspect_ratio=(1, 1)
    )
    by_mask = {paint(24, 24, n, (24, 24), (0, 0), 0.5**0.5).tobytes(): n for n in range(low, high + 1)}
    counts = Counter(by_mask[mask.numpy().tobytes()] for mask in masks)
    assert sorted(counts) == list(range(low, high + 1))
    if low < high:
        assert stats.chisquare(list(counts.values())).pvalue > 1e-5


def crop_probabilities(height: int, width: int, area: tuple[float, float], aspect: tuple[float, float], wrap: bool):
    """P of every crop (rows, columns): exact in the area, by 40,000 points in the aspect."""
    table: Counter[tuple[int, int]] = Counter()
    low, high = area[0] * height * width, area[1] * height * width
    steps = 40_000
    for ratio in np.linspace(*aspect, 2 * steps + 1)[1::2]:
        for crop_w in range(floor((low / ratio) ** 0.5), floor((high / ratio) ** 0.5) + 1):
            inside = min(high, (crop_w + 1) ** 2 * ratio) - max(low, crop_w**2 * ratio)
            crop = floor(crop_w * ratio), crop_w
            crop = crop if wrap else (min(crop[0], height), min(crop[1], width))
            table[crop] += max(inside, 0) / (high - low) / steps
    return table


def test_crops_follow_uniform_area_and_aspect():
    """One hole that fills the crop but for a column, and taller than it, shows both of the crop's sides."""
    n, height, width = 20_000, 14, 17
    masks = drawn(n, height, width, 75, alpha=WIDEST, n_holes=(1, 1), hole_aspect_ratio=(10, 10))
    shown = zip(masks.amax(2).sum(1).int().tolist(), masks.amax(1).sum(1).int().tolist(), strict=True)
    observed = Counter((h, w + 1) for h, w in shown)
    exact = crop_probabilities(height, width, (0.5, 1), (0.5, 2), wrap=False)
    assert set(observed) <= set(exact)
    common = [crop for crop in exact if n * exact[crop] >= 5]
    counts = [observed[crop] for crop in common] + [n - sum(observed[crop] for crop in common)]
    wanted = [n * exact[crop] for crop in common] + [n - sum(n * exact[crop] for crop in common)]
    assert sum(wanted[:-1]) > 0.95 * n
    if wanted[-1] < 1:
        counts, wanted = counts[:-1], wanted[:-1]
    assert stats.chisquare(counts, np.array(wanted) * sum(counts) / sum(wanted)).pvalue > 1e-5


def test_hole_aspect_is_uniform():
    """Patches 10 wide and floor(10 aspect) high; the widest holes leave one row between them."""
    n = 4000
    masks = drawn(
        n,
        40,
        40,
        76,
        alpha=WIDEST,
        n_holes=(4, 4),
        hole_aspect_ratio=(0.65, 1.45),
        cut_area_ratio=(1, 1),
        cut_aspect_ratio=(1, 1),
    )
    first_gap = (masks.amax(2) == 0).float().argmax(1) + 1
    counts = torch.bincount(first_gap, minlength=15)[6:15].numpy()
    widths = np.array([0.05, *[0.1] * 7, 0.05]) / 0.8
    assert counts.sum() == n
    assert stats.chisquare(counts, n * widths).pvalue > 1e-5


# Everything unknown at once


def simulate(n: int, height: int, width: int, seed: int, alpha: float | tuple[float, float], wrap: bool) -> np.ndarray:
    rng, masks = np.random.default_rng(seed), []
    for _ in range(n):
        lam = rng.beta(alpha, alpha) if isinstance(alpha, float) else rng.uniform(*alpha)
        crop = crop_of(height, width, rng.uniform(0.5, 1), rng.uniform(0.5, 2), wrap)
        first = trunc((height - crop[0]) * rng.random()), trunc((width - crop[1]) * rng.random())
        masks.append(paint(height, width, rng.integers(2, 7), crop, first, (1 - lam) ** 0.5))
    return np.stack(masks)


@pytest.mark.parametrize(
    ("preset", "alpha", "wrap"), [(None, (0.4, 0.7), False), ("openmixup", 1.0, True)], ids=["authors", "openmixup"]
)
def test_all_draws_together_are_those_of_a_loop(preset, alpha, wrap):
    """Every pixel's mean, the shares' distribution, and their link to the place, over 4000 masks of either."""
    n, height, width = 4000, 13, 18
    found, wanted = drawn(n, height, width, 77, preset).numpy(), simulate(n, height, width, 78, alpha, wrap)
    chance = wanted.mean(0)
    error = np.sqrt(2 * np.maximum(chance * (1 - chance), 1 / n) / n)
    np.testing.assert_array_less(np.abs(found.mean(0) - chance), 4.8 * error)
    assert stats.ks_2samp(found.mean((1, 2)), wanted.mean((1, 2))).pvalue > 1e-4
    edges = [(m[:, [0], :].mean((1, 2)) + m[:, :, [0]].mean((1, 2))) * m.mean((1, 2)) for m in (found, wanted)]
    assert stats.ks_2samp(*edges).pvalue > 1e-4
