"""Shears, translations and rotations of a batch against torchvision and Pillow, one image at a time."""

import math

import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from openmix.ops.augment import OPERATIONS, Chain

CASES = [
    ("identity", 3.0), ("shear_x", 0.21), ("shear_x", -0.13), ("shear_y", 0.3), ("shear_y", -0.07),
    ("translate_x", 5.0), ("translate_x", -3.0), ("translate_y", 4.0), ("translate_y", -2.3),
    ("rotate", 21.0), ("rotate", -8.0),
]  # fmt: skip
NAMES, AMOUNTS = [name for name, _ in CASES], [amount for _, amount in CASES]


def chain_of(names, amounts) -> Chain:
    codes = torch.tensor([[OPERATIONS.index(name) for name in names]])
    return Chain(tuple(dict.fromkeys(names)), codes, torch.tensor([amounts], dtype=torch.float32))


def random_bytes(n, channels, height, width) -> torch.Tensor:
    shape = (n, channels, height, width)
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def by_torchvision(image, name, amount, interpolation):
    affine = {"angle": 0.0, "translate": [0.0, 0.0], "scale": 1.0, "shear": [0.0, 0.0], "center": None}
    degrees = math.degrees(math.atan(amount))
    affine |= {
        "identity": {},
        "shear_x": {"shear": [degrees, 0.0], "center": [0, 0]},
        "shear_y": {"shear": [0.0, degrees], "center": [0, 0]},
        "translate_x": {"translate": [amount, 0.0]},
        "translate_y": {"translate": [0.0, amount]},
        "rotate": {"angle": -amount},  # its affine turns clockwise
    }[name]
    return tv.affine(image, interpolation=interpolation, **affine)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 24, 32), (1, 33, 21), (5, 16, 16)])
def test_every_image_as_torchvision_moves_it(mode, channels, height, width):
    images = torch.rand(len(CASES), channels, height, width, generator=torch.Generator().manual_seed(1))
    moved = chain_of(NAMES, AMOUNTS).displace(images, mode)
    for image, result, (name, amount) in zip(images, moved, CASES, strict=True):
        expected = by_torchvision(image, name, amount, InterpolationMode(mode))
        if mode == "bilinear":
            torch.testing.assert_close(result, expected, rtol=0, atol=2e-4)
        else:  # where a place is halfway between two pixels, either is nearest
            assert (result != expected).float().mean() < 0.03, name
        assert name == "identity" or not torch.equal(result, image)


def by_authors(image, name, amount):
    """The calls of AugMix's code on one Pillow image, with its signs."""
    if name == "rotate":
        return image.rotate(amount, resample=Image.Resampling.BILINEAR)
    coefficients = {
        "shear_x": (1, amount, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, amount, 1, 0),
        "translate_x": (1, 0, -amount, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, -amount),
    }
    return image.transform(image.size, Image.Transform.AFFINE, coefficients[name], resample=Image.Resampling.BILINEAR)


def test_every_image_as_pillow_moves_it_within_the_borders():
    pixels = random_bytes(len(CASES) - 1, 3, 32, 40)
    moved = 255 * chain_of(NAMES[1:], AMOUNTS[1:]).augment(pixels / 255)
    # an image of ones tells which results are made of pixels within the borders alone
    inside = chain_of(NAMES[1:], AMOUNTS[1:]).augment(torch.ones(len(pixels), 1, 32, 40)) > 0.9999
    for image, result, within, (name, amount) in zip(pixels, moved, inside, CASES[1:], strict=True):
        expected = pil_to_tensor(by_authors(to_pil_image(image), name, amount)).float()
        assert within.float().mean() > 0.6
        # Pillow rounds, after computing with 8 bits of fraction
        assert ((result - expected).abs() * within).max() < 1.6, name


def test_identity_is_exact_and_zeros_come_in():
    images = torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(2)) + 0.1
    moved = chain_of(["identity", "translate_x"], [0.0, 4.0]).augment(images)
    assert torch.equal(moved[0], images[0])
    assert moved[1, :, :, :4].abs().max() < 1e-5
    torch.testing.assert_close(moved[1, :, :, 4:], images[1, :, :, :-4], rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float64, torch.bfloat16])
def test_class_maps_are_copied_by_the_nearest_pixel(dtype):
    values = torch.arange(2 * 12 * 15).view(2, 1, 12, 15) % 200
    maps = (values + (2**40 if dtype == torch.int64 else 0)).to(dtype)
    moved = chain_of(["translate_x", "rotate"], [3.0, 180.0]).displace(maps, "nearest")
    assert moved.dtype == dtype
    assert torch.equal(moved[0, :, :, 3:], maps[0, :, :, :-3]) and not moved[0, :, :, :3].any()
    assert torch.equal(moved[1], maps[1].flip(1, 2))


def test_displacing_leaves_colours_alone():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    assert torch.equal(chain_of(["invert", "equalize"], [0.0, 0.0]).displace(images, "bilinear"), images)


def test_what_cannot_be_interpolated():
    chain = chain_of(["rotate"], [3.0])
    with pytest.raises(TypeError, match="int64"):
        chain.displace(torch.ones(1, 1, 4, 4, dtype=torch.int64), "bilinear")
    with pytest.raises(ValueError, match="bicubic"):
        chain.displace(torch.ones(1, 1, 4, 4), "bicubic")
