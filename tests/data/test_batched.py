import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2

from openmix.data.loaders.batched import Crop, Erase, Flip, batched
from openmix.data.transforms import Cutout
from openmix.errors import UserError

SHAPE = (3, 6, 9)
IMAGES = torch.randint(256, (40, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PADDINGS = [None, 2, (1, 3), (3, 0, 2, 4)]  # torchvision's order: left, top, right, bottom


def sides(padding):
    """``(left, top, right, bottom)`` of torchvision's shorthands."""
    if padding is None:
        return (0, 0, 0, 0)
    if isinstance(padding, int):
        return (padding,) * 4
    return padding if len(padding) == 4 else (*padding, *padding)


def naive_crop(image, top, left, height, width, padding, mode, fill):
    """Cut a window pixel by pixel; (top, left) counts from the padded image's corner."""
    pad_left, pad_top, _, _ = sides(padding)
    channels, rows, columns = image.shape
    out = torch.zeros(channels, height, width, dtype=image.dtype)
    for i in range(height):
        for j in range(width):
            y, x = top + i - pad_top, left + j - pad_left
            if mode == "reflect":
                y = -y if y < 0 else y if y < rows else 2 * (rows - 1) - y
                x = -x if x < 0 else x if x < columns else 2 * (columns - 1) - x
            inside = 0 <= y < rows and 0 <= x < columns
            for c in range(channels):
                out[c, i, j] = image[c, y, x] if inside else fill[c]
    return out


def cut(crop, padded, index, draws):
    """The windows at ``draws`` of some padded images, as ResidentLoader cuts them."""
    return crop.windows(padded).index_select(0, crop.starts(padded.stride(), index, draws))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("mode", "fill"), [("constant", 0), ("constant", (1, 2, 3)), ("reflect", 0)])
@pytest.mark.parametrize("size", [(6, 9), (4, 5), 3])
def test_crop_equals_a_loop_over_pixels(padding, mode, fill, size):
    crop = Crop(v2.RandomCrop(size, padding, fill=fill, padding_mode=mode), SHAPE)
    height, width = crop.shape[1:]
    draws = crop.draw(len(IMAGES), torch.Generator().manual_seed(1))
    whole = cut(crop, crop.pad(IMAGES), torch.arange(len(IMAGES)), draws)
    assert whole.shape == (len(IMAGES), 3, height, width) and whole.is_contiguous() and whole.dtype == torch.uint8
    assert torch.equal(whole, crop.apply(IMAGES, draws))
    fills = (fill,) * 3 if isinstance(fill, int) else fill
    for n, (top, left) in enumerate(draws.T.tolist()):
        assert torch.equal(whole[n], naive_crop(IMAGES[n], top, left, height, width, padding, mode, fills))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "symmetric"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_crop_equals_torchvision(mode, padding):
    crop = Crop(v2.RandomCrop((5, 7), padding, fill=9, padding_mode=mode), SHAPE)
    index = torch.tensor([7, 7, 0, 39, 12])
    draws = crop.draw(5, torch.Generator().manual_seed(2))
    windows = cut(crop, crop.pad(IMAGES, chunk=16), index, draws)
    for window, n, (top, left) in zip(windows, index, draws.T.tolist(), strict=True):
        padded = v2.functional.pad(IMAGES[n], list(sides(padding)), fill=9, padding_mode=mode)
        assert torch.equal(window, v2.functional.crop(padded, top, left, 5, 7))


def test_crop_reads_a_part_of_a_larger_set():
    crop = Crop(v2.RandomCrop(4), SHAPE)
    draws = crop.draw(10, torch.Generator().manual_seed(3))
    for n, (top, left) in enumerate(draws.T.tolist()):
        expected = IMAGES[25 + n, :, top : top + 4, left : left + 4]
        assert torch.equal(crop.apply(IMAGES[25:35], draws)[n], expected)


@pytest.mark.parametrize("layout", ["channels last", "every second", "turned"])
def test_crop_of_images_that_lie_anyhow(layout):
    images = {
        "channels last": IMAGES.to(memory_format=torch.channels_last),
        "every second": IMAGES.repeat_interleave(2, 3)[..., ::2],
        "turned": IMAGES.mT.contiguous().mT,
    }[layout]
    assert not images.is_contiguous() and torch.equal(images, IMAGES)
    crop = Crop(v2.RandomCrop((4, 5)), SHAPE)
    index = torch.tensor([39, 0, 7, 39])
    draws = torch.tensor([[0, 2, 1, 2], [4, 0, 3, 4]])
    windows = cut(crop, images, index, draws)
    assert windows.is_contiguous()
    for window, n, (top, left) in zip(windows, index, draws.T.tolist(), strict=True):
        assert torch.equal(window, IMAGES[n, :, top : top + 4, left : left + 5])


def test_windows_take_no_memory_and_end_with_the_set():
    crop = Crop(v2.RandomCrop((6, 9), 2), SHAPE)
    padded = crop.pad(IMAGES)
    windows = crop.windows(padded)
    assert windows.data_ptr() == padded.data_ptr()
    last = crop.starts(padded.stride(), torch.tensor([39]), torch.tensor([[4], [4]]))
    assert last.item() == len(windows) - 1 and torch.equal(windows[-1], padded[-1, :, 4:, 4:])
    assert crop.windows(padded[:0]).shape == (0, 3, 6, 9)


def test_crop_offsets_are_uniform_over_all_places():
    crop = Crop(v2.RandomCrop((6, 9), (4, 3)), SHAPE)
    tops, lefts = crop.draw(20_000, torch.Generator().manual_seed(0))
    counts = np.histogram2d(tops, lefts, bins=(np.arange(8) - 0.5, np.arange(10) - 0.5))[0]
    assert counts.sum() == 20_000
    assert stats.chisquare(counts.ravel()).pvalue > 0.001


def test_flip_equals_torchvision():
    flip = Flip(v2.RandomHorizontalFlip(0.5), SHAPE)
    draws = flip.draw(len(IMAGES), torch.Generator().manual_seed(0))
    assert {0, 1} == set(draws[0].tolist())
    out = flip.apply(IMAGES, draws)
    for image, result, flipped in zip(IMAGES, out, draws[0], strict=True):
        assert torch.equal(result, v2.functional.hflip(image) if flipped else image)


def test_flip_leaves_its_input_alone():
    flip, before = Flip(v2.RandomHorizontalFlip(0.5), SHAPE), IMAGES.clone()
    flip.apply(IMAGES, torch.ones(1, len(IMAGES), dtype=torch.int64))
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 1.0])
def test_flip_rate(probability):
    flip = Flip(v2.RandomHorizontalFlip(probability), SHAPE)
    flips = int(flip.draw(10_000, torch.Generator().manual_seed(0)).sum())
    assert stats.binomtest(flips, 10_000, probability).pvalue > 0.001


@pytest.mark.parametrize(("size", "fill"), [(1, 0), (4, 5), (5, (1, 2, 3)), (40, 7)])
def test_erase_equals_the_transform_it_stands_for(size, fill):
    transform = Cutout(size, fill)
    erase = Erase(transform, SHAPE)
    draws = erase.draw(len(IMAGES), torch.Generator().manual_seed(0))
    out = erase.apply(IMAGES, draws)
    assert out.dtype == torch.uint8 and torch.equal(IMAGES, IMAGES.clone())
    for image, result, (y, x) in zip(IMAGES, out, draws.T.tolist(), strict=True):
        assert torch.equal(result, transform.transform(image, {"y": y, "x": x}))


def test_erase_centres_are_uniform_over_the_image():
    y, x = Erase(Cutout(4), SHAPE).draw(20_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(y * 9 + x, minlength=54).numpy()
    assert len(counts) == 54 and stats.chisquare(counts).pvalue > 0.001


def test_each_stage_is_built_for_what_the_one_before_gives():
    stages = batched([v2.RandomHorizontalFlip(), v2.RandomCrop((4, 5)), Cutout(2), v2.RandomCrop(4, 1)], SHAPE)
    assert [stage.shape for stage in stages] == [(3, 6, 9), (3, 4, 5), (3, 4, 5), (3, 4, 4)]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (
            v2.RandomRotation(5),
            "augment with RandomRotation: it takes Resize, CenterCrop, RandomCrop, .*, ScaleMix; use T",
        ),
        (v2.Compose([v2.RandomHorizontalFlip()]), "cannot augment with Compose"),
        (torch.flip, "cannot augment with flip"),
        (v2.RandomCrop(10), r"cannot cut 10 x 10 out of images \(3, 6, 9\) padded by"),
        (v2.RandomCrop(4, pad_if_needed=True), "no pad_if_needed"),
        (v2.RandomCrop(4, fill={"others": 0}), "no dict as fill"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(transform, message):
    with pytest.raises(UserError, match=message):
        batched([transform], SHAPE)


class Count(TorchDispatchMode):
    """Count the tensor operations that run."""

    operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        return func(*args, **(kwargs or {}))


def test_no_transform_goes_image_by_image():
    counts = []
    for size in (2, 40):
        with Count() as count:
            for stage in batched([v2.RandomCrop((6, 9), 2), v2.RandomHorizontalFlip(), Cutout(3)], SHAPE):
                stage.apply(IMAGES[:size], stage.draw(size, torch.Generator().manual_seed(0)))
        counts.append(count.operations)
    assert counts[0] == counts[1]
