"""Odd image files, by every decoder: Pillow says what they are, and decode's docstring where it is not followed."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from openmix.data import decoding
from openmix.data.decoding import decode, read_image
from openmix.data.sources import FileList
from openmix.errors import DamagedImageError

RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize((23, 17))
DEEP = RNG.integers(0, 2**16, (9, 7), dtype=np.uint16)
TURNED = Image.Exif()
TURNED[0x0112] = 6


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def by_pillow(content: bytes) -> torch.Tensor:
    with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
        warnings.filterwarnings("ignore", "Palette images with Transparency")
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def without_adobes_mark(content: bytes) -> bytes:
    """A JPEG without its APP14 segment, as programs of others write it."""
    name = content.index(b"Adobe")
    return content[: name - 4] + content[name - 2 + int.from_bytes(content[name - 2 : name], "big") :]


def transparent(mode: str) -> Image.Image:
    image = PICTURE.convert(mode)
    image.putalpha(Image.fromarray(RNG.integers(0, 256, (17, 23), dtype=np.uint8)))
    return image


CMYK = encoded(PICTURE.convert("CMYK"))
ODD = {
    "CMYK, by Adobe": CMYK,
    "CMYK, by others": without_adobes_mark(CMYK),
    "grey": encoded(PICTURE.convert("L")),
    "RGBA": encoded(transparent("RGB"), "PNG"),
    "LA": encoded(transparent("L"), "PNG"),
    "palette": encoded(PICTURE.quantize(9), "PNG"),
    "palette, one colour transparent": encoded(PICTURE.quantize(9), "PNG", transparency=3),
    "palette, each colour transparent": encoded(PICTURE.quantize(4), "PNG", transparency=bytes([0, 90, 180, 255])),
    "RGB, one colour transparent": encoded(PICTURE, "PNG", transparency=PICTURE.getpixel((0, 0))),
    "one bit": encoded(PICTURE.convert("1"), "PNG"),
    "turned": encoded(PICTURE, exif=TURNED),
    "one pixel": encoded(PICTURE.resize((1, 1))),
    "one pixel, PNG": encoded(PICTURE.resize((1, 1)), "PNG"),
    "1 x 5000": encoded(PICTURE.resize((1, 5000))),
    "5000 x 1": encoded(PICTURE.resize((5000, 1)), "PNG"),
    "GIF, animated": encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(90)]),
    "GIF, transparent": encoded(PICTURE.quantize(9), "GIF", transparency=2),
    "WebP, animated": encoded(PICTURE, "WEBP", lossless=True, save_all=True, append_images=[PICTURE.rotate(90)]),
    "WebP, lossless": encoded(PICTURE, "WEBP", lossless=True),
    "TIFF": encoded(PICTURE, "TIFF"),
    "TIFF, LZW": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "TIFF, two pages": encoded(PICTURE, "TIFF", save_all=True, append_images=[PICTURE.rotate(90)]),
    "BMP": encoded(PICTURE, "BMP"),
    "PNM": encoded(PICTURE, "PPM"),
}
BAD = {
    "empty": b"",
    "HTML": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "JPEG, its beginning": encoded(PICTURE)[:300],
    "JPEG, no more than its mark": b"\xff\xd8\xff",
    "PNG, its half": encoded(PICTURE, "PNG")[:400],
    "GIF, its beginning": encoded(PICTURE, "GIF")[:20],
    "WebP, its half": encoded(PICTURE, "WEBP")[:100],
    "zeros": bytes(5000),
}


@pytest.fixture(params=["torchvision", "Pillow"], autouse=True)
def decoder(request, monkeypatch) -> str:
    """Decode with torchvision, or as where it has no decoder."""
    if request.param == "Pillow":
        monkeypatch.setattr(decoding, "load_decoder", lambda: None)
    return request.param


def decoded(content: bytes) -> torch.Tensor:
    return decode(np.frombuffer(bytearray(content), np.uint8), "x.jpg")


@pytest.mark.parametrize("name", ODD)
def test_it_is_pillows(name):
    image, expected = decoded(ODD[name]), by_pillow(ODD[name])
    assert image.dtype == torch.uint8 and image.shape == expected.shape
    assert (image.int() - expected.int()).abs().max() <= 2


def test_the_orientation_is_ignored():
    with Image.open(io.BytesIO(ODD["turned"])) as image:
        assert ImageOps.exif_transpose(image).size == (17, 23)
    assert decoded(ODD["turned"]).shape == (3, 17, 23)


def test_cmyk_is_inverted_with_and_without_adobes_mark():
    colours = torch.from_numpy(np.array(PICTURE)).permute(2, 0, 1).float()
    for name in ("CMYK, by Adobe", "CMYK, by others"):
        assert (decoded(ODD[name]).float() - colours).abs().mean() < 20  # and about 85 where it is not


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_of_16_bits_the_high_byte_is_taken(kind):
    image = decoded(encoded(Image.fromarray(DEEP), kind))
    assert torch.equal(image, torch.from_numpy(DEEP // 256).byte().expand(3, 9, 7))


def test_16_bit_colours():
    levels = RNG.integers(0, 2**16, (6, 5, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    chunks = (b"IHDR", struct.pack(">2I5B", 5, 6, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    content = b"\x89PNG\r\n\x1a\n" + b"".join(map(chunk, chunks))
    assert torch.equal(decoded(content), torch.from_numpy(levels // 256).byte().permute(2, 0, 1))


def chunk(part: tuple[bytes, bytes]) -> bytes:
    name, content = part
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.mark.parametrize("name", BAD)
def test_damaged_files_are_named(tmp_path, name):
    path = tmp_path / "x.jpg"
    path.write_bytes(BAD[name])
    with pytest.raises(
        DamagedImageError, match=rf"^{path} \({len(BAD[name]):,} bytes\) is damaged, or no image: [^\n]+$"
    ):
        read_image(str(path))


def test_a_folder_named_like_an_image(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "list.txt").write_text("x.jpg 0\n")
    source = FileList(str(tmp_path), str(tmp_path / "list.txt"))
    with pytest.raises(DamagedImageError, match=rf"^{tmp_path}/x.jpg cannot be read: Is a directory$"):
        source[0]


class TestHuge:
    """Warnings are errors in these tests: what Pillow warns of passes, and what it refuses is refused in a moment."""

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_100_megapixels_are_decoded(self, mode):
        content = encoded(Image.new(mode, (10_000, 10_000), 99 if mode == "L" else (99, 99, 99)))
        image = decoded(content)
        assert image.shape == (3, 10_000, 10_000) and image[1, ::997, ::997].unique().tolist() == [99]

    @pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG"])
    def test_more_are_refused_before_memory_is_taken(self, kind):
        """Headers that promise 2.5 gigapixels (a JPEG's is believed where there is enough of a file)."""
        content = bytearray(encoded(PICTURE, kind))
        place, side = {"PNG": (16, ">2I"), "GIF": (6, "<2H"), "BMP": (18, "<2i"), "JPEG": (0, ">2H")}[kind]
        if kind == "JPEG":
            place = content.index(b"\xff\xc0") + 5
            content += bytes(400_000)
        struct.pack_into(side, content, place, 50_000, 50_000)
        if kind == "PNG":
            struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
        with pytest.raises(
            DamagedImageError, match=r"Image size \(2500000000 pixels\) exceeds limit of 178956970 pixels"
        ):
            decoded(bytes(content))

    def test_the_limit_is_pillows(self):
        assert Image.MAX_IMAGE_PIXELS is not None and decoding.HUGE == 2 * Image.MAX_IMAGE_PIXELS


def test_photographs_pass(decoder):
    photos = sorted((Path(__file__).resolve().parents[3] / "shared/data/photos").glob("*.JPEG"))[:3]
    if not photos:
        pytest.skip("there are no photographs at ../shared/data/photos")
    assert all((read_image(str(p)).int() - by_pillow(p.read_bytes()).int()).abs().max() <= 2 for p in photos)
