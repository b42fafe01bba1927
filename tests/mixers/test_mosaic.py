"""Mosaic against a loop over its four fields, each of which shows its whole source by nearest neighbours."""

from collections import Counter
from math import floor

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from openmix import Mixed
from openmix.mixers import mosaic

Field = tuple[int, int, int, int]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fields_of(cut: tuple[int, int], height: int, width: int) -> list[Field]:
    """(y0, y1, x0, x1) of the top left, top right, bottom left and bottom right."""
    row, column = cut
    return [(0, row, 0, column), (0, row, column, width), (row, height, 0, column), (row, height, column, width)]


def read(masks: Tensor) -> tuple[tuple[int, int], list[int]]:
    """The cut, and which source lies in each field, from one image's masks (4,H,W); no field may be empty."""
    owner = masks.argmax(0)
    assert torch.equal(masks, F.one_hot(owner, 4).permute(2, 0, 1).float())
    height, width = owner.shape
    left, top = owner[:, 0], owner[0]
    cut = int((left == left[0]).sum()), int((top == top[0]).sum())
    arrangement = [int(owner[y0, x0]) for y0, _, x0, _ in fields_of(cut, height, width)]
    for (y0, y1, x0, x1), source in zip(fields_of(cut, height, width), arrangement, strict=True):
        assert bool((owner[y0:y1, x0:x1] == source).all())
    assert sorted(arrangement) == [0, 1, 2, 3]
    return cut, arrangement


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("shape", [(5, 12, 20), (4, 17, 9), (1, 8, 8), (3, 33, 47)])
def test_every_field_is_a_whole_source(make_coordinates, shape, per_sample):
    batch, height, width = shape
    images = make_coordinates(batch, height, width)
    for seed in range(8):
        mixed = mosaic(images, torch.arange(batch), generator=seeded(seed), per_sample=per_sample)
        assert mixed.sources.shape == (batch, 4)
        assert mixed.sources[:, 0].tolist() == list(range(batch))
        for column in mixed.sources.T.tolist():
            assert sorted(column) == list(range(batch))
        out = mixed.images.tolist()
        for b in range(batch):
            cut, arrangement = read(mixed.masks[b])
            areas = [0.0] * 4
            for (y0, y1, x0, x1), k in zip(fields_of(cut, height, width), arrangement, strict=True):
                areas[k] = (y1 - y0) * (x1 - x0) / (height * width)
                source = int(mixed.sources[b, k])
                steps = np.float32(height / (y1 - y0)), np.float32(width / (x1 - x0))
                for i in range(y1 - y0):
                    for j in range(x1 - x0):
                        row = min(floor(np.float32(i) * steps[0]), height - 1)
                        column = min(floor(np.float32(j) * steps[1]), width - 1)
                        assert [out[b][c][y0 + i][x0 + j] for c in range(3)] == [source, row, column]
                small = F.interpolate(images[source][None], size=(y1 - y0, x1 - x0))[0]
                assert torch.equal(mixed.images[b, :, y0:y1, x0:x1], small)
            assert mixed.target.weights[b].tolist() == pytest.approx(areas, abs=1e-7)


def test_every_size_of_a_field_is_resized_as_interpolate_does(make_coordinates):
    """floor(i * H / h) in single precision is not that of fractions for every pair."""
    side = 59
    images, sides = make_coordinates(1, side, side), set()
    for step in range(1, side):
        scope = ((step + 0.5) / side,) * 2
        mixed = mosaic(images, torch.zeros(1, dtype=torch.int64), generator=seeded(step), scope=scope)
        cut, _ = read(mixed.masks[0])
        assert cut == (step, step)
        for y0, y1, x0, x1 in fields_of(cut, side, side):
            assert torch.equal(mixed.images[:, :, y0:y1, x0:x1], F.interpolate(images, size=(y1 - y0, x1 - x0)))
            sides.add(y1 - y0)
    assert sides == set(range(1, side))


def draws(n: int, height: int, width: int, seed: int, **hyper) -> list[tuple[tuple[int, int], list[int]]]:
    images, labels = torch.zeros(n, 1, height, width), torch.zeros(n, dtype=torch.int64)
    mixed = mosaic(images, labels, generator=seeded(seed), **hyper)
    assert mixed.masks is not None
    return [read(masks) for masks in mixed.masks]


def per_batch(n: int, height: int, width: int, seed: int) -> list[Mixed]:
    images, labels, generator = torch.zeros(2, 1, height, width), torch.zeros(2, dtype=torch.int64), seeded(seed)
    return [mosaic(images, labels, generator=generator, per_sample=False) for _ in range(n)]


def test_one_layout_a_batch_or_one_an_image():
    layouts = {(cut, tuple(order)) for cut, order in draws(16, 24, 32, 0, per_sample=False)}
    assert len(layouts) == 1
    layouts = {(cut, tuple(order)) for cut, order in draws(16, 24, 32, 0)}
    assert len(layouts) > 12
    assert len({order for _, order in layouts}) > 6


def assert_cuts(cuts: list[int], size: int, scope: tuple[float, float]) -> None:
    """floor(u * size), u uniform on the scope."""
    low, high = scope
    edges = np.clip(np.arange(size + 1) / size, low, high)
    exact = len(cuts) * np.diff(edges) / (high - low)
    observed = np.bincount(cuts, minlength=size)[:size]
    assert observed.sum() == len(cuts)
    possible = exact > 1e-6
    assert observed[~possible].sum() == 0
    assert stats.chisquare(observed[possible], exact[possible]).pvalue > 1e-5


@pytest.mark.parametrize("scope", [(0.25, 0.75), (0.3, 0.5), (0.1, 0.95)])
def test_cuts_are_uniform_and_apart(scope):
    cuts = [cut for cut, _ in draws(2500, 20, 26, 101, scope=scope)]
    rows, columns = map(list, zip(*cuts, strict=True))
    assert_cuts(rows, 20, scope)
    assert_cuts(columns, 26, scope)
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 4.5 * 2500**-0.5


def test_all_arrangements_are_as_likely_and_apart_from_the_cut():
    drawn = draws(2500, 16, 16, 102)
    counts = Counter(tuple(order) for _, order in drawn)
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-5
    cuts = [cut[0] for cut, _ in drawn]
    first = [order[0] for _, order in drawn]
    assert abs(np.corrcoef(cuts, first)[0, 1]) < 4.5 * 2500**-0.5


def test_per_batch_draws_follow_the_same_laws():
    drawn = [read(mixed.masks[0]) for mixed in per_batch(1000, 12, 12, 103)]
    assert_cuts([cut[0] for cut, _ in drawn], 12, (0.25, 0.75))
    assert_cuts([cut[1] for cut, _ in drawn], 12, (0.25, 0.75))
    counts = Counter(tuple(order) for _, order in drawn)
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-5


def test_partners_are_independent_uniform_permutations():
    sources = torch.stack([mixed.sources for mixed in per_batch(1600, 4, 4, 104)])
    counts = Counter(tuple(row) for row in sources[:, 0, 1:].tolist())
    assert len(counts) == 8
    assert stats.chisquare(list(counts.values())).pvalue > 1e-5


def test_a_field_without_pixels_has_no_weight(make_coordinates):
    """floor(0.05 * 6) is no row at all: two sources are not seen, and the label knows."""
    images = make_coordinates(5, 6, 6)
    mixed = mosaic(images, torch.arange(5), generator=seeded(0), scope=(0.05, 0.05))
    for b in range(5):
        assert sorted(mixed.target.weights[b].tolist()) == [0, 0, 0, 1]
        whole = int(mixed.sources[b, mixed.target.weights[b].argmax()])
        assert torch.equal(mixed.images[b], images[whole])
