"""The bytes of a RecordIO file: records, and the header of an image's record.

A record is parts, each a magic number, a word of 3 bits (which part it is) and 29 bits (its length), the data and 0 to
3 zero bytes, so that every part begins on a multiple of 4. There is one part, unless the data hold the magic number on
a multiple of 4: there they are cut and the number is left out, so that every aligned magic number begins a part.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = [
    "DRAFT_MAGIC", "HEADER_SIZE", "LONGEST", "MAGIC", "FramingError", "ImageHeader", "RecordParts", "join_parts",
    "pack_image", "pack_record", "read_record", "unpack_image",
]  # fmt: skip

MAGIC = struct.pack("<I", 0xCED7230A)
DRAFT_MAGIC = struct.pack("<I", 0x3ED7230A)  # of an early draft, whose words were cut otherwise
LONGEST = 2**29 - 1  # bytes of a record
WHOLE, FIRST, MIDDLE, LAST = range(4)

PART = struct.Struct("<II")
IMAGE = struct.Struct("<IfQQ")
HEADER_SIZE = IMAGE.size


class FramingError(ValueError):
    """Bytes that are no record.

    Attributes:
        offset: of the part that is wrong.
        reason: what is wrong with it.
    """

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(offset, reason)
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason} (at byte {self.offset})"


class RecordParts(NamedTuple):
    """Where a record's data lie: the first byte of each part and the one after its last, and the next record's."""

    spans: tuple[tuple[int, int], ...]
    end: int


class ImageHeader(NamedTuple):
    """What stands before an image in its record: its number, and one label or several."""

    id: int
    label: float | tuple[float, ...]


def pack_record(data: bytes) -> bytes:
    """Return a record of some data.

    Raises:
        ValueError: they are 2^29 bytes or more.

    >>> pack_record(b"abc").hex(" ", 4)
    '0a23d7ce 03000000 61626300'
    """
    if len(data) > LONGEST:
        raise ValueError(f"a record holds up to {LONGEST:,} bytes, got {len(data):,}")
    pieces, start, place = [], 0, data.find(MAGIC)
    while place >= 0:
        if place % 4:
            place = data.find(MAGIC, place + 1)
            continue
        pieces += [_part_header(MIDDLE if start else FIRST, place - start), data[start:place]]
        start = place + 4
        place = data.find(MAGIC, start)
    pieces += [_part_header(LAST if start else WHOLE, len(data) - start), data[start:], bytes(-len(data) % 4)]
    return b"".join(pieces)


def _part_header(kind: int, length: int) -> bytes:
    return MAGIC + struct.pack("<I", kind << 29 | length)


def read_record(buffer: np.ndarray, offset: int) -> RecordParts:
    """Return where the data of the record at ``offset`` lie.

    Args:
        buffer: the file's bytes, uint8 (n,); they may be anything.
        offset: where the record begins.

    Raises:
        FramingError: there is no whole record.

    >>> read_record(np.frombuffer(pack_record(b"abc"), np.uint8), 0)
    RecordParts(spans=((8, 11),), end=12)
    """
    if offset % 4 or not 0 <= offset < len(buffer):
        raise FramingError(offset, f"a record begins on a multiple of 4 within the file's {len(buffer):,} bytes")
    spans: list[tuple[int, int]] = []
    while True:
        kind, start, stop = _read_part(buffer, offset)
        if (kind in (WHOLE, FIRST)) == bool(spans):
            raise FramingError(offset, "the rest of a record is missing" if spans else "a record begins in its middle")
        spans.append((start, stop))
        offset = stop + -stop % 4
        if offset > len(buffer):
            raise FramingError(start - PART.size, "the file ends in a record")
        if kind in (WHOLE, LAST):
            return RecordParts(tuple(spans), offset)
        if stop % 4:
            raise FramingError(
                start - PART.size, f"a part that is not the last has {stop - start} bytes, no multiple of 4"
            )


def _read_part(buffer: np.ndarray, offset: int) -> tuple[int, int, int]:
    """Return which part this is, and where its data begin and end."""
    start = offset + PART.size
    if start > len(buffer):
        raise FramingError(offset, "the file ends in a record")
    magic = buffer[offset : offset + 4].tobytes()
    if magic == DRAFT_MAGIC:
        raise FramingError(offset, "the magic number is that of an early draft of the format (0x3ed7230a)")
    if magic != MAGIC:
        raise FramingError(offset, f"there is no magic number (0a23d7ce) but {magic.hex()}")
    word = int.from_bytes(buffer[offset + 4 : start].tobytes(), "little")
    kind, length = word >> 29, word & LONGEST
    if kind > LAST:
        raise FramingError(offset, f"the part's kind is {kind}, not 0 to 3")
    if start + length > len(buffer):
        raise FramingError(offset, f"the part should have {length:,} bytes, and {len(buffer) - start:,} follow")
    return kind, start, start + length


def join_parts(buffer: np.ndarray, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return a record's data, uint8 (n,): a view where it is one part, else a copy with the magic numbers back."""
    (start, stop), *rest = spans
    if not rest:
        return buffer[start:stop]
    magic, pieces = np.frombuffer(MAGIC, np.uint8), [buffer[start:stop]]
    for start, stop in rest:
        pieces += [magic, buffer[start:stop]]
    return np.concatenate(pieces)


def pack_image(header: ImageHeader, image: bytes) -> bytes:
    """Return the data of an image's record; a tuple of labels is written as such, even one of one.

    >>> pack_image(ImageHeader(7, 3.0), b"").hex(" ", 4)
    '00000000 00004040 07000000 00000000 00000000 00000000'
    """
    if isinstance(header.label, tuple):
        if not header.label:
            raise ValueError("an image has a label, got an empty tuple")
        labels = struct.pack(f"<{len(header.label)}f", *header.label)
        return IMAGE.pack(len(header.label), 0, header.id, 0) + labels + image
    return IMAGE.pack(0, header.label, header.id, 0) + image


def unpack_image(data: np.ndarray) -> tuple[ImageHeader, np.ndarray]:
    """Return the header of an image's record, and the encoded image, a view of the data.

    Raises:
        ValueError: the data are too short for the header, or for as many labels as it says.
    """
    if len(data) < HEADER_SIZE:
        raise ValueError(f"an image's record has {HEADER_SIZE} bytes or more, got {len(data)}")
    count, label, number, _ = IMAGE.unpack(data[:HEADER_SIZE].tobytes())
    if not count:
        return ImageHeader(number, label), data[HEADER_SIZE:]
    end = HEADER_SIZE + 4 * count
    if end > len(data):
        raise ValueError(f"the header says {count:,} labels, for which its record is too short")
    return ImageHeader(number, struct.unpack(f"<{count}f", data[HEADER_SIZE:end].tobytes())), data[end:]
