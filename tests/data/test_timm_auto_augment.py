"""timm's policies on tensors are timm's own transforms on Pillow's images; and ResizeMix's colour operations."""

import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from timm.data import create_transform
from torchvision.transforms import v2

from openmix.data import Synthetic, TorchLoader
from openmix.data.transforms import ColourRandAugment, TimmAutoAugment
from openmix.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

POLICIES = [
    "rand-m9-mstd0.5-inc1", "rand-m7-mstd0.5-inc1", "rand-m6-n3-mstd101-p0.8", "rand-m9-mstd0.5-inc1-tweights",
    "rand-m12-mmax20-t3a", "original-mstd0.5", "originalr", "v0", "v0r-mstd1", "3a", "augmix-m5-w4-d2",
    "augmix-b1-a0.5",
]  # fmt: skip


def photo(height: int = 64, width: int = 64) -> Image.Image:
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 5, 3), dtype=np.uint8)).resize((width, height))
    return Image.fromarray(np.asarray(coarse) ^ rng.integers(0, 16, (height, width, 3), dtype=np.uint8))


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)


@pytest.fixture
def old_posterize(monkeypatch) -> list[int]:
    """Pillow's own until version 12, which takes 0 bits; returns the numbers of bits that it was asked for."""
    asked = []

    def posterize(image, bits):
        asked.append(bits)
        return image.point([level & ~(2 ** (8 - bits) - 1) for level in range(256)] * 3)

    monkeypatch.setattr(ImageOps, "posterize", posterize)
    return asked


class TestTimmAutoAugment:
    """What create_transform puts between the flip and the normalisation."""

    @pytest.mark.parametrize(
        ("size", "interpolation", "mean"),
        [(64, "bicubic", (0.485, 0.456, 0.406)), (160, "random", (0.5, 0.2, 1.0)), (64, "bilinear", (0.1, 0.4, 0.5))],
    )
    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.usefixtures("old_posterize")
    def test_it_is_timms(self, policy, size, interpolation, mean):
        _, theirs, _ = create_transform(
            size, is_training=True, auto_augment=policy, interpolation=interpolation, mean=mean, separate=True,
            color_jitter=None,
        )  # fmt: skip
        ours = TimmAutoAugment(policy, img_size=size, mean=mean, interpolation=interpolation)
        image, changed = photo(), 0
        for number in range(12):
            seed(number)
            expected = tensor(theirs(image))
            seed(number)
            assert torch.equal(ours(tensor(image)), expected)
            changed += not torch.equal(expected, tensor(image))
        assert changed >= 6

    def test_no_bits_are_black_whatever_pillow_says(self, old_posterize, monkeypatch):
        _, theirs, _ = create_transform(
            64, is_training=True, auto_augment="v0", interpolation="bicubic", separate=True, color_jitter=None
        )
        image, ours, asked_for_none = photo(), TimmAutoAugment("v0", img_size=64), []
        for number in range(300):
            old_posterize.clear()
            seed(number)
            expected = tensor(theirs(image))
            if 0 in old_posterize:
                asked_for_none.append((number, expected))
        assert len(asked_for_none) > 3
        monkeypatch.undo()
        for number, expected in asked_for_none:
            seed(number)
            assert torch.equal(ours(tensor(image)), expected)

    def test_the_default_is_deits(self):
        _, theirs, _ = create_transform(
            224, is_training=True, auto_augment="rand-m9-mstd0.5-inc1", interpolation="bicubic", separate=True
        )
        for number in range(8):
            seed(number)
            expected = tensor(theirs(photo(40, 60)))
            seed(number)
            assert torch.equal(TimmAutoAugment()(tensor(photo(40, 60))), expected)

    def test_the_loader_seeds_what_it_draws_from(self, assert_same_batches):
        source = Synthetic(3, (3, 16, 16), 20)
        found = []
        for workers in (0, 2):
            random.seed(workers)
            loader = TorchLoader(source, 4, pipeline=[TimmAutoAugment("rand-m9-p1-inc1", 16)], num_workers=workers)
            found.append([*loader.epoch(0), *loader.epoch(1)])
            loader.close()
        assert_same_batches(*found)

    def test_images_may_lie_in_memory_in_any_way_and_are_not_changed(self):
        image = tensor(photo())
        before, results = image.clone(), []
        for form in (image, image.contiguous(), v2.ToImage()(image)):
            seed(5)
            results.append(TimmAutoAugment("rand-m9-p1")(form))
        assert all(torch.equal(result, results[0]) for result in results) and torch.equal(image, before)
        assert not torch.equal(results[0], image)

    @pytest.mark.parametrize(
        ("policy", "message"),
        [
            ("randm9", r"no policy is called 'randm9'; did you mean 'rand'\?"),
            ("rand-m", "'m' in 'rand-m' is no setting of rand: mINT nINT pFLOAT mstdFLOAT mmaxINT incINT t"),
            ("rand-m9-mstdinf", "'mstdinf' in"),
            ("rand-m9-tnone", "'tnone' in .* tweights t3a t3aw$"),
            ("augmix-m3-inc1", "'inc1' in 'augmix-m3-inc1' is no setting of augmix"),
            ("v0-m9", "'m9' in 'v0-m9' is no setting of v0: mstdFLOAT$"),
            ("rand-m9.5", r"'m9\.5' in 'rand-m9\.5' is no setting of rand: mINT"),
            ("", "no policy is called ''"),
        ],
    )
    def test_a_policy_that_timm_would_not_follow_is_refused(self, policy, message):
        with pytest.raises(UserError, match=message):
            TimmAutoAugment(policy)

    @pytest.mark.parametrize(
        ("policy", "message"),
        [
            ("rand-p2", r"p in 'rand-p2' must be in 0\.\.1, got 2$"),
            ("rand-m99", r"m in 'rand-m99' must be in 0\.\.10, got 99; timm would cut it off there, and mmax sets"),
            ("rand-m21-mmax20", r"must be in 0\.\.20, got 21"),
            ("rand-mmax0", "mmax in 'rand-mmax0' must be at least 1, got 0"),
            ("rand-n0", "n in 'rand-n0' must be at least 1, got 0"),
            ("rand-inc2", r"inc in 'rand-inc2' must be in 0\.\.1, got 2"),
            ("augmix-m11", r"m in 'augmix-m11' must be in 0\.\.10, got 11$"),
            ("augmix-w0", "w in 'augmix-w0' must be at least 1, got 0"),
            ("augmix-d0", "d in 'augmix-d0' must be at least 1, got 0"),
            ("augmix-b2", r"b in 'augmix-b2' must be in 0\.\.1, got 2"),
            ("augmix-a0", "a in 'augmix-a0' must be above 0"),
        ],
    )
    def test_numbers_out_of_their_range_are_refused(self, policy, message):
        with pytest.raises(UserError, match=message):
            TimmAutoAugment(policy)

    @pytest.mark.parametrize(
        "policy", ["rand-m10-p0-n1", "rand-m0-p1.0-inc0", "rand-m20-mmax20", "augmix-m10-w1-d1-b0"]
    )
    def test_the_ends_of_the_ranges_are_taken(self, policy):
        TimmAutoAugment(policy, img_size=1, mean=(0, 1, 0.5))(tensor(photo(8, 8)))

    @pytest.mark.parametrize("mean", [[0.5], [0.5] * 4, [0.5, 0.5, 1.1], [-0.1, 0.5, 0.5], [124, 116, 104], []])
    def test_what_is_no_colour_is_refused(self, mean):
        with pytest.raises(UserError, match=r"mean must be a colour, three numbers in \[0, 1\], got"):
            TimmAutoAugment(mean=mean)

    @pytest.mark.parametrize("size", [0, -8])
    def test_no_pixels_are_refused(self, size):
        with pytest.raises(UserError, match=f"img_size must be at least 1 pixel, got {size}"):
            TimmAutoAugment(img_size=size)


class TestColourRandAugment:
    """ResizeMix's ten operations, written out."""

    @pytest.mark.parametrize("m", [0, 14, 30])
    def test_operations_and_magnitudes(self, m):
        share, image = m / 30, photo(20, 24)
        bits, factor = int(4 + 4 * share), 0.1 + 1.8 * share
        expected = [
            image,
            ImageOps.autocontrast(image),
            ImageOps.invert(image),
            ImageOps.equalize(image),
            image.point(lambda level: level if level < 256 * share else 255 - level),
            image.point(lambda level: level // 2 ** (8 - bits) * 2 ** (8 - bits)),
            ImageEnhance.Contrast(image).enhance(factor),
            ImageEnhance.Color(image).enhance(factor),
            ImageEnhance.Brightness(image).enhance(factor),
            ImageEnhance.Sharpness(image).enhance(factor),
        ]
        augment = ColourRandAugment(n=1, m=m)
        for number in range(60):
            random.seed(number)
            (operation,) = random.choices(range(10), k=1)
            random.seed(number)
            assert torch.equal(augment(tensor(image)), tensor(expected[operation]))

    def test_operations_follow_each_other(self):
        image = tensor(photo(20, 24))
        for number in range(20):
            random.seed(number)
            first, second, third = (random.random() for _ in range(3))  # choices draws one number for each
            expected = image
            with pytest.MonkeyPatch.context() as patch:
                for draw in (first, second, third):
                    patch.setattr(random, "choices", lambda options, k, draw=draw: [options[int(draw * 10)]])
                    expected = ColourRandAugment(n=1, m=20)(expected)
            random.seed(number)
            assert torch.equal(ColourRandAugment(n=3, m=20)(image), expected)
        assert torch.equal(ColourRandAugment(n=0)(image), image)

    def test_defaults_are_the_authors(self):
        assert (ColourRandAugment().n, ColourRandAugment().m) == (2, 14)

    @pytest.mark.parametrize("arguments", [{"n": -1}, {"m": -0.1}, {"m": 31}])
    def test_wrong_arguments(self, arguments):
        with pytest.raises(UserError, match=r"n >= 0 operations of magnitude m in 0\.\.30"):
            ColourRandAugment(**arguments)


@pytest.mark.parametrize("transform", [TimmAutoAugment(), ColourRandAugment()])
@pytest.mark.parametrize(
    ("image", "found"),
    [
        (torch.zeros(3, 8, 8), r"torch.float32 \(3, 8, 8\)"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), r"torch.uint8 \(1, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"torch.uint8 \(2, 3, 8, 8\)"),
        (photo(), "Image$"),
    ],
)
def test_what_is_no_colour_image_is_refused(transform, image, found):
    name = type(transform).__name__
    with pytest.raises(UserError, match=rf"^{name} works on colour images, uint8 \(3, H, W\), not on {found}"):
        transform(image)
