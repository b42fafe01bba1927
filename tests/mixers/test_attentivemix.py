"""AttentiveMix against the paper (Walawalkar et al., 2020), and how many cells AttentiveMix+ keeps."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import openmix
from openmix.mixers import attentivemix


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(batch: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=seeded(seed))


def cells_by_loop(features: list, k: int) -> set[tuple[int, int]]:
    """The k cells of (C,h,w) where the channels' mean is highest."""
    c, h, w = len(features), len(features[0]), len(features[0][0])
    mean = {(i, j): sum(features[n][i][j] for n in range(c)) / c for i in range(h) for j in range(w)}
    return set(sorted(mean, key=lambda cell: -mean[cell])[:k])


@pytest.mark.parametrize("k", [1, 6, 11])
@pytest.mark.parametrize(
    ("size", "grid"), [((28, 28), (7, 7)), ((32, 32), (7, 7)), ((20, 31), (3, 5)), ((16, 24), (4, 4)), ((9, 9), (9, 9))]
)
def test_every_pixel(make_batch, size, grid, k):
    images, labels = make_batch(5, 3, *size)
    features = drawn(5, 4, *grid)
    mixed = attentivemix(images, labels, features=features, generator=seeded(k), top_k=k)
    partner = mixed.partner.tolist()
    assert sorted(partner) == list(range(5))
    for b in range(5):
        cells, kept = cells_by_loop(features[b].tolist(), k), 0
        for y in range(size[0]):
            for x in range(size[1]):
                own = (y * grid[0] // size[0], x * grid[1] // size[1]) in cells
                kept += own
                assert torch.equal(mixed.images[b, :, y, x], images[b if own else partner[b], :, y, x])
        assert float(mixed.target.weights[b, 0]) == pytest.approx(kept / (size[0] * size[1]), abs=1e-6)
        assert float(mixed.target.weights[b].sum()) == pytest.approx(1, abs=1e-6)


def test_the_papers_six_of_49():
    images, labels = torch.rand(3, 3, 56, 56), torch.arange(3)
    mixed = attentivemix(images, labels, features=drawn(3, 8, 7, 7))
    torch.testing.assert_close(mixed.target.weights[:, 0], torch.full((3,), 6 / 49))


@pytest.mark.parametrize("per_sample", [False, True])
def test_attentivemixplus_keeps_a_share_of_beta(per_sample):
    """Counts of cells have the law of clip(int(49 lam), 1, 49) for lam ~ Beta(2, 2)."""
    plus = openmix.build_mixer("attentivemix", preset="openmixup", alpha=2.0, per_sample=per_sample)
    n, runs = (4000, 1) if per_sample else (3, 1500)
    counts = []
    for seed in range(runs):
        mixed = plus(torch.zeros(n, 1, 7, 7), torch.arange(n), generator=seeded(seed), features=drawn(n, 1, 7, 7))
        kept = (mixed.target.weights[:, 0] * 49).round().long()
        counts += kept.tolist() if per_sample else kept[:1].tolist()
        assert per_sample or len(kept.unique()) == 1
    chance = np.diff(stats.beta.cdf(np.arange(50) / 49, 2, 2))
    chance = np.concatenate([[chance[0] + chance[1]], chance[2:]])  # at least one cell
    assert min(counts) == 1
    observed = np.bincount(counts, minlength=50)[1:49]
    common = chance * len(counts) >= 5
    wanted = chance[common] / chance[common].sum() * observed[common].sum()
    assert stats.chisquare(observed[common], wanted).pvalue > 1e-4
    assert sum(counts) / len(counts) == pytest.approx(24, abs=0.6)


def test_the_preset_is_no_more_than_a_drawn_count(make_batch):
    images, labels = make_batch()
    features = drawn(5, 2, 4, 4)
    a = openmix.build_mixer("attentivemix", preset="openmixup")(images, labels, generator=seeded(1), features=features)
    b = attentivemix(images, labels, generator=seeded(1), features=features, top_k=None)
    assert torch.equal(a.images, b.images)


@pytest.mark.parametrize("value", [0.0, 1e30, -3.0])
def test_a_flat_map_gives_the_first_cells(make_batch, value):
    images, labels = make_batch(3, 3, 14, 14)
    mixed = attentivemix(images, labels, features=torch.full((3, 2, 7, 7), value), generator=seeded(0))
    wanted = torch.zeros(7, 7)
    wanted.view(-1)[:6] = 1
    assert torch.equal(mixed.mask[:, 0, ::2, ::2], wanted.expand(3, 7, 7))


def test_channels_are_averaged_in_float32(make_batch):
    images, labels = make_batch(2, 3, 16, 16)
    features = (drawn(2, 512, 4, 4) + 30).bfloat16()  # of which the means are one number, to eight bits
    a = attentivemix(images, labels, features=features, generator=seeded(0))
    b = attentivemix(images, labels, features=features.float(), generator=seeded(0))
    assert torch.equal(a.masks, b.masks)


@pytest.mark.parametrize(
    ("hyper", "features", "named"),
    [
        ({"top_k": 0}, (5, 2, 4, 4), "top_k"),
        ({"top_k": 17}, (5, 2, 4, 4), "top_k must be at most the 16 places"),
        ({"alpha": -1}, (5, 2, 4, 4), "alpha"),
        ({}, (4, 2, 4, 4), r"features must be floating point \(5, C, h, w\)"),
        ({}, (5, 16, 4), r"features must be floating point \(5, C, h, w\)"),
    ],
)
def test_wrong_values_are_named(make_batch, hyper, features, named):
    images, labels = make_batch()
    with pytest.raises(ValueError, match=named):
        attentivemix(images, labels, features=torch.rand(features), **hyper)


@pytest.mark.parametrize("key", ["grid_size", "beta"])
def test_openmixups_dead_arguments_are_explained(key):
    with pytest.raises(ValueError, match=f"{key}.*leave it out"):
        openmix.build_mixer("attentivemix", **{key: 8})
