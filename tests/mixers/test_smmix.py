"""SMMix against a search of all windows (Chen et al., 2023), pixel by pixel."""

from collections import Counter

import pytest
import torch
from scipy import stats
from torch import Tensor

import openmix
from openmix.mixers.smmix import smmix


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def attention_of(batch: int, height: int, width: int, seed: int = 3) -> Tensor:
    return torch.rand(batch, height, width, generator=seeded(seed)).pow(4)


def windows(attention: list[list[float]], n: int) -> dict[tuple[int, int], float]:
    """The sum of attention in each window of n x n patches, by its first patch."""
    height, width = len(attention), len(attention[0])
    return {
        (i, j): sum(attention[i + a][j + b] for a in range(n) for b in range(n))
        for i in range(height - n + 1)
        for j in range(width - n + 1)
    }


@pytest.mark.parametrize(
    ("shape", "grid"),
    [((5, 3, 32, 48), (8, 12)), ((4, 1, 33, 47), (5, 7)), ((1, 3, 14, 14), (14, 14)), ((2, 2, 9, 9), (3, 3))],
)
def test_the_greatest_window_lies_on_the_least(make_batch, make_coordinates, shape, grid):
    images, labels = make_batch(*shape)
    attention = attention_of(shape[0], *grid)
    for seed in range(5):
        mixed = smmix(images, labels, attention=attention, generator=seeded(seed))
        assert mixed.partner.tolist() == list(range(shape[0]))[::-1]
        addresses = mixed.apply(make_coordinates(shape[0], *shape[2:]))
        area = int((mixed.mask[0] == 0).sum())
        sides = [n for n in range(1, min(grid) + 1) if (n * shape[2] // grid[0]) * (n * shape[3] // grid[1]) == area]
        assert len(sides) == 1
        n = sides[0]
        assert int(0.25 * min(grid)) <= n <= int(0.75 * min(grid))
        height, width = n * shape[2] // grid[0], n * shape[3] // grid[1]
        for b in range(shape[0]):
            least = windows(attention[b].tolist(), n)
            most = windows(attention[shape[0] - 1 - b].tolist(), n)
            to, start = min(least, key=least.__getitem__), max(most, key=most.__getitem__)
            to = (to[0] * shape[2] // grid[0], to[1] * shape[3] // grid[1])
            start = (start[0] * shape[2] // grid[0], start[1] * shape[3] // grid[1])
            for y in range(shape[2]):
                for x in range(shape[3]):
                    i, j = y - to[0], x - to[1]
                    inside = 0 <= i < height and 0 <= j < width
                    source = (shape[0] - 1 - b, start[0] + i, start[1] + j) if inside else (b, y, x)
                    assert torch.equal(mixed.images[b, :, y, x], images[source[0], :, source[1], source[2]])
                    assert addresses[b, :, y, x].tolist() == list(source)
                    assert float(mixed.mask[b, 0, y, x]) == (not inside)
            assert mixed.target.weights[b].tolist() == pytest.approx(
                [1 - area / (shape[2] * shape[3]), area / (shape[2] * shape[3])]
            )


@pytest.mark.parametrize(
    ("ratios", "sides"),
    [({}, range(3, 11)), ({"min_side_ratio": 0.5}, range(7, 11)), ({"max_side_ratio": 1.0}, range(3, 15))],
)
def test_sides_are_uniform(ratios, sides):
    images, labels, attention = torch.zeros(2, 1, 14, 14), torch.arange(2), attention_of(2, 14, 14)
    generator = seeded(4)
    counts = Counter(
        round(int((1 - smmix(images, labels, attention=attention, generator=generator, **ratios).mask[0]).sum()) ** 0.5)
        for _ in range(1200)
    )
    assert set(counts) == set(sides)
    assert stats.chisquare([counts[n] for n in sides]).pvalue > 1e-4


@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e36])
def test_maps_of_any_scale_and_of_zeros(make_batch, scale):
    images, labels = make_batch(5, 3, 32, 32)
    attention = attention_of(5, 8, 8)
    plain = smmix(images, labels, attention=attention if scale else torch.ones(5, 8, 8), generator=seeded(6))
    scaled = smmix(images, labels, attention=attention * scale, generator=seeded(6))
    if scale != 1e-42:  # of so small numbers few digits are left
        assert torch.equal(plain.images, scaled.images)
    assert bool(scaled.images.isfinite().all())


def test_a_grid_of_one_patch(make_batch):
    images, labels = make_batch(2, 3, 8, 8)
    mixed = smmix(images, labels, attention=torch.ones(2, 1, 1), generator=seeded())
    assert torch.equal(mixed.images, images.flip(0))


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.5), (0.5, 0.25), (0.5, 1.5)])
def test_ratios_out_of_range_are_named(make_batch, low, high):
    with pytest.raises(ValueError, match="side_ratio"):
        smmix(*make_batch(), attention=attention_of(5, 4, 4), min_side_ratio=low, max_side_ratio=high)


def test_more_patches_than_pixels_are_refused(make_batch):
    with pytest.raises(ValueError, match="patches"):
        smmix(*make_batch(2, 3, 8, 8), attention=attention_of(2, 9, 8))


def test_the_grid_s_side_is_not_asked_for():
    with pytest.raises(ValueError, match="leave it out"):
        openmix.build_mixer("smmix", side=14)
