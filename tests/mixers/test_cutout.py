"""Cutout against a loop: a square about a uniform pixel, cut off at the border (DeVries and Taylor, 2017)."""

from collections import Counter

import pytest
import torch
from scipy import stats

from openmix.mixers import cutout

Box = tuple[int, int, int, int]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def box_probabilities(height: int, width: int, length: int) -> dict[Box | None, float]:
    table: Counter[Box | None] = Counter()
    half = length // 2
    for y in range(height):
        for x in range(width):
            box = max(y - half, 0), min(y + half, height), max(x - half, 0), min(x + half, width)
            table[box if half else None] += 1 / (height * width)
    return table


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("fill", [0, 0.5, -1.75])
@pytest.mark.parametrize(("shape", "length"), [((5, 3, 12, 20), 6), ((4, 1, 17, 9), 5), ((1, 2, 8, 8), 16)])
def test_pixels_in_the_square_are_filled(make_batch, find_box, shape, length, fill, per_sample):
    batch, channels, height, width = shape
    images, labels = make_batch(batch, channels, height, width)
    for seed in range(6):
        mixed = cutout(images, labels, generator=seeded(seed), length=length, fill=fill, per_sample=per_sample)
        assert mixed.sources.tolist() == [[b, b] for b in range(batch)]
        assert mixed.target.labels.tolist() == [[y, y] for y in labels.tolist()]
        assert mixed.target.weights.tolist() == [[1.0, 0.0]] * batch
        assert mixed.masks.shape == (batch, 2, height, width)
        assert not mixed.masks[:, 1].any()
        x, out = images.tolist(), mixed.images.tolist()
        for b in range(batch):
            box = find_box(mixed.masks[b, 0])
            assert box in box_probabilities(height, width, length)
            y0, y1, x0, x1 = box
            for c in range(channels):
                for i in range(height):
                    for j in range(width):
                        inside = y0 <= i < y1 and x0 <= j < x1
                        assert out[b][c][i][j] == (fill if inside else x[b][c][i][j])


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize(("height", "width", "length"), [(6, 8, 4), (7, 5, 3), (5, 6, 16)])
def test_centre_is_uniform(find_box, height, width, length, per_sample):
    if per_sample:
        n = 4000
        images, labels = torch.zeros(n, 1, height, width), torch.zeros(n, dtype=torch.int64)
        masks = cutout(images, labels, generator=seeded(121), length=length).masks[:, 0]
    else:
        n, generator = 1500, seeded(122)
        images, labels = torch.zeros(1, 1, height, width), torch.zeros(1, dtype=torch.int64)
        one = {"generator": generator, "length": length, "per_sample": False}
        masks = torch.cat([cutout(images, labels, **one).masks[:, 0] for _ in range(n)])
    exact = box_probabilities(height, width, length)
    observed = Counter(find_box(mask) for mask in masks)
    assert set(observed) == set(exact)
    if len(exact) > 1:
        boxes = list(exact)
        assert stats.chisquare([observed[b] for b in boxes], [n * exact[b] for b in boxes]).pvalue > 1e-5


def test_one_square_a_batch_or_one_an_image(make_batch):
    images, labels = make_batch(batch=16)
    whole = cutout(images, labels, generator=seeded(0), per_sample=False).masks
    single = cutout(images, labels, generator=seeded(0)).masks
    assert len(whole.flatten(1).unique(dim=0)) == 1
    assert len(single.flatten(1).unique(dim=0)) > 12


def test_the_default_square_is_16_pixels_of_black(make_batch):
    images, labels = make_batch(64, 1, 64, 64)
    mixed = cutout(images, labels, generator=seeded(0))
    areas = (1 - mixed.masks[:, 0]).sum((1, 2))
    assert float(areas.max()) == 256
    assert torch.equal(mixed.images == 0, mixed.masks[:, :1] == 0)


def test_a_square_of_one_pixel_is_none(make_batch):
    """Half of 1 is 0 either way."""
    images, labels = make_batch()
    mixed = cutout(images, labels, generator=seeded(0), length=1)
    assert torch.equal(mixed.images, images)
    assert bool((mixed.masks[:, 0] == 1).all())


def test_apply_fills_with_the_same_value(make_batch):
    images, labels = make_batch()
    mixed = cutout(images, labels, generator=seeded(0), fill=0.25)
    told = mixed.apply(torch.ones(5, 1, 24, 32))
    assert torch.equal(told, torch.where(mixed.masks[:, :1] == 1, 1.0, 0.25))
