"""Random Erasing against its formulas (Zhong et al., 2020): whether, how large, of which shape and where."""

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from openmix.mixers import randomerasing

Range = tuple[float, float]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def boxes(masks: Tensor) -> list[tuple[int, int, int, int] | None]:
    """(y0, y1, x0, x1) of every (N,H,W) own mask that is 0 in a rectangle; None where nothing is erased."""
    gone = masks == 0
    rows, columns = gone.any(2), gone.any(1)
    assert torch.equal(gone, rows[:, :, None] & columns[:, None, :]), "what is erased is a full rectangle"
    assert bool((gone | (masks == 1)).all())
    found = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if not any(row):
            found.append(None)
            continue
        y0, x0 = row.index(True), column.index(True)
        y1, x1 = y0 + sum(row), x0 + sum(column)
        assert all(row[y0:y1]) and all(column[x0:x1])
        found.append((y0, y1, x0, x1))
    return found


def drawn(n: int, height: int, width: int, seed: int, **hyper) -> list[tuple[int, int, int, int] | None]:
    images, labels = torch.zeros(n, 1, height, width), torch.zeros(n, dtype=torch.int64)
    return boxes(randomerasing(images, labels, generator=seeded(seed), **hyper).masks[:, 0])


def side_probabilities(height: int, width: int, area: Range, aspect: Range) -> tuple[Counter, float]:
    """P of (h, w) given that they fit, and P that a try fits: from a grid of 2000 x 2000 areas and aspects."""
    steps = (np.arange(2000) + 0.5) / 2000
    a = (area[0] + (area[1] - area[0]) * steps)[:, None] * height * width
    r = aspect[0] + (aspect[1] - aspect[0]) * steps
    h, w = np.rint(np.sqrt(a * r)).astype(int), np.rint(np.sqrt(a / r)).astype(int)
    fits = (h < height) & (w < width)
    codes, counts = np.unique(h[fits] * 1000 + w[fits], return_counts=True)
    shares = counts / fits.sum()
    return Counter({divmod(int(c), 1000): p for c, p in zip(codes, shares, strict=True)}), float(fits.mean())


def assert_sides(found: list[tuple[int, int, int, int]], exact: Counter) -> None:
    n = len(found)
    observed = Counter((y1 - y0, x1 - x0) for y0, y1, x0, x1 in found)
    assert sum(count for sides, count in observed.items() if sides not in exact) <= n * 1e-3, "beyond the grid's sight"
    common = [sides for sides in exact if n * exact[sides] >= 5]
    counts = [observed[sides] for sides in common]
    wanted = [n * exact[sides] for sides in common]
    counts, wanted = [*counts, n - sum(counts)], [*wanted, n - sum(wanted)]
    if wanted[-1] < 5:
        counts, wanted = counts[:-1], wanted[:-1]
    assert len(wanted) > 10 and sum(wanted) > 0.9 * n
    assert stats.chisquare(counts, np.array(wanted) * sum(counts) / sum(wanted)).pvalue > 1e-5


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("fill", [0, 0.5, -1.75])
@pytest.mark.parametrize("shape", [(5, 3, 12, 20), (4, 1, 17, 9), (1, 2, 8, 8)])
def test_pixels_in_the_rectangle_are_filled(make_batch, shape, fill, per_sample):
    batch, channels, height, width = shape
    images, labels = make_batch(batch, channels, height, width)
    for seed in range(8):
        mixed = randomerasing(images, labels, generator=seeded(seed), fill=fill, per_sample=per_sample)
        assert mixed.sources.tolist() == [[b, b] for b in range(batch)]
        assert mixed.target.labels.tolist() == [[y, y] for y in labels.tolist()]
        assert mixed.target.weights.tolist() == [[1.0, 0.0]] * batch
        assert mixed.masks.shape == (batch, 2, height, width)
        assert not mixed.masks[:, 1].any()
        x, out = images.tolist(), mixed.images.tolist()
        for b, box in enumerate(boxes(mixed.masks[:, 0])):
            y0, y1, x0, x1 = box or (0, 0, 0, 0)
            assert y1 - y0 < height and x1 - x0 < width
            for c in range(channels):
                for i in range(height):
                    for j in range(width):
                        inside = y0 <= i < y1 and x0 <= j < x1
                        assert out[b][c][i][j] == (fill if inside else x[b][c][i][j])


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_erases_with_its_probability(probability):
    n = 4000
    erased = sum(box is not None for box in drawn(n, 16, 16, 131, probability=probability))
    assert abs(erased - n * probability) <= 4.5 * (n * probability * (1 - probability)) ** 0.5


def test_the_default_probability_is_a_half_of_the_batches_too():
    n, images, labels, generator = 1500, torch.zeros(3, 1, 16, 16), torch.zeros(3, dtype=torch.int64), seeded(132)
    masks = [randomerasing(images, labels, generator=generator, per_sample=False).masks[:, 0] for _ in range(n)]
    for three in masks[:50]:
        assert len(set(boxes(three))) == 1, "one draw a batch"
    found = boxes(torch.stack([three[0] for three in masks]))
    erased = [box for box in found if box is not None]
    assert abs(len(erased) - n / 2) < 4.5 * (n / 4) ** 0.5
    assert_sides(erased, side_probabilities(16, 16, (0.02, 0.4), (0.3, 1 / 0.3))[0])


@pytest.mark.parametrize(
    ("height", "width", "area", "aspect"),
    [
        (16, 20, (0.02, 0.4), (0.3, 1 / 0.3)),
        (20, 11, (0.1, 0.9), (0.5, 3.0)),
        (14, 14, (0.3, 0.5), (0.9, 1.2)),
    ],
)
def test_sides_follow_uniform_area_and_aspect(height, width, area, aspect):
    """Of those that do not fit another is drawn, so what is left keeps its proportions."""
    n = 10_000
    found = drawn(n, height, width, 133, probability=1.0, area=area, aspect=aspect)
    assert None not in found, "a hundred tries find one that fits"
    exact, fits = side_probabilities(height, width, area, aspect)
    assert fits > 0.3
    assert_sides([box for box in found if box is not None], exact)


def test_places_are_uniform_over_all_that_fit():
    found = drawn(12_000, 9, 11, 134, probability=1.0)
    tops, lefts = defaultdict(list), defaultdict(list)
    for y0, y1, x0, x1 in filter(None, found):
        tops[y1 - y0].append(y0)
        lefts[x1 - x0].append(x0)
    checked = 0
    for table, size in ((tops, 9), (lefts, 11)):
        for side, starts in table.items():
            if len(starts) >= 200:
                counts = np.bincount(starts, minlength=size - side + 1)
                assert len(counts) == size - side + 1
                assert stats.chisquare(counts).pvalue > 1e-5
                checked += 1
    assert checked >= 10
    # Relative places along either axis are drawn apart.
    inner = [(y0 / (9 - y1 + y0), x0 / (11 - x1 + x0)) for y0, y1, x0, x1 in filter(None, found)]
    y, x = np.array(inner).T
    assert abs(np.corrcoef(y, x)[0, 1]) < 4.5 * len(inner) ** -0.5


def test_images_are_drawn_apart():
    """Whether one image is erased says nothing of the next."""
    erased = np.array([box is not None for box in drawn(8000, 8, 8, 135)])
    assert abs(np.corrcoef(erased[:-1], erased[1:])[0, 1]) < 4.5 * 8000**-0.5
    assert len(set(drawn(64, 24, 24, 136, probability=1.0))) > 50


def test_what_never_fits_leaves_the_image_alone(make_batch):
    images, labels = make_batch(6, 3, 16, 16)
    for per_sample in (False, True):
        mixed = randomerasing(
            images, labels, generator=seeded(0), probability=1.0, area=(1, 1), aspect=(1, 1), per_sample=per_sample
        )
        assert torch.equal(mixed.images, images)
        assert bool((mixed.masks[:, 0] == 1).all())
        assert mixed.target.weights.tolist() == [[1.0, 0.0]] * 6


def test_a_rectangle_may_fill_all_but_a_line():
    """round(sqrt(0.81 * 100)) is 9 of 10 rows: the largest that fits."""
    found = drawn(200, 10, 10, 137, probability=1.0, area=(0.81, 0.81), aspect=(1, 1))
    assert {(y1 - y0, x1 - x0) for y0, y1, x0, x1 in filter(None, found)} == {(9, 9)}
    assert {box[0] for box in filter(None, found)} == {0, 1}


def test_apply_fills_with_the_same_value(make_batch):
    images, labels = make_batch()
    mixed = randomerasing(images, labels, generator=seeded(0), probability=1.0, fill=0.25)
    told = mixed.apply(torch.ones(5, 1, 24, 32))
    assert torch.equal(told, torch.where(mixed.masks[:, :1] == 1, 1.0, 0.25))
