"""Reading a JPEG's header, and decoding no more than asked: Pillow says what should come out."""

import io
import itertools

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from openmix.data.decoding import HUGE
from openmix.data.jpeg import SMALLEST, JpegFrame, dct_factor, decode_rows, load_row_decoder, read_frame

SUBSAMPLINGS = ["4:4:4", "4:2:2", "4:2:0", "4:4:0"]


def image_size(data: np.ndarray) -> tuple[int, int] | None:
    """Return what the header says, by our reading of it."""
    frame = read_frame(data)
    return (frame.height, frame.width) if frame else None


def jpeg(width: int = 61, height: int = 47, mode: str = "RGB", seed: int = 0, **options) -> np.ndarray:
    """Return a JPEG of a smooth picture with noise, of strong colours."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((width, height))
    noisy = np.asarray(coarse) ^ rng.integers(0, 32, (height, width, 3), dtype=np.uint8)
    if options.get("subsampling") == "4:4:0":  # which Pillow does not write
        encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(noisy), 92, colorsubsampling="440")
        return np.frombuffer(encoded, np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).convert(mode).save(file, "JPEG", **{"quality": 92, **options})
    return np.frombuffer(file.getvalue(), np.uint8)


def by_pillow(data: np.ndarray) -> np.ndarray:
    with Image.open(io.BytesIO(data.tobytes())) as image:
        return np.array(image.convert("RGB"))


def replaced(data: np.ndarray, place: int, *values: int) -> np.ndarray:
    changed = data.copy()
    changed[place : place + len(values)] = values
    return changed


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def spliced(data: np.ndarray, *segments: bytes) -> np.ndarray:
    """Return the data with segments put right after their beginning."""
    return np.frombuffer(data[:2].tobytes() + b"".join(segments) + data[2:].tobytes(), np.uint8)


class TestHeader:
    @pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
    @pytest.mark.parametrize("size", [(61, 47), (1, 1), (300, 2), (16, 16)])
    def test_the_size_is_pillows(self, subsampling, size):
        data = jpeg(*size, subsampling=subsampling, exif=Image.Exif(), comment=b"\xff\xd9", icc_profile=bytes(70_000))
        assert image_size(data) == size[::-1]
        frame = read_frame(data)
        assert frame and data[frame.place : frame.place + 4].tobytes() == bytes(
            (*divmod(size[1], 256), *divmod(size[0], 256))
        )

    def test_grey_restart_markers_and_extended_baseline_are_taken(self):
        for data in (jpeg(mode="L"), jpeg(restart_marker_blocks=2)):
            assert image_size(data) == (47, 61)
            frame = read_frame(data)
            assert frame and image_size(replaced(data, frame.place - 4, 0xC1)) == (47, 61)

    def test_what_lies_behind_the_image_does_not_matter(self):
        assert image_size(np.append(jpeg(), np.zeros(99, np.uint8))) == (47, 61)
        assert image_size(np.append(jpeg(), jpeg(8, 8))) == (47, 61)

    def test_a_thumbnail_in_the_header_is_not_the_image(self):
        assert image_size(spliced(jpeg(), segment(0xE1, b"Exif\0\0" + jpeg(8, 8).tobytes()))) == (47, 61)

    def test_what_is_to_be_decoded_whole_has_no_frame(self):
        for data in (jpeg(progressive=True), jpeg(mode="CMYK"), jpeg()[:-9], jpeg()[:200], jpeg()[:0], jpeg()[1:]):
            assert image_size(data) is None
        for image_format in ("PNG", "GIF", "WEBP", "BMP", "TIFF"):
            file = io.BytesIO()
            Image.new("RGB", (9, 9)).save(file, image_format)
            assert image_size(np.frombuffer(file.getvalue(), np.uint8)) is None

    def test_odd_frames_are_left_alone(self):
        data = jpeg(subsampling="4:4:4")
        frame = read_frame(data)
        assert frame
        sof = frame.place - 3
        for changed in (
            replaced(data, sof - 1, 0xC9),  # arithmetic
            replaced(data, sof - 1, 0xC3),  # lossless
            replaced(data, sof + 2, 12),  # bits
            replaced(data, sof + 3, 0, 0),  # height at the end
            replaced(data, sof + 5, 0, 0),  # no width
            replaced(data, sof + 7, 4),  # components
            replaced(data, sof + 9, 0x41),  # 4:1:1
            replaced(data, sof + 9, 0x22, 0, 2, 0x21),  # chroma of two kinds
            replaced(data, sof + 3, 0xFF, 0xFF, 0xFF, 0xFF),  # more pixels than anybody decodes
        ):
            assert read_frame(changed) is None
        assert HUGE < 0xFFFF**2

    def test_a_header_without_end_is_given_up(self):
        data = jpeg()
        assert image_size(spliced(data, *[segment(0xFE, b"x")] * 500)) == (47, 61)
        assert image_size(spliced(data, *[segment(0xFE, b"")] * 100_000)) is None

    def test_hostile_bytes_raise_nothing(self):
        rng = np.random.default_rng(0)
        whole = [jpeg(40, 30, subsampling=subsampling, icc_profile=bytes(99)) for subsampling in SUBSAMPLINGS]
        found = set()
        for data, i in zip(itertools.cycle(whole), range(2000)):
            changed = data.copy()
            header = int(np.flatnonzero(data == 0xDA)[0]) + 20
            for place in rng.integers(0, header, rng.integers(1, 6)):
                changed[place] = rng.choice([0, 1, 2, 0xFF, rng.integers(256)])
            if i % 4 == 0:
                changed = changed[: rng.integers(len(changed))]
            found.add(image_size(changed))
        assert {None, (30, 40)} < found
        for length in range(300):
            image_size(rng.integers(0, 256, length, dtype=np.uint8))
            image_size(np.append(np.array([0xFF, 0xD8], np.uint8), np.full(length, 0xFF, np.uint8)))


class TestRows:
    @pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
    @pytest.mark.parametrize("size", [(61, 47), (48, 64), (3, 70), (33, 1), (1, 1)])
    def test_they_are_those_of_a_full_decode(self, subsampling, size):
        data = jpeg(*size, subsampling=subsampling)
        frame, expected = read_frame(data), by_pillow(data)
        assert frame
        for bottom in range(1, size[1] + 1):
            rows = decode_rows(data, frame, bottom)
            assert rows is not None and bottom <= len(rows) <= max(bottom + 2, SMALLEST)
            np.testing.assert_array_equal(rows[:bottom], expected[:bottom])

    def test_grey_and_restart_markers(self):
        for data in (
            jpeg(mode="L"),
            jpeg(mode="L", subsampling="4:2:0"),
            jpeg(restart_marker_blocks=2),
            jpeg(restart_marker_rows=1),
        ):
            frame = read_frame(data)
            assert frame
            for bottom in (1, 8, 15, 16, 17, 40, 47):
                rows = decode_rows(data, frame, bottom)
                assert rows is not None
                np.testing.assert_array_equal(rows[:bottom], by_pillow(data)[:bottom])

    @pytest.mark.parametrize("factor", [2, 4, 8])
    @pytest.mark.parametrize("size", [(640, 480), (333, 251), (9, 8)])
    def test_a_smaller_scale_is_pillows_draft(self, factor, size):
        data = jpeg(*size)
        frame = read_frame(data)
        assert frame
        with Image.open(io.BytesIO(data.tobytes())) as image:
            image.draft("RGB", (size[0] // factor, size[1] // factor))
            expected = np.array(image)
        for bottom in (1, size[1] // 3, size[1]):
            rows = decode_rows(data, frame, bottom, factor)
            assert rows is not None
            needed = -(-bottom // factor)
            np.testing.assert_array_equal(rows[:needed], expected[:needed])

    def test_the_bytes_are_left_as_they_are(self):
        data = jpeg()
        frame, before = read_frame(data), data.copy()
        data.flags.writeable = False
        assert frame and decode_rows(data, frame, 5) is not None
        np.testing.assert_array_equal(data, before)

    def test_what_cannot_be_decoded_is_none(self, monkeypatch):
        frame = JpegFrame(47, 61, 10)
        assert decode_rows(np.zeros(100, np.uint8), frame, 9) is None
        monkeypatch.setattr("openmix.data.jpeg.load_row_decoder", lambda: None)
        assert decode_rows(jpeg(), frame, 9) is None

    def test_without_simplejpeg_there_is_no_decoder(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "simplejpeg", None)
        load_row_decoder.cache_clear()
        assert load_row_decoder() is None
        load_row_decoder.cache_clear()


def test_the_factor_leaves_the_crop_no_smaller_than_needed():
    frame = JpegFrame(600, 800, 0)
    for height, width in itertools.product((1, 7, 8, 99, 200, 399, 400, 600), (8, 112, 223, 224, 448, 800)):
        for size in ((1, 1), (56, 56), (112, 28), (600, 800)):
            factor = dct_factor(frame, (height, width), size)
            if factor > 1:
                assert height / factor >= size[0] and width / factor >= size[1]
            elif min(height, width) >= SMALLEST:
                assert height / 2 < size[0] or width / 2 < size[1]
