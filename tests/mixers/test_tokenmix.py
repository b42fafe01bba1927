"""TokenMix against its rules (Liu et al., 2022): blocks as BEiT draws them, every pixel, and attention by hand."""

import math
import random
from collections import Counter

import pytest
import torch
from scipy import stats
from torch import Tensor

import openmix
from openmix.mixers.tokenmix import draw_blocks, tokenmix


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def attention_of(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, height, width, generator=seeded(3)).pow(4)


def blocks_by_the_rule(height: int, width: int, count: int, rng: random.Random) -> list[list[int]]:
    """Ten attempts for each block: area uniform in [1, missing], aspect log-uniform in [0.3, 1 / 0.3]."""
    mask = [[0] * width for _ in range(height)]
    total = 0
    while total < count:
        added = 0
        for _ in range(10):
            area = rng.uniform(1, count - total)
            aspect = math.exp(rng.uniform(math.log(0.3), -math.log(0.3)))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if not (w < width and h < height):
                continue
            top, left = rng.randint(0, height - h), rng.randint(0, width - w)
            new = [(i, j) for i in range(top, top + h) for j in range(left, left + w) if not mask[i][j]]
            if 0 < len(new) <= count - total:
                for i, j in new:
                    mask[i][j] = 1
                added = len(new)
                break
        if not added:
            break
        total += added
    return mask


@pytest.mark.parametrize(("grid", "count"), [((14, 14), 112), ((6, 9), 20), ((5, 4), 7)])
def test_blocks_are_drawn_as_by_the_rule(grid, count):
    """Two samples of one law: how many patches, how often each is taken, and how many edges there are."""
    n = 1500
    rng, generator = random.Random(1), seeded(1)
    ours = torch.stack([draw_blocks(grid, count, generator) for _ in range(n)]).long()
    theirs = torch.tensor([blocks_by_the_rule(*grid, count, rng) for _ in range(n)])
    assert int(ours.sum((1, 2)).max()) <= count

    def edges(masks: Tensor) -> Tensor:
        return masks.diff(dim=1).abs().sum((1, 2)) + masks.diff(dim=2).abs().sum((1, 2))

    for measure in (lambda m: m.sum((1, 2)), edges):
        assert stats.ks_2samp(measure(ours).numpy(), measure(theirs).numpy()).pvalue > 1e-3
    difference = ours.float().mean(0) - theirs.float().mean(0)
    assert float(difference.abs().max()) < 4.5 * (2 * 0.25 / n) ** 0.5
    corner, middle = ours[:, 0, 0].float().mean(), ours[:, grid[0] // 2, grid[1] // 2].float().mean()
    assert float(corner) < float(middle), "blocks lie within the grid, so corners are taken less"


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (2, 2), (3, 3)])
def test_drawing_ends_where_no_block_fits(grid):
    for seed in range(20):
        taken = draw_blocks(grid, grid[0] * grid[1], seeded(seed))
        assert tuple(taken.shape) == grid and (min(grid) > 1 or not taken.any())


CASES = [((5, 3, 32, 48), (8, 12)), ((4, 1, 33, 47), (5, 7)), ((1, 3, 14, 14), (14, 14))]


@pytest.mark.parametrize("mask_type", ["block", "random"])
@pytest.mark.parametrize(("shape", "grid"), CASES)
def test_every_pixel_and_every_weight(make_batch, shape, grid, mask_type):
    images, labels = make_batch(*shape)
    attention = attention_of(shape[0], *grid)
    for seed in range(5):
        mixed = tokenmix(
            images, labels, attention=attention, generator=seeded(seed), mask_type=mask_type, minimum_tokens=3
        )
        partner = mixed.partner.tolist()
        assert sorted(partner) == list(range(shape[0]))
        own = mixed.mask[0, 0]
        assert bool((mixed.mask == own).all()), "one mask for the batch"
        assert 0 < int((own == 0).sum()) < own.numel()
        patches = {}
        for y in range(shape[2]):
            for x in range(shape[3]):
                place = (y * grid[0] // shape[2], x * grid[1] // shape[3])
                assert patches.setdefault(place, float(own[y, x])) == float(own[y, x]), "whole patches"
                for b in range(shape[0]):
                    source = b if own[y, x] else partner[b]
                    assert torch.equal(mixed.images[b, :, y, x], images[source, :, y, x])
        if mask_type == "random":
            assert sum(1 - v for v in patches.values()) == grid[0] * grid[1] // 2 + 3
        for b in range(shape[0]):
            kept = sum(float(attention[b][p]) for p, v in patches.items() if v)
            pasted = sum(float(attention[partner[b]][p]) for p, v in patches.items() if not v)
            wanted = [kept / float(attention[b].sum()), pasted / float(attention[partner[b]].sum())]
            assert mixed.target.weights[b].tolist() == pytest.approx(wanted, abs=2e-6)
        assert torch.equal(mixed.target.labels, labels[mixed.sources])


@pytest.mark.parametrize("alpha", [None, 1.0, 0.4])
def test_how_many_are_pasted(alpha):
    """int((1 - lam) * 20) + 2, at most 20: lam is 0.5, or Beta's."""
    images, labels, attention = torch.zeros(1, 1, 4, 5), torch.zeros(1, dtype=torch.int64), torch.ones(1, 4, 5)
    generator, counts = seeded(4), Counter()
    for _ in range(1500):
        mixed = tokenmix(
            images,
            labels,
            attention=attention,
            generator=generator,
            alpha=alpha,
            mask_type="random",
            minimum_tokens=2,
        )
        counts[20 - int(mixed.mask.sum())] += 1
    if alpha is None:
        assert counts == {12: 1500}
        return
    cdf = stats.beta.cdf
    wanted = [cdf((k + 1) / 20, alpha, alpha) - cdf(k / 20, alpha, alpha) for k in range(20)]
    wanted = [*wanted[:18], sum(wanted[18:])]
    assert stats.chisquare([counts[k + 2] for k in range(19)], [w * 1500 for w in wanted]).pvalue > 1e-4


def test_the_port_swaps_what_labels_weigh(make_batch):
    images, labels = make_batch(5, 3, 32, 32)
    attention = attention_of(5, 8, 8)
    given = {"attention": attention, "generator": seeded(5)}
    port = openmix.build_mixer("tokenmix", preset="openmixup")(images, labels, **given)
    right = tokenmix(images, labels, attention=attention, generator=seeded(5), alpha=1.0)
    assert torch.equal(port.images, right.images)
    pasted = 1 - port.mask[:, 0, ::4, ::4]
    mass = attention / attention.sum((1, 2), keepdim=True)
    torch.testing.assert_close(port.target.weights[:, 0], (mass * pasted).sum((1, 2)))
    torch.testing.assert_close(port.target.weights[:, 1], (mass[port.partner] * (1 - pasted)).sum((1, 2)))
    torch.testing.assert_close(right.target.weights[:, 0] + port.target.weights[:, 0], torch.ones(5))


@pytest.mark.parametrize("scale", [0.0, 1e-38, 1e-45, 1e38])
def test_maps_of_any_scale_and_of_zeros(make_batch, scale):
    images, labels = make_batch(5, 3, 32, 32)
    attention = torch.full((5, 8, 8), scale)
    mixed = tokenmix(images, labels, attention=attention, generator=seeded(6), minimum_tokens=0)
    torch.testing.assert_close(mixed.target.weights, mixed.masks.mean((2, 3)))


@pytest.mark.parametrize(
    ("key", "value"),
    [("alpha", 0), ("mask_type", "blocks"), ("minimum_tokens", -1), ("minimum_tokens", 1.5), ("swapped", 1)],
)
def test_values_out_of_range_are_named(make_batch, key, value):
    with pytest.raises(ValueError, match=key):
        tokenmix(*make_batch(), attention=attention_of(5, 4, 4), **{key: value})


@pytest.mark.parametrize(
    "attention", [torch.rand(4, 4, 4), torch.rand(5, 1, 4, 4), torch.ones(5, 4, 4).long(), torch.rand(5, 0, 4), None]
)
def test_a_map_that_does_not_fit_is_named(make_batch, attention):
    for name in ("tokenmix", "smmix"):
        with pytest.raises(ValueError, match="attention must"):
            openmix.build_mixer(name)(*make_batch(), attention=attention)
