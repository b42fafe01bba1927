"""The bytes: vectors that MXNet 1.9.1 wrote, and a reader written by itself."""

import struct

import numpy as np
import pytest

from openmix.data.recordio import FramingError, ImageHeader, pack_image, pack_record, read_record, unpack_image
from openmix.data.recordio.format import LONGEST, join_parts
from openmix.data.recordio.index import format_index, scan_offsets

MAGIC = bytes.fromhex("0a23d7ce")

VECTORS = {
    b"record_0": "0a23d7ce 08000000 7265636f72645f30",
    b"abc": "0a23d7ce 03000000 61626300",
    b"": "0a23d7ce 00000000",
    b"AAAA" + MAGIC + b"BB": "0a23d7ce 04000020 41414141 0a23d7ce 02000060 42420000",
    MAGIC: "0a23d7ce 00000020 0a23d7ce 00000060",
    b"A" + MAGIC: "0a23d7ce 05000000 410a23d7ce000000",
    MAGIC + MAGIC + b"xyz": "0a23d7ce 00000020 0a23d7ce 00000040 0a23d7ce 03000060 78797a00",
    pack_image(ImageHeader(7, 3.0), b"\xff\xd8"): (
        "0a23d7ce 1a000000 00000000 00004040 0700000000000000 0000000000000000 ffd80000"
    ),
    pack_image(ImageHeader(7, (1.0, 2.5)), b"\xff\xd8"): (
        "0a23d7ce 22000000 02000000 00000000 0700000000000000 0000000000000000 0000803f 00002040 ffd80000"
    ),
}


def array(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


def read(content: bytes, offset: int = 0) -> bytes:
    return join_parts(array(content), read_record(array(content), offset).spans).tobytes()


@pytest.mark.parametrize(("data", "expected"), VECTORS.items(), ids=range(len(VECTORS)))
def test_vectors(data, expected):
    content = bytes.fromhex(expected)
    assert pack_record(data) == content
    assert read(content) == data
    assert read_record(array(content), 0).end == len(content)


def test_vector_of_two():
    content = pack_record(b"ab") + pack_record(b"cdefg")
    assert content == bytes.fromhex("0a23d7ce 02000000 61620000 0a23d7ce 05000000 6364656667000000")
    assert format_index(np.arange(2), scan_offsets(array(content))) == b"0\t0\n1\t12\n"


def test_random_data_with_magic_numbers_in_them(naive_records):
    rng = np.random.default_rng(0)
    pieces = [MAGIC, MAGIC[:2], MAGIC[2:], b"\0", b"abcd", b"\xff\xd8\xff"]
    several = 0
    records = [b"".join(pieces[i] for i in rng.integers(0, len(pieces), rng.integers(0, 12))) for _ in range(3000)]
    content = b""
    for data in records:
        record = pack_record(data)
        several += record[7] >> 5 == 1
        assert len(record) % 4 == 0
        assert naive_records(record) == [data]
        content += record
    assert several > 500
    assert naive_records(content) == records
    offsets = scan_offsets(array(content)).tolist()
    assert [read(content, offset) for offset in offsets] == records
    # a magic number on a multiple of 4 is always a part's beginning
    words = array(content).view("<u4")
    for place in np.flatnonzero(words == 0xCED7230A).tolist():
        assert words[place + 1] >> 29 <= 3


def test_image_headers_come_back():
    rng = np.random.default_rng(0)
    for _ in range(200):
        labels = tuple(rng.standard_normal(rng.integers(1, 5)).astype(np.float32).tolist())
        header = ImageHeader(int(rng.integers(0, 2**63)), labels if rng.random() < 0.5 else labels[0])
        image = rng.bytes(int(rng.integers(0, 30)))
        again, body = unpack_image(array(pack_image(header, image)))
        assert (again, body.tobytes()) == (header, image)


def part(kind: int, length: int, data: bytes = b"", magic: int = 0xCED7230A) -> bytes:
    return struct.pack("<II", magic, kind << 29 | length) + data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "within the file's 0 bytes"),
        (b"\x0a\x23", "the file ends in a record"),
        (MAGIC, "the file ends in a record"),
        (part(0, 5, b"abcd"), "should have 5 bytes, and 4 follow"),
        (part(0, 3, b"abc"), "the file ends in a record"),  # its padding is missing
        (part(0, LONGEST), "should have 536,870,911 bytes, and 0 follow"),
        (part(1, 4, b"abcd"), "the file ends in a record|within"),
        (part(1, 4, b"abcd") + part(0, 0), "the rest of a record is missing"),
        (part(1, 4, b"abcd") + part(1, 0), "the rest of a record is missing"),
        (part(1, 3, b"abc\0") + part(3, 0), "no multiple of 4"),
        (part(2, 0), "begins in its middle"),
        (part(3, 0), "begins in its middle"),
        (part(4, 0), "kind is 4"),
        (part(7, 0), "kind is 7"),
        (part(0, 0, magic=0x3ED7230A), "early draft"),
        (part(0, 0, magic=0xCED7230B), "no magic number .0a23d7ce. but 0b23d7ce"),
    ],
)
def test_refused(content, reason):
    with pytest.raises(FramingError, match=reason):
        read_record(array(content), 0)


@pytest.mark.parametrize("offset", [-4, 1, 2, 3, 12, 2**40])
def test_offsets_that_are_none(offset):
    with pytest.raises(FramingError, match="a record begins on a multiple of 4"):
        read_record(array(pack_record(b"abc")), offset)


def test_image_headers_that_are_none():
    with pytest.raises(ValueError, match="24 bytes or more, got 23"):
        unpack_image(array(bytes(23)))
    with pytest.raises(ValueError, match="4,294,967,295 labels"):
        unpack_image(array(b"\xff" * 4 + bytes(60)))
    with pytest.raises(ValueError, match="empty tuple"):
        pack_image(ImageHeader(0, ()), b"")


def test_the_longest():
    class Long(bytes):
        def __len__(self) -> int:
            return LONGEST + 1

    with pytest.raises(ValueError, match="up to 536,870,911 bytes"):
        pack_record(Long())
