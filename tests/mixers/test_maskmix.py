"""MaskMix against its rule (Zhao et al., 2023): how many cells are kept, which, and every pixel."""

from collections import Counter

import pytest
import torch
from scipy import stats
from torch import Tensor

import openmix
from openmix.mixers.maskmix import maskmix


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cells_of(own: Tensor, cell: tuple[int, int]) -> list[list[float]]:
    """Read the cells back from one own mask (H, W); each is of one value."""
    rows = []
    for y in range(0, own.shape[0], cell[0]):
        rows.append([])
        for x in range(0, own.shape[1], cell[1]):
            values = own[y : y + cell[0], x : x + cell[1]].unique().tolist()
            assert len(values) == 1
            rows[-1] += values
    return rows


@pytest.mark.parametrize(
    ("shape", "size", "cell", "grid"),
    [
        ((5, 3, 32, 48), None, (8, 12), (4, 4)),
        ((4, 1, 33, 47), None, (9, 12), (4, 4)),
        ((3, 2, 20, 20), 8, (8, 8), (3, 3)),
        ((2, 2, 20, 7), 1, (1, 1), (20, 7)),
        ((2, 2, 8, 8), 64, (64, 64), (1, 1)),
        ((1, 3, 2, 3), None, (1, 1), (2, 3)),
    ],
)
def test_every_pixel_is_its_cell_s(make_batch, shape, size, cell, grid):
    images, labels = make_batch(*shape)
    for seed in range(5):
        mixed = maskmix(images, labels, generator=seeded(seed), mask_patch_size=size)
        assert sorted(mixed.partner.tolist()) == list(range(shape[0]))
        counts = set()
        for b, own in enumerate(mixed.mask[:, 0]):
            cells = cells_of(own, cell)
            assert (len(cells), len(cells[0])) == grid
            counts.add(sum(map(sum, cells)))
            for y in range(shape[2]):
                for x in range(shape[3]):
                    source = b if cells[y // cell[0]][x // cell[1]] else int(mixed.partner[b])
                    assert torch.equal(mixed.images[b, :, y, x], images[source, :, y, x])
            assert float(mixed.target.weights[b, 0]) == pytest.approx(float(own.mean()), abs=1e-6)
        assert len(counts) == 1 and counts.pop() >= 1, "one lam for the batch, and some of each image is kept"


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_counts_are_beta_s_rounded_up(alpha, per_sample):
    """P(n of 16) = P(n - 1 < 16 lam <= n)."""
    n, generator = (4000, seeded(5)) if per_sample else (1, seeded(6))
    draws = []
    for _ in range(1 if per_sample else 2000):
        images, labels = torch.zeros(n, 1, 4, 4), torch.zeros(n, dtype=torch.int64)
        mixed = maskmix(images, labels, generator=generator, alpha=alpha, per_sample=per_sample)
        draws += mixed.mask.sum((1, 2, 3)).long().tolist()
    counts = Counter(draws)
    wanted = [stats.beta.cdf(k / 16, alpha, alpha) - stats.beta.cdf((k - 1) / 16, alpha, alpha) for k in range(1, 17)]
    observed = [counts[k] for k in range(1, 17)]
    assert sum(observed) == len(draws)
    assert stats.chisquare(observed, [w * len(draws) for w in wanted]).pvalue > 1e-4


def test_which_cells_is_drawn_for_each_image_and_uniform():
    images, labels = torch.zeros(6000, 1, 4, 4), torch.zeros(6000, dtype=torch.int64)
    own = maskmix(images, labels, generator=seeded(8), alpha=50.0).mask[:, 0].flatten(1)
    count = int(own[0].sum())
    assert bool((own.sum(1) == count).all()) and 5 <= count <= 11
    share = count / 16
    frequency = own.mean(0)
    assert float((frequency - share).abs().max()) < 4.5 * (share * (1 - share) / 6000) ** 0.5
    # any two cells: kept together as often as without replacement
    together = (own[:, 3] * own[:, 12]).mean()
    assert float(together) == pytest.approx(share * (count - 1) / 15, abs=0.03)


@pytest.mark.parametrize(("key", "value"), [("alpha", 0), ("mask_patch_size", 0), ("mask_patch_size", 1.5)])
def test_values_out_of_range_are_named(key, value):
    with pytest.raises(ValueError, match=key):
        openmix.build_mixer("maskmix", **{key: value})
