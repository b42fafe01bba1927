"""What the tests of RecordIO share: a reader written by itself from the format's description, and small images."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmix.data.recordio import ImageHeader, pack_image, write_records


def naive_records(content: bytes) -> list[bytes]:
    """Read records one part after another; assertions are all the care that is taken."""
    records, at, parts = [], 0, []
    while at < len(content):
        magic, word = struct.unpack("<II", content[at : at + 8])
        assert magic == 0xCED7230A
        kind, length = word // 2**29, word % 2**29
        data = content[at + 8 : at + 8 + length]
        assert len(data) == length
        at += 8 + (length + 3) // 4 * 4
        assert kind in ((0, 1) if not parts else (2, 3))
        parts.append(data)
        if kind in (0, 3):
            records.append(b"\x0a\x23\xd7\xce".join(parts))
            parts = []
    assert not parts and at == len(content)
    return records


def encoded(seed: int, width: int = 14, height: int = 10, kind: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(name="naive_records")
def naive_records_fixture() -> Callable[[bytes], list[bytes]]:
    return naive_records


@pytest.fixture(name="encoded")
def encoded_fixture() -> Callable[..., bytes]:
    return encoded


@pytest.fixture
def small(tmp_path) -> Path:
    """A .rec of 12 images with keys in no order, and its index."""
    keys = np.random.default_rng(0).permutation(12).tolist()
    records = [(key, pack_image(ImageHeader(key, float(key % 4)), encoded(key))) for key in keys]
    write_records(tmp_path / "small.rec", records)
    return tmp_path / "small.rec"
