"""Operations on colours against torchvision's, one image at a time, and what a chain of operations computes."""

import math

import pytest
import torch
from PIL import ImageOps
from torchvision.transforms.v2 import functional as tv
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

import openmix.ops.augment.chain as chain_module
from openmix.ops.augment import OPERATIONS, Chain, check_pixel_range, choose, from_unit, to_unit
from openmix.ops.augment.tone import TONES
from openmix.ops.planes import like_layout

GEOMETRIC = OPERATIONS[1:6]


def random_bytes(n, channels=3, height=20, width=27) -> torch.Tensor:
    """Images whose histograms are neither flat nor full."""
    generator = torch.Generator().manual_seed(5)
    spread = torch.randint(40, 200, (n, channels, 1, 1), generator=generator)
    noise = torch.randn(n, channels, height, width, generator=generator)
    return (90 + spread * 0.4 * noise).clamp(11, 243).to(torch.uint8)


def single(name, amounts, used=None) -> Chain:
    code = torch.full((1, len(amounts)), OPERATIONS.index(name))
    return Chain(used or (name,), code, torch.tensor([amounts], dtype=torch.float32))


EXACT = [
    ("invert", [0, 0, 0, 0], lambda image, m: tv.invert(image)),
    ("equalize", [0, 0, 0, 0], lambda image, m: tv.equalize(image)),
    ("posterize", [1, 4, 7, 8], lambda image, m: tv.posterize(image, m)),
    ("posterize", [0, 2, 5, 6], lambda image, m: tv.posterize(image, m)),
    ("solarize", [0, 100, 143, 255], lambda image, m: tv.solarize(image, m)),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "amounts", "oracle"), EXACT, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_defined_on_8_bits_is_exact_on_them(name, amounts, oracle, channels):
    pixels = random_bytes(4, channels)
    result = 255 * single(name, amounts).augment(pixels / 255)
    expected = torch.stack([oracle(image, m) for image, m in zip(pixels, amounts, strict=True)])
    torch.testing.assert_close(result, expected.float(), rtol=0, atol=1e-3)


def test_autocontrast_but_for_cutting_off_fractions():
    pixels = random_bytes(4)
    result = 255 * single("autocontrast", [0.0] * 4).augment(pixels / 255)
    over = result - torch.stack([tv.autocontrast(image) for image in pixels])
    assert over.min() > -1e-3 and over.max() < 1 + 1e-3


def test_solarize_of_256_inverts_nothing():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(255 * single("solarize", [256.0]).augment(pixels / 255), pixels.float())


FACTORS = [0.1, 0.63, 1.0, 1.9]
SMOOTH = [
    ("brightness", tv.adjust_brightness),
    ("contrast", tv.adjust_contrast),
    ("color", tv.adjust_saturation),
    ("sharpness", tv.adjust_sharpness),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "oracle"), SMOOTH, ids=lambda v: v if isinstance(v, str) else "")
def test_factors_as_torchvision_has_them_on_floats(name, oracle, channels):
    images = random_bytes(4, channels) / 255
    result = single(name, FACTORS).augment(images)
    expected = torch.stack([oracle(image, f) for image, f in zip(images, FACTORS, strict=True)])
    torch.testing.assert_close(result, expected, rtol=0, atol=2e-4)  # its gray sums to 0.9999


def test_equalize_as_pillow_does_at_every_count():
    """Images of 1 x n pixels, so that the division by 255 is met on both sides."""
    for width in (7, 254, 255, 256, 300, 511, 1200):
        pixels = random_bytes(3, 1, 1, width)
        result = 255 * single("equalize", [0.0] * 3).augment(pixels / 255)
        expected = [pil_to_tensor(ImageOps.equalize(to_pil_image(image))) for image in pixels]
        torch.testing.assert_close(result, torch.stack(expected).float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_a_channel_of_one_value_stays(name):
    images = torch.tensor([0.2, 0.6, 1.0]).view(1, 3, 1, 1).expand(1, 3, 20, 20)
    torch.testing.assert_close(single(name, [0.0]).augment(images), images)


@pytest.mark.parametrize("channels", [2, 4])
def test_gray_of_other_channels_is_their_mean(channels):
    images = random_bytes(2, channels) / 255
    gray = images.mean(1, keepdim=True)
    factor = torch.tensor([0.3, 1.6]).view(2, 1, 1, 1)
    expected = (factor * images + (1 - factor) * gray).clamp(0, 1)
    torch.testing.assert_close(single("color", [0.3, 1.6]).augment(images), expected)
    expected = (factor * images + (1 - factor) * gray.mean((1, 2, 3), keepdim=True)).clamp(0, 1)
    torch.testing.assert_close(single("contrast", [0.3, 1.6]).augment(images), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(2, 9), (9, 1), (3, 3)])
def test_sharpness_of_small_images(size):
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = tv.adjust_sharpness(images, 0.2)
    torch.testing.assert_close(single("sharpness", [0.2]).augment(images), expected)


def test_values_that_are_no_colours_do_no_harm():
    images = torch.tensor([math.nan, math.inf, -math.inf, -3.0, 7.0, 0.5]).view(1, 1, 2, 3)
    for name in TONES:
        amount = 4.0 if name == "posterize" else 0.5
        assert single(name, [amount]).augment(images).shape == images.shape


# Chains


def every_operation(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    operation = torch.arange(n) % len(OPERATIONS)
    special = {"rotate": 12.0, "posterize": 3.0, "solarize": 77.0, "translate_x": 2.0, "translate_y": -3.0}
    return operation, torch.tensor([special.get(OPERATIONS[i], 0.3) for i in operation])


def test_each_image_has_its_own_operation():
    images = random_bytes(2 * len(OPERATIONS)) / 255
    operation, magnitude = every_operation(len(images))
    together = Chain(OPERATIONS, operation[None], magnitude[None]).augment(images)
    for i, image in enumerate(images):
        name = OPERATIONS[operation[i]]
        alone = single(name, [float(magnitude[i])]).augment(image[None])[0]
        torch.testing.assert_close(together[i], alone, rtol=0, atol=1e-6)
        assert (name == "identity") == torch.equal(together[i], image)


def test_steps_follow_each_other():
    images = random_bytes(len(OPERATIONS)) / 255
    operation, magnitude = every_operation(len(images))
    steps = torch.stack([operation, operation.flip(0), operation.roll(4)])
    amounts = torch.stack([magnitude, magnitude.flip(0), magnitude.roll(4)])
    expected = images
    for s in range(3):
        expected = Chain(OPERATIONS, steps[s : s + 1], amounts[s : s + 1]).augment(expected)
    assert torch.equal(Chain(OPERATIONS, steps, amounts).augment(images), expected)
    moved = images
    for s in range(3):
        moved = Chain(OPERATIONS, steps[s : s + 1], amounts[s : s + 1]).displace(moved, "bilinear")
    assert torch.equal(Chain(OPERATIONS, steps, amounts).displace(images, "bilinear"), moved)


def test_what_a_policy_does_not_use_is_not_computed(monkeypatch):
    def fail(*arguments):
        raise AssertionError("not in this policy")

    images = random_bytes(2) / 255
    for name in ("warp", "colour", "sharpen"):
        monkeypatch.setattr(chain_module, name, fail)
    monkeypatch.setitem(TONES, "equalize", fail)
    single("invert", [0.0, 0.0]).augment(images)
    for name in ("rotate", "color", "sharpness", "equalize"):
        with pytest.raises(AssertionError, match="policy"):
            single("identity", [0.0, 0.0], used=("identity", name)).augment(images)
    monkeypatch.setattr(chain_module, "retone", fail)
    single("identity", [0.0, 0.0]).augment(images)


def test_choose_takes_the_magnitude_of_what_was_picked():
    pick = torch.tensor([[0, 2, 1], [1, 1, 2]])
    own = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    chain = choose({"rotate": own * 10, "identity": torch.zeros(2, 3), "shear_x": own}, pick)
    assert chain.used == ("rotate", "identity", "shear_x")
    names = [[OPERATIONS[i] for i in row] for row in chain.operation.tolist()]
    assert names == [["rotate", "shear_x", "identity"], ["identity", "identity", "shear_x"]]
    torch.testing.assert_close(chain.magnitude, torch.tensor([[1.0, 0.2, 0.0], [0.0, 0.0, 0.6]]))


def test_a_chain_moves_to_a_device_and_compiles_whole():
    images = random_bytes(len(OPERATIONS)) / 255
    operation, magnitude = every_operation(len(images))
    chain = Chain(OPERATIONS, operation[None], magnitude[None])
    assert chain.to("meta").augment(images.to("meta")).shape == images.shape
    compiled = torch.compile(lambda c, x: c.augment(x), fullgraph=True, backend="eager")
    assert torch.equal(compiled(chain, images), chain.augment(images))


def test_inputs_are_not_modified():
    images = random_bytes(len(OPERATIONS)) / 255
    kept = images.clone()
    operation, magnitude = every_operation(len(images))
    Chain(OPERATIONS, operation[None], magnitude[None]).augment(images)
    assert torch.equal(images, kept)


# Units


def test_units_there_and_back():
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    pixel_range = torch.stack([-mean / std, (1 - mean) / std])
    images = random_bytes(2) / 255
    normalised = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(to_unit(normalised, pixel_range), images)
    torch.testing.assert_close(from_unit(images, pixel_range), normalised)
    torch.testing.assert_close(to_unit(images * 7 - 2, torch.tensor([[-2.0], [5.0]])), images)
    assert to_unit(images, None) is images


def test_units_are_float32_and_the_layout_is_restored():
    images = (random_bytes(2) / 255).to(torch.bfloat16).to(memory_format=torch.channels_last)
    unit = to_unit(images, None)
    assert unit.dtype == torch.float32 and unit.is_contiguous()
    back = like_layout(unit, images)
    assert back.dtype == torch.bfloat16 and back.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(back, images)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (3, 2), (2, 3, 1)])
def test_a_pixel_range_that_does_not_fit_is_named(shape):
    with pytest.raises(ValueError, match="pixel_range"):
        check_pixel_range(torch.zeros(shape), 3)
    with pytest.raises(ValueError, match="int64"):
        check_pixel_range(torch.zeros(2, 3, dtype=torch.int64), 3)
    for fitting in (None, torch.zeros(2, 3), torch.zeros(2, 1, dtype=torch.float64)):
        check_pixel_range(fitting, 3)
