"""ResizeMix+ against ResizeMix followed by torchvision's operations, copy by copy."""

import math

import pytest
import torch
from scipy import stats
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from openmix.mixers.resizemix import resizemix
from openmix.mixers.resizemixplus import resizemixplus
from openmix.ops.augment import OPERATIONS

SET = {
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "autocontrast", "invert", "solarize",
    "posterize", "contrast", "color", "sharpness", "brightness",
}  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n=5, height=24, width=32, channels=3):
    images = torch.randint(256, (n, channels, height, width), generator=seeded(7)).float() / 255
    return images, (torch.arange(n) * 7 + 3) % 10


def names_of(plan) -> list[list[str]]:
    """Of each image, copies first, its operations in their order."""
    return [[OPERATIONS[i] for i in column] for column in plan.chain.operation.T.tolist()]


def affine(image, interpolation=InterpolationMode.BILINEAR, **changes):
    still = {"angle": 0.0, "translate": [0.0, 0.0], "scale": 1.0, "shear": [0.0, 0.0]}
    return tv.affine(image, interpolation=interpolation, **{**still, **changes})


def by_torchvision(image, name, magnitude, sign):
    """One operation by RandAugment's meaning of the authors' ranges, on a float image (C, H, W)."""
    share = magnitude / 30
    height, width = image.shape[1:]
    factor = 0.1 + 1.8 * share
    degrees = math.degrees(math.atan(sign * 0.5 * share))
    eight_bit = (image * 255).round().to(torch.uint8)
    return {
        "identity": lambda: image,
        "shear_x": lambda: affine(image, shear=[degrees, 0.0], center=[0, 0]),
        "shear_y": lambda: affine(image, shear=[0.0, degrees], center=[0, 0]),
        "translate_x": lambda: affine(image, translate=[sign * 0.5 * share * width, 0.0]),
        "translate_y": lambda: affine(image, translate=[0.0, sign * 0.5 * share * height]),
        "rotate": lambda: affine(image, angle=-sign * 45 * share),
        "autocontrast": lambda: tv.autocontrast(eight_bit / 255),
        "invert": lambda: 1 - eight_bit / 255,
        "solarize": lambda: tv.solarize(eight_bit, 255 * share) / 255,
        "posterize": lambda: tv.posterize(eight_bit, int(4 + 4 * share)) / 255,
        "contrast": lambda: tv.adjust_contrast(image, factor),
        "color": lambda: tv.adjust_saturation(image, factor),
        "sharpness": lambda: tv.adjust_sharpness(image, factor),
        "brightness": lambda: tv.adjust_brightness(image, factor),
    }[name]()


@pytest.mark.parametrize("magnitude", [14, 25, 0])
def test_images_are_those_of_resizemix_augmented(magnitude):
    images, labels = batch(n=9)
    met = set()
    for seed in range(12):
        mixed = resizemixplus(
            images, labels, generator=seeded(seed), num_ops=1, copies=3, magnitude=magnitude, per_sample=True
        )
        plain = resizemix(images, labels, generator=seeded(seed))
        signs = mixed.plan.chain.magnitude[0].sign().tolist()
        for row, (name,) in enumerate(names_of(mixed.plan)):
            expected = by_torchvision(plain.images[row % 9], name, magnitude, signs[row])
            off = (mixed.images[row] - expected).abs()
            # three channels' weights of gray, and contrast's reading of 8 bits
            assert off.max() < 2e-3, (name, off.max())
            met.add(name)
    assert met == SET


def test_operations_follow_each_other_as_drawn():
    images, labels = batch()
    for seed in range(6):
        mixed = resizemixplus(images, labels, generator=seeded(seed), num_ops=2)
        plain = resizemix(images, labels, generator=seeded(seed)).images
        for row, names in enumerate(names_of(mixed.plan)):
            expected = plain[row % 5]
            for step, name in enumerate(names):
                sign = float(mixed.plan.chain.magnitude[step, row].sign())
                expected = by_torchvision(expected, name, 14, sign)
            # a pixel between two of 8 bits' levels after one step may be either for the next
            off = (mixed.images[row] - expected).abs()
            assert (off > 4e-3).float().mean() < 0.01, names


def test_targets_are_resizemix_repeated():
    images, labels = batch()
    mixed, plain = (method(images, labels, generator=seeded(3)) for method in (resizemixplus, resizemix))
    assert mixed.images.shape == (10, 3, 24, 32)
    for told, expected in zip((*mixed.target, mixed.sources), (*plain.target, plain.sources), strict=True):
        assert torch.equal(told, torch.cat([expected, expected]))
    assert torch.equal(mixed.sources[:, 0], torch.arange(10) % 5)
    assert mixed.masks is None


def test_scope_reaches_resizemix():
    images, labels = batch()
    hyper = {"generator": seeded(3), "scope": (0.5, 0.5)}
    assert torch.equal(
        resizemixplus(images, labels, **hyper).target.weights[:5],
        resizemix(images, labels, generator=seeded(3), scope=(0.5, 0.5)).target.weights,
    )


def test_class_maps_and_depth_take_the_moves_alone():
    images, labels = batch(n=8)
    classes = torch.arange(8 * 24 * 32).view(8, 1, 24, 32)
    for seed in range(4):
        mixed = resizemixplus(images, labels, generator=seeded(seed), num_ops=1, per_sample=True)
        pasted = resizemix(images, labels, generator=seeded(seed)).apply(classes)
        told = mixed.apply(classes)
        assert told.dtype == torch.int64 and told.shape == (16, 1, 24, 32)
        depth = mixed.apply(classes.float(), interpolation="bilinear")
        for row, (name,) in enumerate(names_of(mixed.plan)):
            moved = name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
            assert torch.equal(told[row], pasted[row % 8]) != moved, name
            smooth = resizemix(images, labels, generator=seeded(seed)).apply(classes.float(), "bilinear")
            assert torch.equal(depth[row], smooth[row % 8]) != moved, name
        assert torch.equal(told, mixed.apply(classes.double()).long())


def test_normalised_images_are_augmented_in_their_own_units():
    images, labels = batch()
    pixel_range = torch.tensor([[-2.0], [3.0]])
    for seed in range(4):
        plain = resizemixplus(images, labels, generator=seeded(seed))
        scaled = resizemixplus(images * 5 - 2, labels, generator=seeded(seed), pixel_range=pixel_range)
        # the last bit, where a pixel lies between two of the 8 bits' levels
        assert ((scaled.images - (plain.images * 5 - 2)).abs() > 1e-4).float().mean() < 1e-3
    with pytest.raises(ValueError, match="pixel_range"):
        resizemixplus(images, labels, pixel_range=torch.zeros(3, 2))


@pytest.mark.parametrize("per_sample", [False, True])
def test_operations_are_uniform_and_signs_even(per_sample):
    """4000 copies, or images, of two operations each: 8000 draws from 14, 2857 signs of those that have one."""
    rows, copies = (4, 1000) if per_sample else (1, 4000)
    plan = resizemixplus(
        torch.zeros(rows, 1, 8, 8), torch.zeros(rows).long(), generator=seeded(), copies=copies, per_sample=per_sample
    ).plan
    counts = torch.bincount(plan.chain.operation.flatten(), minlength=len(OPERATIONS))
    codes = [OPERATIONS.index(name) for name in sorted(SET)]
    assert counts[codes].sum() == 8000
    assert stats.chisquare(counts[codes]).pvalue > 1e-3
    signed = plan.chain.magnitude[(plan.chain.operation >= 1) & (plan.chain.operation <= 5)]
    assert stats.binomtest(int((signed > 0).sum()), len(signed)).pvalue > 1e-3
    first, second = (plan.chain.operation[step].numpy() for step in (0, 1))
    assert stats.chi2_contingency(stats.contingency.crosstab(first, second).count).pvalue > 1e-3


def test_who_shares_a_draw():
    images, labels = batch(n=7)
    plan = resizemixplus(images, labels, generator=seeded(1), copies=3, num_ops=4).plan
    operation = plan.chain.operation.view(4, 3, 7)
    assert torch.equal(operation, operation[..., :1].expand(4, 3, 7))
    assert len({tuple(c) for c in operation[..., 0].T.tolist()}) == 3, "copies are drawn apart"
    assert torch.equal(plan.chain.magnitude.view(4, 3, 7), plan.chain.magnitude.view(4, 3, 7)[..., :1].expand(4, 3, 7))
    own = resizemixplus(images, labels, generator=seeded(1), copies=3, num_ops=4, per_sample=True).plan.chain.operation
    assert len({tuple(c) for c in own.T.tolist()}) > 15


def test_draws_and_layouts():
    images, labels = batch()
    before = torch.get_rng_state()
    one, other = (resizemixplus(images, labels, generator=seeded(2)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.images, other.images) and torch.equal(one.plan.apply(images), one.images)
    last = resizemixplus(images.to(memory_format=torch.channels_last), labels, generator=seeded(2)).images
    assert last.is_contiguous(memory_format=torch.channels_last) and torch.equal(last, one.images)
    half = resizemixplus(images.bfloat16(), labels, generator=seeded(2)).images
    wide = resizemixplus(images.bfloat16().float(), labels, generator=seeded(2)).images
    assert torch.equal(half, wide.bfloat16())
    meta = resizemixplus(images.to("meta"), labels.to("meta"), generator=seeded(2))
    assert meta.images.shape == one.images.shape and meta.target.weights.device.type == "meta"
    assert resizemixplus(images[:1], labels[:1], generator=seeded(2)).images.shape == (2, 3, 24, 32)


@pytest.mark.parametrize(
    ("hyper", "named"),
    [
        ({"copies": 0}, "copies"), ({"num_ops": 0}, "num_ops"), ({"magnitude": 31}, "magnitude"),
        ({"magnitude": -1}, "magnitude"), ({"scope": (0.0, 0.5)}, "scope"),
    ],
    ids=str,
)  # fmt: skip
def test_values_out_of_range_are_named(hyper, named):
    with pytest.raises(ValueError, match=named):
        resizemixplus(torch.zeros(2, 3, 8, 8), torch.arange(2), **hyper)
