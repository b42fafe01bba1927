"""RICAP against a loop over its four fields (Takahashi et al., 2018), each of which shows a crop of its own size."""

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from openmix.mixers import ricap

Field = tuple[int, int, int, int]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fields_of(cut: tuple[int, int], height: int, width: int) -> list[Field]:
    """(y0, y1, x0, x1) of the top left, top right, bottom left and bottom right."""
    row, column = cut
    return [(0, row, 0, column), (0, row, column, width), (row, height, 0, column), (row, height, column, width)]


def legal_cuts(masks: Tensor) -> list[tuple[tuple[int, int], list[int | None]]]:
    """Every cut that explains one image's masks (4,H,W), and each field's source, None where it has no pixels.

    Where a line of pixels changes hands the cut is there; where none does it is at either end.
    """
    owner = masks.argmax(0)
    height, width = owner.shape
    assert torch.equal(masks, torch.nn.functional.one_hot(owner, 4).permute(2, 0, 1).float())
    rows = (owner[1:] != owner[:-1]).any(1).nonzero().flatten().tolist()
    columns = (owner[:, 1:] != owner[:, :-1]).any(0).nonzero().flatten().tolist()
    assert len(rows) <= 1 and len(columns) <= 1
    explained = []
    for row in [r + 1 for r in rows] or [0, height]:
        for column in [c + 1 for c in columns] or [0, width]:
            held = []
            for y0, y1, x0, x1 in fields_of((row, column), height, width):
                within = owner[y0:y1, x0:x1].unique().tolist()
                assert len(within) <= 1
                held.append(within[0] if within else None)
            shown = [k for k in held if k is not None]
            assert len(shown) == len(set(shown))
            explained.append(((row, column), held))
    return explained


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("shape", [(5, 12, 20), (4, 17, 9), (1, 8, 8)])
def test_every_field_is_a_crop_of_its_source(make_coordinates, shape, alpha, per_sample):
    batch, height, width = shape
    images = make_coordinates(batch, height, width)
    for seed in range(10):
        mixed = ricap(images, torch.arange(batch), generator=seeded(seed), alpha=alpha, per_sample=per_sample)
        assert mixed.sources.shape == (batch, 4)
        assert mixed.sources[:, 0].tolist() == list(range(batch))
        for column in mixed.sources.T.tolist():
            assert sorted(column) == list(range(batch))
        out = mixed.images.long().tolist()
        for b in range(batch):
            cut, held = legal_cuts(mixed.masks[b])[0]
            areas = [0.0] * 4
            for (y0, y1, x0, x1), k in zip(fields_of(cut, height, width), held, strict=True):
                if k is None:
                    continue
                areas[k] = (y1 - y0) * (x1 - x0) / (height * width)
                source, row, column = (out[b][c][y0][x0] for c in range(3))
                assert source == int(mixed.sources[b, k])
                assert 0 <= row <= height - (y1 - y0) and 0 <= column <= width - (x1 - x0)
                for i in range(y1 - y0):
                    for j in range(x1 - x0):
                        assert [out[b][c][y0 + i][x0 + j] for c in range(3)] == [source, row + i, column + j]
            assert mixed.target.weights[b].tolist() == pytest.approx(areas, abs=1e-7)


def test_one_layout_a_batch_or_one_an_image(make_coordinates):
    images = make_coordinates(16, 24, 32)
    whole = ricap(images, torch.arange(16), generator=seeded(1), alpha=1.0)
    single = ricap(images, torch.arange(16), generator=seeded(1), alpha=1.0, per_sample=True)
    assert len(whole.masks.flatten(1).unique(dim=0)) == 1
    assert len(single.masks.flatten(1).unique(dim=0)) > 12
    # Places are drawn with the cuts: rows and columns taken are the same all over a batch.
    assert len(whole.images[:, 1:].flatten(1).unique(dim=0)) == 1
    assert len(single.images[:, 1:].flatten(1).unique(dim=0)) > 12


def cut_probabilities(size: int, alpha: float) -> np.ndarray:
    edges = np.clip((np.arange(size + 2) - 0.5) / size, 0, 1)
    return np.diff(stats.beta.cdf(edges, alpha, alpha))


def assert_cuts(masks: Tensor, alpha: float) -> None:
    """round(Beta * size); 0 and size look alike, so they are counted together."""
    n, _, height, width = masks.shape
    cuts = [legal_cuts(m)[0][0] for m in masks]
    for axis, size in ((0, height), (1, width)):
        exact = cut_probabilities(size, alpha)
        counts = Counter(cut[axis] % size for cut in cuts)
        observed = [counts[i] for i in range(size)]
        wanted = n * np.array([exact[0] + exact[-1], *exact[1:-1]])
        assert stats.chisquare(observed, wanted).pvalue > 1e-5
    table = np.zeros((2, 2))
    for row, column in cuts:
        table[int(row % height > 0), int(column % width > 0)] += 1
    assert stats.chi2_contingency(table).pvalue > 1e-5, "rows and columns are drawn apart"


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.0])
def test_cuts_are_rounded_betas(alpha):
    images, labels = torch.zeros(3000, 1, 9, 12), torch.zeros(3000, dtype=torch.int64)
    masks = ricap(images, labels, generator=seeded(111), alpha=alpha, per_sample=True).masks
    assert masks is not None
    assert_cuts(masks, alpha)


def test_cuts_per_batch_are_rounded_betas():
    images, labels, generator = torch.zeros(1, 1, 7, 8), torch.zeros(1, dtype=torch.int64), seeded(112)
    masks = [ricap(images, labels, generator=generator).masks for _ in range(1000)]
    assert_cuts(torch.cat(masks), 0.3)


def test_places_are_uniform_over_all_that_fit(make_coordinates):
    """For each field and size of it: rows 0 .. H - h are as likely, columns too, and fields are drawn apart."""
    n, height, width = 4000, 5, 6
    images = make_coordinates(1, height, width)[0, 1:].expand(n, 2, height, width)
    mixed = ricap(images, torch.zeros(n, dtype=torch.int64), generator=seeded(113), alpha=1.0, per_sample=True)
    rows, columns = defaultdict(list), defaultdict(list)
    pairs = []
    for image, masks in zip(mixed.images.long(), mixed.masks, strict=True):
        cut, held = legal_cuts(masks)[0]
        firsts = {}
        for place, ((y0, y1, x0, x1), k) in enumerate(zip(fields_of(cut, height, width), held, strict=True)):
            if k is not None:
                rows[place, y1 - y0].append(int(image[0, y0, x0]))
                columns[place, x1 - x0].append(int(image[1, y0, x0]))
                firsts[place] = int(image[0, y0, x0]) / max(height - (y1 - y0), 1), int(image[1, y0, x0])
        if len(firsts) == 4:
            pairs.append([firsts[0][0], firsts[1][0], firsts[2][1], firsts[3][1], firsts[0][1]])
    checked = 0
    for table, size in ((rows, height), (columns, width)):
        for (_, side), starts in table.items():
            if side < size and len(starts) >= 100:
                counts = np.bincount(starts, minlength=size - side + 1)
                assert len(counts) == size - side + 1
                assert stats.chisquare(counts).pvalue > 1e-5
                checked += 1
    assert checked >= 25
    # Of two fields side by side, and of a field's own row and column, one says nothing of the other.
    values = np.array(pairs)
    for i, j in ((0, 1), (0, 4), (1, 4)):
        assert abs(np.corrcoef(values[:, i], values[:, j])[0, 1]) < 4.5 * len(values) ** -0.5


def test_all_arrangements_are_as_likely():
    n = 3000
    images, labels = torch.zeros(n, 1, 16, 16), torch.zeros(n, dtype=torch.int64)
    masks = ricap(images, labels, generator=seeded(114), alpha=2.0, per_sample=True).masks
    counts: Counter[tuple[int | None, ...]] = Counter()
    for m in masks:
        _, held = legal_cuts(m)[0]
        if None not in held:
            counts[tuple(held)] += 1
    assert len(counts) == 24 and sum(counts.values()) > 0.9 * n
    assert stats.chisquare(list(counts.values())).pvalue > 1e-5


def test_partners_are_independent_uniform_permutations():
    images, labels, generator = torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64), seeded(115)
    drawn = [ricap(images, labels, generator=generator).sources[0, 1:].tolist() for _ in range(1600)]
    counts = Counter(map(tuple, drawn))
    assert len(counts) == 8
    assert stats.chisquare(list(counts.values())).pvalue > 1e-5
