"""AugMix against its authors' procedure on Pillow images, and what it draws against the laws that it draws from."""

import itertools
import math

import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from openmix.mixers.augmix import OPS, OVERLAPPING_OPS, augmix, plan_augmix
from openmix.ops.augment import OPERATIONS

ALL = OPS + OVERLAPPING_OPS
DEFAULTS = {"width": 3, "depth": -1, "severity": 3, "alpha": 1.0, "all_ops": False, "per_sample": True}
BILINEAR = Image.Resampling.BILINEAR


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(n, height=32, width=48, channels=3) -> torch.Tensor:
    """Smooth uint8 images, on which a fraction of a pixel makes little difference."""
    coarse = torch.rand(n, channels, 5, 5, generator=seeded(3))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round().to(torch.uint8)


def draws(n, size=(8, 8), seed=0, **hyper):
    """The plan for n images, its chain unfolded: names (S, width, n) as codes, magnitudes (S, width, n)."""
    plan = plan_augmix(n, size, generator=seeded(seed), pixel_range=None, **{**DEFAULTS, **hyper})
    chains = len(plan.chain_shares)
    return plan, plan.chain.operation.unflatten(1, (chains, n)), plan.chain.magnitude.unflatten(1, (chains, n))


def by_authors(image, name, m):
    """One operation of the authors' code, on a Pillow image, its strength already drawn."""
    affine = {
        "shear_x": (1, m, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, m, 1, 0),
        "translate_x": (1, 0, -m, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, -m),
    }
    enhancers = {
        "color": ImageEnhance.Color,
        "contrast": ImageEnhance.Contrast,
        "brightness": ImageEnhance.Brightness,
        "sharpness": ImageEnhance.Sharpness,
    }
    if name in affine:
        return image.transform(image.size, Image.Transform.AFFINE, affine[name], resample=BILINEAR)
    if name in enhancers:
        return enhancers[name](image).enhance(m)
    return {
        "identity": lambda: image,
        "rotate": lambda: image.rotate(m, resample=BILINEAR),
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "posterize": lambda: ImageOps.posterize(image, round(m)),
        "solarize": lambda: ImageOps.solarize(image, round(m)),
    }[name]()


def authors_mix(image, plan, b, n):
    """The authors' loop for image ``b`` of ``n``, with what the plan drew; (C, H, W) in [0, 1]."""
    mixture = torch.zeros(image.shape)
    for chain, share in enumerate(plan.chain_shares[:, b].tolist()):
        altered = to_pil_image(image)
        for step in range(len(plan.chain.operation)):
            code, m = plan.chain.operation[step, chain * n + b], plan.chain.magnitude[step, chain * n + b].item()
            altered = by_authors(altered, OPERATIONS[code], m)
        mixture += share * pil_to_tensor(altered).float() / 255
    m = plan.mixture_share[b].item()
    return (1 - m) * image.float() / 255 + m * mixture


@pytest.mark.parametrize(
    "hyper",
    [{"depth": 1}, {"depth": 1, "all_ops": True, "severity": 10}, {"width": 1, "depth": 1, "per_sample": False}, {}],
    ids=str,
)
def test_images_are_the_authors(hyper):
    n = 24
    pixels = photos(n)
    mixed = augmix(pixels / 255, torch.arange(n), generator=seeded(1), **hyper)
    for b in range(n):
        off = (mixed.images[b] - authors_mix(pixels[b], mixed.plan, b, n)).abs() * 255
        # the most that differ: the rounding of steps (which a posterization after it may turn into a step) and borders
        assert off.median() < 1 and (off > 4).float().mean() < 0.12, [b, off.median(), (off > 4).float().mean()]


def test_each_operation_alone_is_the_authors():
    """One chain of one step, with the mixture's share known: the operation itself can be read off."""
    n = 400
    pixels = photos(40).repeat(10, 1, 1, 1)
    mixed = augmix(pixels / 255, torch.arange(n), generator=seeded(2), width=1, depth=1, all_ops=True)
    plan, met = mixed.plan, set()
    for b in range(n):
        name, m = OPERATIONS[plan.chain.operation[0, b]], plan.chain.magnitude[0, b].item()
        share = plan.mixture_share[b].item()
        if share < 0.1:
            continue
        met.add(name)
        own = pixels[b].float()
        altered = (mixed.images[b] * 255 - (1 - share) * own) / share
        off = (altered - pil_to_tensor(by_authors(to_pil_image(pixels[b]), name, m)).float()).abs()
        allowed = 0.06 if name == "rotate" or name.startswith("shear") else 0.0  # pixels that meet the border
        assert (off > 2).float().mean() <= allowed, (name, m, off.max())
    assert met == set(ALL)


def test_labels_stay_and_nothing_is_masked():
    labels = torch.tensor([4, 0, 2])
    mixed = augmix(torch.rand(3, 3, 8, 9), labels, generator=seeded())
    assert torch.equal(mixed.target.labels, labels[:, None].expand(3, 2))
    assert torch.equal(mixed.target.weights, torch.tensor([[1.0, 0.0]]).expand(3, 2))
    assert torch.equal(mixed.sources, torch.arange(3)[:, None].expand(3, 2))
    assert mixed.masks is None and mixed.mask is None


def test_normalised_images_are_augmented_in_their_own_units():
    images = photos(6) / 255
    mean, std = torch.tensor([0.5, 0.4, 0.45]), torch.tensor([0.2, 0.25, 0.3])
    pixel_range = torch.stack([-mean / std, (1 - mean) / std])
    mean, std = mean.view(3, 1, 1), std.view(3, 1, 1)
    plain = augmix(images, torch.arange(6), generator=seeded(), all_ops=True)
    normalised = augmix(
        (images - mean) / std, torch.arange(6), generator=seeded(), all_ops=True, pixel_range=pixel_range
    )
    torch.testing.assert_close(normalised.images, (plain.images - mean) / std, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="pixel_range"):
        augmix(images, torch.arange(6), pixel_range=pixel_range[:, :2])


def test_a_second_tensor_is_moved_and_blended_but_not_coloured():
    n = 60
    images, depth = photos(n) / 255, torch.rand(n, 1, 32, 48, generator=seeded(4)) * 80 - 7
    mixed = augmix(images, torch.arange(n), generator=seeded(5), width=2, depth=1)
    told, smooth = mixed.apply(depth), mixed.apply(depth, interpolation="bilinear")
    names = [[OPERATIONS[i] for i in chain] for chain in mixed.plan.chain.operation.view(2, n).tolist()]
    # an operation on colours, or a move by nothing
    at_rest = (mixed.plan.chain.magnitude.view(2, n) == 0) | torch.tensor([["ize" in a for a in x] for x in names])
    still = at_rest.all(0)
    assert 0 < still.sum() < n
    torch.testing.assert_close(told[still], depth[still], rtol=1e-6, atol=1e-5)
    changed = ((told - depth).abs() > 1e-3).flatten(1).any(1)
    assert changed[~still].float().mean() > 0.9, "all but shears of less than a pixel"
    # a translation by whole pixels is the same by either interpolation, and read off where it is alone
    shift = torch.tensor([a == b == "translate_x" for a, b in zip(*names, strict=True)])
    assert shift.any()
    torch.testing.assert_close(told[shift], smooth[shift], rtol=0, atol=2e-3)
    for b in shift.nonzero()[:, 0].tolist():
        expected = (1 - mixed.plan.mixture_share[b]) * depth[b]
        for chain in range(2):
            by = int(mixed.plan.chain.magnitude[0, chain * n + b])
            moved = torch.zeros_like(depth[b])
            moved[..., max(by, 0) : 48 + min(by, 0)] = depth[b, ..., max(-by, 0) : 48 + min(-by, 0)]
            expected = expected + mixed.plan.mixture_share[b] * mixed.plan.chain_shares[chain, b] * moved
        torch.testing.assert_close(told[b], expected, rtol=1e-5, atol=1e-4)


# What is drawn: sample sizes are stated, and a p-value below 1e-3 fails


def test_operations_are_uniform_and_depths_are_one_to_three():
    plan, operation, _ = draws(n=4000)  # 12 000 chains
    length = (operation != 0).sum(0).flatten()
    assert torch.equal(operation != 0, torch.arange(3)[:, None, None] < length.view(3, 4000)), "gaps are at the end"
    assert stats.chisquare(torch.bincount(length, minlength=4)[1:]).pvalue > 1e-3
    counts = torch.bincount(operation.flatten(), minlength=len(OPERATIONS))
    codes = [OPERATIONS.index(name) for name in OPS]
    assert counts[codes].sum() + counts[0] == operation.numel()
    assert stats.chisquare(counts[codes]).pvalue > 1e-3  # 24 000 operations
    assert plan.chain.used == (*OPS, "identity")


def test_all_operations():
    _, operation, _ = draws(n=4000, all_ops=True, depth=2)
    counts = torch.bincount(operation.flatten(), minlength=len(OPERATIONS))
    codes = [OPERATIONS.index(name) for name in ALL]
    assert counts[codes].sum() == 2 * 3 * 4000
    assert stats.chisquare(counts[codes]).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("width", [2, 3])
def test_shares_are_dirichlet_and_beta(alpha, width):
    plan, *_ = draws(n=4000, alpha=alpha, width=width)
    torch.testing.assert_close(plan.chain_shares.sum(0), torch.ones(4000))
    assert stats.kstest(plan.mixture_share.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    for shares in plan.chain_shares:
        assert stats.kstest(shares.numpy(), stats.beta(alpha, (width - 1) * alpha).cdf).pvalue > 1e-3


@pytest.mark.parametrize("severity", [1, 3, 10])
def test_magnitudes_follow_the_level(severity):
    """About 1800 draws of each of 13 operations, on images of 224 x 96."""
    _, operation, magnitude = draws(n=4000, size=(224, 96), severity=severity, all_ops=True)

    def of(name):
        return magnitude[operation == OPERATIONS.index(name)].double()

    def is_uniform(level):
        return stats.kstest(level.numpy(), stats.uniform(0.1, severity - 0.1).cdf).pvalue > 1e-3

    for name in ("shear_x", "shear_y"):
        assert is_uniform(of(name).abs() / 0.03)
    for name in OVERLAPPING_OPS:
        assert is_uniform((of(name) - 0.1) / 0.18)
    for name in ("shear_x", "shear_y", "rotate", "translate_x", "translate_y"):
        positive, negative = int((of(name) > 0).sum()), int((of(name) < 0).sum())
        assert positive + negative == 0 or stats.binomtest(positive, positive + negative).pvalue > 1e-3
    # whole numbers: each as often as the levels that are cut off to it
    cut_off = {
        "rotate": (of("rotate").abs(), 30),
        "translate_x": (of("translate_x").abs(), 96 / 3),
        "translate_y": (of("translate_y").abs(), 224 / 3),
        "posterize": (4 - of("posterize"), 4),
        "solarize": (256 - of("solarize"), 256),
    }
    for name, (value, most) in cut_off.items():
        values, counts = value.unique(return_counts=True)
        assert torch.equal(values, values.round()), name
        edges = [min(max(10 * k / most, 0.1), severity) for k in range(math.floor(severity * most / 10) + 2)]
        share = [(b - a) / (severity - 0.1) for a, b in itertools.pairwise(edges)]
        observed = torch.zeros(len(share)).index_put_((values.long(),), counts.float())
        enough = torch.tensor(share) * len(value) > 5
        assert observed[~enough].sum() < 40
        expected = torch.tensor(share)[enough]
        if len(expected) > 1:
            kept = observed[enough]
            assert stats.chisquare(kept.numpy(), (expected / expected.sum() * kept.sum()).numpy()).pvalue > 1e-3, name


def test_one_draw_for_the_batch_keeps_levels_apart():
    for seed in range(20):
        plan, operation, magnitude = draws(n=9, seed=seed, per_sample=False)
        assert torch.equal(operation, operation[:, :, :1].expand_as(operation))
        assert torch.equal(plan.chain_shares, plan.chain_shares[:, :1].expand(3, 9))
        assert len(plan.mixture_share.unique()) == 1
        sheared = operation[:, :, 0] == OPERATIONS.index("shear_x")
        assert all(len(row.unique()) == 9 for row in magnitude[sheared])


def test_preset_of_openmixup():
    from openmix import build_mixer

    preset = build_mixer("augmix", preset="openmixup")
    spelt_out = build_mixer("augmix", severity=1, all_ops=True, per_sample=False)
    images, labels = photos(5) / 255, torch.arange(5)
    same = preset(images, labels, generator=seeded()).images
    assert torch.equal(same, spelt_out(images, labels, generator=seeded()).images)
    assert not torch.equal(same, build_mixer("augmix")(images, labels, generator=seeded()).images)


@pytest.mark.parametrize(
    ("hyper", "named"),
    [
        ({"width": 0}, "width"), ({"depth": 0}, "depth"), ({"depth": -2}, "depth"), ({"severity": 0.1}, "severity"),
        ({"severity": 11}, "severity"), ({"alpha": 0.0}, "alpha"),
    ],
    ids=str,
)  # fmt: skip
def test_values_out_of_range_are_named(hyper, named):
    with pytest.raises(ValueError, match=named):
        augmix(torch.zeros(2, 3, 8, 8), torch.arange(2), **hyper)
