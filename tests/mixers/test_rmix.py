"""R-Mix against its description: a loop over images, patches and pixels, with torch's own quantile."""

import math

import pytest
import torch
from torch import Tensor

import openmix
from openmix.mixers.rmix import plan_rmix, rmix, tau_grid


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_maps(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=seeded(seed)) ** 3


def naive_top(saliency: Tensor, tau: float, grid: int) -> list[list[bool]]:
    """One image's top patches: pool, divide by the sum, compare with the interpolated quantile."""
    side = saliency.shape[0] // grid, saliency.shape[1] // grid
    pooled = torch.zeros(grid, grid)
    for i in range(grid):
        for j in range(grid):
            pooled[i, j] = saliency[i * side[0] : (i + 1) * side[0], j * side[1] : (j + 1) * side[1]].mean()
    pooled /= pooled.sum()
    return (pooled >= torch.quantile(pooled.flatten(), tau)).tolist()


def naive_mix(images: Tensor, labels: Tensor, saliency, tau, lam: list[float], partner: list[int], grid: int):
    """Mixed images, and soft labels over as many classes as there are images."""
    batch, channels, height, width = images.shape
    tops = [naive_top(saliency[b], tau[b], grid) for b in range(batch)]
    mixed, soft = torch.zeros_like(images), torch.zeros(batch, batch)
    for b in range(batch):
        p = partner[b]
        for y in range(height):
            for x in range(width):
                own = tops[b][y * grid // height][x * grid // width]
                other = tops[p][y * grid // height][x * grid // width]
                share = lam[b] if own == other else float(own)
                for c in range(channels):
                    mixed[b, c, y, x] = share * images[b, c, y, x] + (1 - share) * images[p, c, y, x]
                soft[b, labels[b]] += share / (height * width)
                soft[b, labels[p]] += (1 - share) / (height * width)
    return mixed, soft


@pytest.mark.parametrize("grid", [1, 2, 4])
@pytest.mark.parametrize("shape", [(5, 3, 16, 16), (4, 1, 8, 20), (1, 2, 12, 8)], ids=str)
def test_plan_equals_the_loops(make_batch, shape, grid):
    images, _ = make_batch(*shape)
    labels = torch.arange(shape[0]).flip(0)
    saliency = random_maps(shape[0], *shape[2:])
    tau = tau_grid()[torch.tensor([0, 3, 9, 5, 1])[: shape[0]]]
    lam = torch.linspace(0.2, 0.9, shape[0])
    partner = torch.tensor([2, 0, 3, 1, 4])[: shape[0]] if shape[0] > 1 else torch.tensor([0])
    plan = plan_rmix(saliency, tau, lam, partner, grid, shape[2:])
    mixed, soft = naive_mix(images, labels, saliency, tau.tolist(), lam.tolist(), partner.tolist(), grid)
    torch.testing.assert_close(plan.apply(images), mixed, rtol=0, atol=1e-6)
    told = openmix.MixTarget(labels[plan.sources], plan.weights).soft(shape[0])
    torch.testing.assert_close(told, soft, rtol=0, atol=1e-5)


def read_back(mixed, grid: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which patches of a mix show the image alone, its partner alone, and a blend: bool (B, grid, grid) each."""
    step = [side // grid for side in mixed.images.shape[2:]]
    share = mixed.mask[:, 0, :: step[0], :: step[1]]
    return share == 1, share == 0, (share > 0) & (share < 1)


@pytest.mark.parametrize(("grid", "sd"), [(2, 0.24), (4, 0.26)])
def test_areas_and_labels_have_the_distribution_of_the_authors_code(grid, sd):
    """Half of the area is a blend, a quarter each image alone; the own label weighs .5, with the measured spread."""
    n = 3000
    mixed = rmix(
        torch.rand(n, 1, 8, 8, generator=seeded()),
        torch.zeros(n, dtype=torch.int64),
        saliency=random_maps(n, 8, 8),
        generator=seeded(4),
        patches=[grid],
        per_sample=True,  # lam of one batch would not show how it spreads
    )
    own, other, blend = (part.float().mean() for part in read_back(mixed, grid))
    assert blend == pytest.approx(0.5, abs=0.02)
    assert own == pytest.approx(0.25, abs=0.02) and other == pytest.approx(0.25, abs=0.02)
    weight = mixed.target.weights[:, 0]
    assert weight.mean() == pytest.approx(0.5, abs=0.015)
    assert weight.std() == pytest.approx(sd, abs=0.015)


@pytest.mark.parametrize(
    ("grid", "kept"), [(2, [4, 3, 3, 3, 2, 2, 2, 1, 1, 1]), (4, [16, 14, 12, 11, 9, 7, 6, 4, 2, 1])]
)
def test_each_tau_keeps_as_many_patches_as_the_authors_code(grid, kept):
    """Paired with an image that keeps one patch, what a patch shows tells whether it is a top one."""
    saliency = random_maps(20, 8, 8)
    saliency[10:] = 0
    saliency[10:, 0, 0] = 1
    tau = torch.cat([tau_grid(), torch.full((10,), 0.99)])
    plan = plan_rmix(saliency, tau, torch.tensor([0.5]), torch.arange(20).roll(10), grid, (grid, grid))
    share = plan.lam[:10, 0].flatten(1)
    single = torch.zeros(grid * grid, dtype=torch.bool)
    single[0] = True
    top = torch.where(single, share == 0.5, share == 1)
    assert top.sum(1).tolist() == kept


def test_one_number_of_patches_and_one_lam_a_batch_but_a_tau_an_image(make_batch):
    images, labels = make_batch(64, 1, 16, 16)
    grids, taus = set(), set()
    for seed in range(20):
        mixed = rmix(images, labels, saliency=random_maps(64, 16, 16), generator=seeded(seed))
        inner = mixed.mask[(mixed.mask > 0) & (mixed.mask < 1)].unique()
        assert len(inner) == 1, "one lam a batch"
        coarse = torch.nn.functional.avg_pool2d(mixed.mask, 8)
        grids.add(bool((coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) - mixed.mask).abs().max() < 1e-6))
        taus.add(len(mixed.target.weights[:, 0].unique()))
    assert grids == {True, False}, "2 patches a side in some batches, 4 in others"
    assert max(taus) > 5
    many = rmix(images, labels, saliency=random_maps(64, 16, 16), generator=seeded(), per_sample=True)
    assert len(many.mask[(many.mask > 0) & (many.mask < 1)].unique()) > 40


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_lam_is_betas(alpha):
    images, labels = torch.rand(2000, 1, 2, 2), torch.zeros(2000, dtype=torch.int64)
    # flat maps agree everywhere, so that every patch is a blend
    flat = torch.ones(2000, 2, 2)
    mixed = rmix(images, labels, saliency=flat, generator=seeded(), alpha=alpha, patches=[2], per_sample=True)
    lam = mixed.target.weights[:, 0]
    assert lam.mean() == pytest.approx(0.5, abs=0.03)
    assert lam.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.01)


@pytest.mark.parametrize("value", [0.0, 1e-45, 3e30])
def test_a_map_that_tells_nothing_makes_mixup(make_batch, value):
    images, labels = make_batch(6, 3, 8, 8)
    mixed = rmix(images, labels, saliency=torch.full((6, 8, 8), value), generator=seeded())
    lam = mixed.target.weights[0, 0].item()
    assert 0 < lam < 1
    torch.testing.assert_close(mixed.images, lam * images + (1 - lam) * images[mixed.partner])


@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_scale_of_the_map_does_not_matter(make_batch, factor):
    images, labels = make_batch(6, 3, 8, 8)
    saliency = random_maps(6, 8, 8) + 0.01
    one, other = (rmix(images, labels, saliency=s, generator=seeded()) for s in (saliency, saliency * factor))
    assert torch.equal(one.images, other.images)


def test_maps_of_another_resolution_and_sides_that_patches_do_not_divide(make_batch):
    images, labels = make_batch(5, 3, 33, 47)
    fine = random_maps(5, 4, 4).repeat_interleave(6, 1).repeat_interleave(10, 2)
    for saliency in (fine, fine[:, ::6, ::10], fine.bfloat16()):
        mixed = rmix(images, labels, saliency=saliency, generator=seeded(), patches=[4])
        assert mixed.images.shape == images.shape
        torch.testing.assert_close(mixed.target.weights[:, 0], mixed.mask.mean((1, 2, 3)))
    rows = torch.tensor([math.floor(4 * y / 33) for y in range(33)])
    changes = (mixed.mask[:, 0, 1:] != mixed.mask[:, 0, :-1]).any(0).any(1)
    assert set(changes.nonzero().flatten().tolist()) <= set((rows.diff() != 0).nonzero().flatten().tolist())


def test_imagenets_preset_pairs_from_both_ends_and_draws_lam_near_0_and_1(make_batch):
    images, labels = make_batch(5, 1, 8, 8)
    mixer = openmix.RMix(preset="imagenet")
    extreme = 0
    for seed in range(200):
        mixed = mixer(images, labels, saliency=torch.ones(5, 8, 8), generator=seeded(seed))
        assert mixed.partner.tolist() == [4, 3, 2, 1, 0]
        extreme += not 0.1 < mixed.target.weights[0, 0] < 0.9
    # of Beta(0.2, 0.2), 70 % lie there; of Beta(1, 1), 20 %
    assert 120 < extreme < 160


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": 0}, "alpha"),
        ({"patches": 4}, "patches"),
        ({"patches": []}, "patches"),
        ({"patches": [0]}, "patches"),
        ({"patches": [2, 9]}, "9 patches a side"),
        ({"num_taus": 0}, "num_taus"),
        ({"pairing": "roll"}, "pairing"),
        ({"per_sample": 1}, "per_sample"),
        ({"saliency": torch.ones(4, 8, 8)}, "saliency"),
        ({"saliency": torch.ones(5, 1, 8, 8)}, "saliency"),
        ({"saliency": torch.ones(5, 8, 8, dtype=torch.int64)}, "saliency"),
    ],
    ids=str,
)
def test_wrong_values_are_named(make_batch, wrong, message):
    images, labels = make_batch(5, 3, 8, 8)
    with pytest.raises(ValueError, match=message):
        rmix(images, labels, **{"saliency": torch.ones(5, 8, 8), **wrong})


def test_nothing_is_read_on_the_way(make_batch):
    images, labels = make_batch(5, 3, 8, 8)
    mixed = rmix(images.to("meta"), labels.to("meta"), saliency=torch.ones(5, 8, 8, device="meta"), generator=seeded())
    assert mixed.images.device.type == mixed.target.weights.device.type == "meta"
