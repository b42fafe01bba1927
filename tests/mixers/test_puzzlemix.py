"""Puzzle Mix from its saliency to its images: every labeling and every transport of small grids are tried."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import openmix
from openmix.mixers import puzzlemix
from openmix.ops.grid_solver import minimise
from openmix.ops.move_plans import MovePlan
from openmix.ops.puzzle import puzzle_energy, saliency_shares


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(batch: int = 6, height: int = 32, width: int = 32, power: float = 3, seed: int = 5) -> tuple[Tensor, ...]:
    g = seeded(seed)
    images = torch.rand(batch, 3, height, width, generator=g)
    return images, torch.arange(batch), torch.rand(batch, height, width, generator=g).pow(power)


def grid_of(mixed: openmix.Mixed) -> int:
    """Blocks a side of a mix without transport, read off its masks: the fewest that leave every block constant."""
    assert mixed.mask is not None
    masks = mixed.mask[:, 0]
    height, width = masks.shape[1:]
    for n in (1, 2, 4, 8, 16):
        blocks = masks.view(-1, n, height // n, n, width // n)
        if bool((blocks.amax((2, 4)) == blocks.amin((2, 4))).all()):
            return n
    raise AssertionError("no grid")


def partner_of(seed: int) -> list[int]:
    """What a pair of images draws."""
    images, labels, saliency = batch_of(batch=2)
    return puzzlemix(images, labels, saliency=saliency, generator=seeded(seed)).partner.tolist()


# The mask


@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_masks_are_the_best_of_all_labelings(n_labels):
    images, labels, saliency = batch_of(power=6)
    for seed in range(3):
        common: dict[str, Any] = {"n_labels": n_labels, "beta": 1.2, "gamma": 0.5, "eta": 0.0, "neigh": 4}
        mixed = puzzlemix(
            images, labels, saliency=saliency, generator=seeded(seed), block_nums=(2,), transport=False, **common
        )
        lam, shares = torch.tensor([[[0.5]]]), saliency_shares(saliency, 2, 2)
        energy = puzzle_energy(shares, images, mixed.partner, lam, **common)
        every = torch.tensor(list(itertools.product(range(n_labels), repeat=4))).view(-1, 2, 2)
        energies = torch.stack([energy.of(z.expand(6, 2, 2)) for z in every])
        assert mixed.mask is not None
        found = (mixed.mask[:, 0, ::16, ::16] * (n_labels - 1)).round().long()
        torch.testing.assert_close(energy.of(found), energies.amin(0), rtol=0, atol=1e-6)


def test_each_image_is_shown_where_it_is_salient():
    images, labels, saliency = batch_of(batch=2)
    saliency = torch.full_like(saliency, 1e-3)
    saliency[0, :16] = saliency[1, 16:] = 1.0
    seed = next(s for s in range(20) if partner_of(s) == [1, 0])
    mixed = puzzlemix(images, labels, saliency=saliency, generator=seeded(seed), transport=False, eta=0.0)
    assert mixed.mask is not None
    assert mixed.mask[0, 0, :16].eq(1).all() and mixed.mask[0, 0, 16:].eq(0).all()
    assert torch.equal(mixed.mask[1], 1 - mixed.mask[0])


def test_the_prior_draws_the_share_to_lam():
    """With a heavy prior the share is the label nearest to what was drawn, of one draw a batch or one an image."""
    images, labels, saliency = batch_of(batch=32)
    one = puzzlemix(images, labels, saliency=saliency, generator=seeded(), transport=False, eta=1e4)
    each = puzzlemix(images, labels, saliency=saliency, generator=seeded(), transport=False, eta=1e4, per_sample=True)
    assert len(one.target.weights[:, 0].unique()) == 1
    assert each.target.weights[:, 0].unique().tolist() == [0.0, 0.5, 1.0]
    counts = {0.0: 0, 0.5: 0, 1.0: 0}
    for share in each.target.weights[:, 0].tolist():
        counts[share] += 1
    # lam^2, 2 lam (1 - lam) and (1 - lam)^2 cross at 1/3 and 2/3, and lam is uniform
    assert min(counts.values()) >= 4
    small = [
        puzzlemix(images, labels, saliency=saliency, generator=seeded(s), alpha=0.05, eta=1e4).target.weights[0, 0]
        for s in range(20)
    ]
    assert sum(float(w) in (0.0, 1.0) for w in small) >= 16


def test_the_grid_is_drawn_of_those_that_divide_the_image():
    images, labels, saliency = batch_of(batch=16, power=20)
    common: dict[str, Any] = {"saliency": saliency, "transport": False, "beta": 0.0, "eta": 0.0}
    grids = [grid_of(puzzlemix(images, labels, generator=seeded(s), **common)) for s in range(60)]
    assert {n: grids.count(n) >= 6 for n in (2, 4, 8, 16)} == dict.fromkeys((2, 4, 8, 16), True)
    images, labels, saliency = batch_of(batch=16, height=24, width=40, power=20)
    common["saliency"] = saliency
    assert {grid_of(puzzlemix(images, labels, generator=seeded(s), **common)) for s in range(30)} == {2, 4, 8}


# Transport


@pytest.mark.parametrize("t_eps", [0.2, 0.05])
def test_images_are_those_of_the_best_transport(t_eps):
    """Grids of 2 x 2 whole blocks, whose transports can all be tried."""
    images, labels, _ = batch_of()
    saliency = torch.rand(6, 2, 2, generator=seeded(8)).pow(4)
    moved = 0
    for seed in range(8):
        common: dict[str, Any] = {"saliency": saliency, "block_nums": (2,)}
        still = puzzlemix(images, labels, generator=seeded(seed), transport=False, **common)
        mixed = puzzlemix(images, labels, generator=seeded(seed), t_size=None, t_eps=t_eps, **common)
        assert torch.equal(mixed.sources, still.sources) and torch.equal(mixed.target.weights, still.target.weights)
        assert mixed.masks is None and still.mask is not None
        shares = saliency_shares(saliency, 2, 2)
        z = still.mask[:, 0, ::16, ::16]
        for b, partner in enumerate(mixed.partner.tolist()):
            wanted = torch.zeros(3, 32, 32)
            for image, share in ((b, z[b]), (partner, 1 - z[b])):
                source = best_transport(shares[image].flatten().tolist(), (share > 0).flatten().tolist(), t_eps)
                moved += source != [0, 1, 2, 3]
                for place, (i, j) in enumerate(itertools.product((0, 16), (0, 16))):
                    k, m = (16 * t for t in divmod(source[place], 2))
                    block = images[image, :, k : k + 16, m : m + 16]
                    wanted[:, i : i + 16, j : j + 16] += share.flatten()[place] * block
            torch.testing.assert_close(mixed.images[b], wanted, rtol=0, atol=1e-6)
    assert moved > 3


def best_transport(saliency: list[float], shown: list[bool], t_eps: float) -> list[int]:
    def total(source: tuple[int, ...]) -> float:
        places = [j for j in range(4) if shown[j]]
        ways = {j: (j // 2 - source[j] // 2) ** 2 + (j % 2 - source[j] % 2) ** 2 for j in places}
        stays = sum(source[j] == j for j in range(4))  # where nothing is shown, nothing moves
        return sum(saliency[source[j]] - t_eps * ways[j] for j in places) + 1e-9 * stays

    return list(max(itertools.permutations(range(4)), key=total))


def test_what_is_salient_and_hidden_is_moved_to_where_it_is_seen():
    """All saliency of the first image is in a corner that shows the second: it comes into the half that shows it."""
    images, labels, saliency = batch_of(batch=2)
    saliency = torch.ones(2, 32, 32)
    saliency[0, :16] = 2.0
    saliency[0, 30:, 30:] = 100.0
    saliency[1, 16:] = 3.0
    seen = set()
    for seed in range(10):
        mixed = puzzlemix(
            images, labels, saliency=saliency, generator=seeded(seed), block_nums=(2,), t_size=4, t_eps=0.1
        )
        plan = mixed.plan
        assert isinstance(plan, MovePlan)
        if mixed.partner.tolist() == [1, 0] and plan.lam[0, 0, 7, 7] == 0 and plan.lam[0].any():
            shown = (plan.lam[0, 0] > 0).flatten()
            seen.add(63 in plan.own[0][shown].tolist())
    assert seen == {True}


@pytest.mark.parametrize(
    ("size", "preset", "grids"),
    [
        ((32, 32), None, {2: 8, 4: 8, 8: 8, 16: 16}),
        ((224, 224), None, {2: 16, 4: 16, 8: 16, 16: 16}),
        ((224, 224), "imagenet", {2: 2, 4: 4, 8: 8, 16: 16}),
        ((64, 96), None, {2: 16, 4: 16, 8: 16, 16: 16}),
        ((32, 32), "openmixup", {2: 2, 4: 4, 8: 8}),
    ],
    ids=str,
)
def test_blocks_are_divided_for_transport(size, preset, grids):
    images, labels, saliency = batch_of(2, *size)
    for n, parts in grids.items():
        mixer = openmix.build_mixer("puzzlemix", preset=preset, block_nums=(n,))
        plan = mixer(images, labels, saliency=saliency, generator=seeded()).plan
        assert isinstance(plan, MovePlan) and plan.lam.shape == (2, 1, parts, parts)
        blocks = plan.lam.view(2, n, parts // n, n, parts // n)
        assert torch.equal(blocks.amax((2, 4)), blocks.amin((2, 4))), "a block has one share"


def test_another_tensor_moves_with_the_images():
    images, labels, saliency = batch_of(power=20)
    mixed = puzzlemix(images, labels, saliency=saliency, generator=seeded(1), block_nums=(8,))
    depth = torch.rand(6, 1, 32, 32, generator=seeded(9))
    both = mixed.apply(torch.cat([images, depth], dim=1))
    assert torch.equal(both[:, :3], mixed.images)
    assert torch.equal(both[:, 3:], mixed.apply(depth))
    plan = mixed.plan
    assert isinstance(plan, MovePlan) and not torch.equal(plan.own, torch.arange(64).expand(6, 64)), "something moved"
    with pytest.raises(TypeError, match="cannot blend"):
        mixed.apply(torch.zeros(6, 1, 32, 32, dtype=torch.int64))


# Labels, numbers, types


@pytest.mark.parametrize("hyper", [{}, {"transport": False}, {"n_labels": 4}, {"per_sample": True}], ids=str)
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (33, 47), (16, 18)], ids=str)
def test_labels_weigh_what_is_visible(hyper, size):
    """Images are constants 1000^b: the mean of the mix says how much of which is seen."""
    images, labels, saliency = batch_of(4, *size)
    images = (1000.0 ** torch.arange(4, dtype=torch.float64))[:, None, None, None].expand(4, 3, *size).contiguous()
    for seed in range(5):
        mixed = puzzlemix(images, labels, saliency=saliency, generator=seeded(seed), **hyper)
        for b in range(4):
            seen = sum(float(mixed.target.weights[b, k]) * 1000.0 ** int(mixed.sources[b, k]) for k in range(2))
            assert float(mixed.images[b].mean()) == pytest.approx(seen, rel=1e-5)


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_no_saliency_is_uniform_saliency(n):
    images, labels, saliency = batch_of()
    none = puzzlemix(images, labels, saliency=torch.zeros_like(saliency), generator=seeded(2), block_nums=(n,))
    flat = puzzlemix(images, labels, saliency=torch.full_like(saliency, 7.0), generator=seeded(2), block_nums=(n,))
    assert bool(none.images.isfinite().all())
    torch.testing.assert_close(none.target.weights, flat.target.weights)
    plan = none.plan
    assert isinstance(plan, MovePlan) and torch.equal(plan.own, torch.arange(plan.own.shape[1]).expand_as(plan.own))


def test_saliency_of_any_scale_and_coarser_than_the_image():
    images, labels, saliency = batch_of(power=6)
    whole = puzzlemix(images, labels, saliency=saliency, generator=seeded(3), block_nums=(4,))
    scaled = puzzlemix(images, labels, saliency=1e-12 * saliency, generator=seeded(3), block_nums=(4,))
    coarse = torch.nn.functional.avg_pool2d(saliency, 4)
    small = puzzlemix(images, labels, saliency=coarse, generator=seeded(3), block_nums=(4,))
    for other in (scaled, small):
        torch.testing.assert_close(other.images, whole.images, rtol=0, atol=1e-6)


def test_the_pixel_range_says_what_contrasts_are():
    images, labels, saliency = batch_of(power=6)
    pixel_range = torch.tensor([[-10.0] * 3, [10.0] * 3])
    plain = puzzlemix(images, labels, saliency=saliency, generator=seeded(4), transport=False)
    scaled = puzzlemix(
        images * 20 - 10, labels, saliency=saliency, generator=seeded(4), transport=False, pixel_range=pixel_range
    )
    assert plain.mask is not None and scaled.mask is not None
    assert torch.equal(plain.mask, scaled.mask)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(dtype):
    images, labels, saliency = batch_of()
    images = images.to(dtype)
    mixed = puzzlemix(images, labels, saliency=saliency.to(dtype), generator=seeded())
    wide = puzzlemix(images.float(), labels, saliency=saliency.to(dtype).float(), generator=seeded())
    assert mixed.images.dtype == dtype and mixed.target.weights.dtype == torch.float32
    torch.testing.assert_close(mixed.images.float(), wide.images, rtol=0, atol=4e-3)


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_autocast_changes_nothing(n):
    images, labels, saliency = batch_of()
    plain = puzzlemix(images, labels, saliency=saliency, generator=seeded(), block_nums=(n,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = puzzlemix(images, labels, saliency=saliency, generator=seeded(), block_nums=(n,))
    assert torch.equal(plain.images, within.images)


def test_gradients_flow_to_the_images_alone():
    images, labels, saliency = batch_of()
    images.requires_grad_()
    saliency.requires_grad_()
    puzzlemix(images, labels, saliency=saliency, generator=seeded()).images.sum().backward()
    assert images.grad is not None and float(images.grad.sum()) == pytest.approx(images.numel(), rel=1e-5)
    assert saliency.grad is None


def test_masks_are_solved_for_the_whole_batch_at_once():
    """The solver's labels are the masks: no other step stands between."""
    images, labels, saliency = batch_of()
    common: dict[str, Any] = {"n_labels": 3, "beta": 1.2, "gamma": 0.5, "eta": 0.0, "neigh": 4}
    mixed = puzzlemix(images, labels, saliency=saliency, generator=seeded(), block_nums=(8,), transport=False, **common)
    lam, shares = torch.tensor([[[0.5]]]), saliency_shares(saliency, 8, 8)
    energy = puzzle_energy(shares, images, mixed.partner, lam, **common)
    assert mixed.mask is not None
    found = (mixed.mask[:, 0, ::4, ::4] * 2).long()
    torch.testing.assert_close(energy.of(found), minimise(energy).energy)


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"alpha": 0.0}, "alpha must be"),
        ({"block_nums": 4}, "block_nums must be a list"),
        ({"block_nums": ()}, "block_nums must be a list"),
        ({"block_nums": (1, 2)}, "block_nums must be an integer of at least 2"),
        ({"block_nums": (64,)}, "images of 32 x 32 pixels"),
        ({"n_labels": 5}, "n_labels must be 2, 3 or 4"),
        ({"n_labels": 1}, "n_labels must be"),
        ({"beta": -1.0}, "beta must be at least 0"),
        ({"gamma": 1.0}, "gamma must be below 1"),
        ({"eta": float("nan")}, "eta must be"),
        ({"neigh": 0}, "neigh must be"),
        ({"t_size": 0}, "t_size must be"),
        ({"t_size": -1}, "None for whole blocks"),
        ({"noise": True}, "adversarial noise is left out"),
        ({"clean_lam": 1.0}, "clean_weight"),
        ({"t_eps": 0.0}, "t_eps must be"),
        ({"block_num": 5}, "write block_nums"),
        ({"mp": 8}, "leave it out"),
    ],
    ids=str,
)
def test_wrong_values_are_named_where_they_are_written(hyper, message):
    with pytest.raises(ValueError, match=message):
        openmix.build_mixer("puzzlemix", **hyper)


def test_wrong_saliency_is_named():
    images, labels, saliency = batch_of()
    for wrong in (saliency[:3], saliency[:, None], saliency.long()):
        with pytest.raises(ValueError, match=r"saliency must be floating point \(6, h, w\)"):
            puzzlemix(images, labels, saliency=wrong)
