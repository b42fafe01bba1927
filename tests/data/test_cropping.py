"""Crops decoded by themselves: those of the whole image, by torchvision."""

import io
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from openmix.data.cropping import decode_crop
from openmix.data.decoding import decode, read_file
from openmix.data.jpeg import dct_factor, read_frame
from openmix.errors import DamagedImageError

PHOTOS = sorted((Path(__file__).resolve().parents[3] / "shared/data/photos").glob("*.JPEG"))

needs_photos = pytest.mark.skipif(not PHOTOS, reason="needs ../shared/data/photos")


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return np.frombuffer(file.getvalue(), np.uint8)


def picture(width: int = 90, height: int = 70, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((width, height))
    return Image.fromarray(np.asarray(coarse) ^ rng.integers(0, 32, (height, width, 3), dtype=np.uint8))


def oracle(data: np.ndarray, box, size, mode=InterpolationMode.BILINEAR, antialias: bool | None = True) -> torch.Tensor:
    """Return torchvision's crop of Pillow's image."""
    with Image.open(io.BytesIO(data.tobytes())) as image:
        whole = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    return v2.functional.resized_crop(whole, *box, list(size), mode, antialias=antialias)


def kinds() -> dict[str, np.ndarray]:
    """Return one picture in every way that matters to decoding."""
    image = picture()
    rotated = Image.Exif()
    rotated[0x0112] = 6
    return {
        **{chroma: encoded(image, quality=90, subsampling=chroma) for chroma in ("4:4:4", "4:2:2", "4:2:0")},
        "4:4:0": np.frombuffer(simplejpeg.encode_jpeg(np.array(image), 90, colorsubsampling="440"), np.uint8),
        "4:1:1": np.frombuffer(simplejpeg.encode_jpeg(np.array(image), 90, colorsubsampling="411"), np.uint8),
        "RGB components": encoded(image, keep_rgb=True),
        "grey": encoded(image.convert("L")),
        "CMYK": encoded(image.convert("CMYK")),
        "progressive": encoded(image, progressive=True),
        "restart markers": encoded(image, restart_marker_blocks=3),
        "restart markers every row": encoded(image, restart_marker_rows=1),
        "turned by EXIF": encoded(image, exif=rotated),
        "PNG": encoded(image, "PNG"),
        "GIF": encoded(image.convert("P"), "GIF"),
        "WebP": encoded(image, "WEBP", lossless=True),
    }


KINDS = kinds()
BOXES = [
    (0, 0, 70, 90), (0, 0, 1, 1), (69, 89, 1, 1), (0, 89, 70, 1), (69, 0, 1, 90), (0, 40, 9, 50), (61, 0, 9, 33),
    (15, 15, 17, 17), (16, 16, 16, 16), (7, 23, 38, 41), (30, 50, 40, 40),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(24, 24), (50, 13), (1, 1), (70, 90)])
def test_it_is_torchvisions_crop_of_pillows_image(kind, size):
    for box in BOXES:
        assert torch.equal(decode_crop(KINDS[kind], "x", box, size), oracle(KINDS[kind], box, size)), box


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (8, 8), (17, 33)])
@pytest.mark.parametrize("scaled", [False, True])
def test_small_images(size, scaled):
    data = encoded(picture(*size))
    for target in ((5, 5), (64, 64)):
        box = (0, 0, size[1], size[0])
        found = decode_crop(data, "x", box, target, scaled=scaled)
        assert found.shape == (3, *target) and found.dtype == torch.uint8
        if not scaled or min(size) < 8:
            assert torch.equal(found, oracle(data, box, target))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("antialias", [True, False, None])
def test_other_interpolations(mode, antialias):
    mode, antialias = InterpolationMode(mode), antialias or mode == "lanczos"  # which torchvision refuses without
    try:
        expected = oracle(KINDS["4:2:0"], (7, 23, 38, 41), (19, 60), mode, antialias)
    except NotImplementedError:
        pytest.skip("older torchvisions have no such interpolation of tensors")
    found = decode_crop(KINDS["4:2:0"], "x", (7, 23, 38, 41), (19, 60), interpolation=mode, antialias=antialias)
    assert torch.equal(found, expected)


def test_an_interpolation_may_be_named_or_numbered():
    crops = [decode_crop(KINDS["4:2:0"], "x", BOXES[9], (30, 30), interpolation=i) for i in ("bicubic", 3)]
    assert torch.equal(*crops) and torch.equal(
        crops[0], oracle(KINDS["4:2:0"], BOXES[9], (30, 30), InterpolationMode.BICUBIC)
    )


def test_without_simplejpeg_all_is_decoded(monkeypatch):
    monkeypatch.setattr("openmix.data.jpeg.load_row_decoder", lambda: None)
    for scaled in (False, True):
        found = decode_crop(KINDS["4:2:0"], "x", (0, 0, 70, 90), (24, 24), scaled=scaled)
        assert torch.equal(found, oracle(KINDS["4:2:0"], (0, 0, 70, 90), (24, 24)))


@needs_photos
def test_photos_bit_for_bit():
    torch.manual_seed(0)
    for path in PHOTOS[::4]:
        data = read_file(str(path))
        frame = read_frame(data)
        assert frame
        drawn = v2.RandomResizedCrop(96).make_params([torch.empty(3, frame.height, frame.width)])
        box = (drawn["top"], drawn["left"], drawn["height"], drawn["width"])
        assert torch.equal(decode_crop(data, str(path), box, (96, 96)), oracle(data, box, (96, 96)))


@needs_photos
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_photos_at_a_smaller_scale_are_nearly_the_same(interpolation):
    torch.manual_seed(1)
    differences, shifted = [], []
    for path in PHOTOS:
        data = read_file(str(path))
        frame = read_frame(data)
        assert frame
        drawn = v2.RandomResizedCrop(112).make_params([torch.empty(3, frame.height, frame.width)])
        box = (drawn["top"], drawn["left"], drawn["height"], drawn["width"])
        found = decode_crop(data, str(path), box, (112, 112), interpolation=interpolation, scaled=True).float()
        expected = oracle(data, box, (112, 112), InterpolationMode(interpolation)).float()
        if dct_factor(frame, box[2:], (112, 112)) == 1:
            assert torch.equal(found, expected)
        else:
            differences.append((found - expected).abs().mean().item())
            shifted.append((found[..., 1:] - expected[..., :-1]).abs().mean().item())
    assert len(differences) > 40 and max(differences) < 6
    assert np.mean(differences) < 2 and np.mean(shifted) > 5  # were it a pixel off, one would see it


def test_edges_between_the_pixels_of_a_smaller_scale_are_kept():
    """On a slope of two levels a pixel a crop's mean tells where it lies; rounding to whole pixels would make it 1."""
    slope = np.broadcast_to(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], (128, 128, 3))
    data = encoded(Image.fromarray(slope.copy()), quality=100, subsampling=0)
    for left in range(5, 20):
        for width in (64, 65, 70, 99):
            found = decode_crop(data, "x", (3, left, width, width), (32, 32), scaled=True).float().mean().item()
            assert abs(found - 2 * (left + (width - 1) / 2)) < 0.1


def test_damage_is_named():
    whole = KINDS["4:2:0"]
    for data in (whole[:-40], whole[: len(whole) // 2], whole[:30], whole[:0], np.zeros(500, np.uint8)):
        with pytest.raises(DamagedImageError, match=r"^cat/1\.jpg .*is damaged, or no image") as caught:
            decode_crop(data, "cat/1.jpg", (0, 0, 5, 5), (8, 8))
        assert caught.value.name == "cat/1.jpg"


@pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning", "ignore:Corrupt EXIF:UserWarning")
def test_damage_is_found_where_decoding_the_whole_image_finds_it():
    """Unless it lies below the crop, which makes no difference to it; here the crops reach to the last row."""

    def outcome(decoder):
        try:
            return decoder()
        except DamagedImageError:
            return None

    rng = np.random.default_rng(0)
    whole = [encoded(picture(seed=seed), quality=80, subsampling=seed % 3) for seed in range(6)]
    counts = {True: 0, False: 0}
    for i in range(600):
        data = whole[i % 6].copy()
        for place in rng.integers(len(data) // 4 if i % 2 else len(data) // 2, len(data), 3):
            data[place] = rng.integers(256)
        data = data if i % 5 else data[: rng.integers(len(data))]
        expected = outcome(lambda data=data: v2.functional.resized_crop(decode(data, "x"), 30, 5, 40, 40, [20, 20]))
        found = outcome(lambda data=data: decode_crop(data, "x", (30, 5, 40, 40), (20, 20)))
        assert (found is None) == (expected is None)
        assert found is None or expected is None or torch.equal(found, expected)
        counts[found is None] += 1
    assert min(counts.values()) > 100


@pytest.mark.parametrize("kind", ["4:2:0", "PNG"])
@pytest.mark.parametrize(
    "box", [(0, 0, 71, 90), (0, 1, 70, 90), (-1, 0, 5, 5), (0, -1, 5, 5), (5, 5, 0, 5), (80, 5, 5, 5)]
)
def test_a_box_that_is_not_in_the_image_is_refused(kind, box):
    with pytest.raises(DamagedImageError, match=r"x holds no box \(.*\): it has 70 x 90 pixels"):
        decode_crop(KINDS[kind], "x", box, (8, 8))


def test_the_result_is_laid_out_channels_last():
    """As the decoder has it, for nothing is gained by laying it out anew on the way to the device."""
    for scaled in (False, True):
        crop = decode_crop(KINDS["4:2:0"], "x", BOXES[0], (24, 24), scaled=scaled)
        assert crop.shape == (3, 24, 24) and crop.permute(1, 2, 0).is_contiguous()
