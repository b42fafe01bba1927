"""Where the records of a file begin: the index beside it, or a walk from record to record."""

import os
import re
import struct
from pathlib import Path

import numpy as np

from openmix.data.recordio.format import LONGEST, MAGIC, FramingError, read_record
from openmix.errors import UserError

__all__ = ["format_index", "index_path", "read_index", "scan_offsets"]

# 18 digits fit an int64; possessive matching is not needed, as no two pieces can match the same bytes
LINES = re.compile(rb"(?:[0-9]{1,18}[\t ]+[0-9]{1,18}[\t ]*\r?\n)*(?:[0-9]{1,18}[\t ]+[0-9]{1,18}[\t ]*)?")
WORDS = struct.Struct("<4sI")


def index_path(path: str | os.PathLike[str]) -> Path:
    """Return where the index of a .rec is.

    >>> str(index_path("train.rec"))
    'train.idx'
    """
    return Path(path).with_suffix(".idx")


def format_index(keys: np.ndarray, offsets: np.ndarray) -> bytes:
    r"""Return the text of an index.

    >>> format_index(np.array([0, 1]), np.array([0, 12]))
    b'0\t0\n1\t12\n'
    """
    return "".join(f"{key}\t{offset}\n" for key, offset in zip(keys.tolist(), offsets.tolist(), strict=True)).encode()


def read_index(file: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read an index, in any order of its lines.

    Args:
        file: the .idx, lines of ``key<tab>offset``.
        size: the length of the .rec.

    Returns:
        Keys and offsets, int64 (N,), in the order of the offsets.

    Raises:
        UserError: it cannot be read, is no index, or none for a file of this length.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    match = LINES.match(text)
    assert match  # as it matches nothing, too
    if match.end() != len(text):
        start = text.rfind(b"\n", 0, match.end()) + 1
        line, number = text[start : start + 60].split(b"\n")[0], text.count(b"\n", 0, start) + 1
        raise UserError(f"{file} should be an index, lines of key, tab, offset; line {number} is {line!r}")
    pairs = np.array(text.split(), dtype="S18").astype(np.int64).reshape(-1, 2)
    keys, offsets = pairs[np.argsort(pairs[:, 1], kind="stable")].T
    _check(file, np.ascontiguousarray(keys), np.ascontiguousarray(offsets), size)
    return np.ascontiguousarray(keys), np.ascontiguousarray(offsets)


def _check(file: Path, keys: np.ndarray, offsets: np.ndarray, size: int) -> None:
    """Raise UserError for an index that does not belong to a file of this length."""
    hint = f"'openmix rec index --force {file.with_suffix('.rec')}' writes a new index"
    if size and not len(offsets):
        raise UserError(f"{file} is empty, and its .rec is not; {hint}")
    if len(offsets) and offsets[-1] + WORDS.size > size:
        raise UserError(
            f"{file} names a record at byte {offsets[-1]}, and the .rec has {size:,} bytes: it was cut off, or the "
            f"index is another file's; {hint}"
        )
    if (wrong := np.flatnonzero(offsets % 4)).size:
        raise UserError(f"{file} names a record at byte {offsets[wrong[0]]}, and all begin on multiples of 4; {hint}")
    if len(offsets) and offsets[0]:
        raise UserError(f"{file} names no record at byte 0, where the first one is; {hint}")
    if (wrong := np.flatnonzero(np.diff(offsets) == 0)).size:
        raise UserError(f"{file} names the record at byte {offsets[wrong[0]]} twice; {hint}")
    ordered = np.sort(keys)
    if (wrong := np.flatnonzero(np.diff(ordered) == 0)).size:
        raise UserError(f"{file} has the key {ordered[wrong[0]]} twice; {hint}")


def scan_offsets(buffer: np.ndarray) -> np.ndarray:
    """Return where the records begin, int64 (N,), reading the header of each.

    Raises:
        FramingError: at the first part that is no part of a record.

    >>> from openmix.data.recordio import pack_record
    >>> scan_offsets(np.frombuffer(pack_record(b"ab") + pack_record(b"cdefg"), np.uint8))
    array([ 0, 12])
    """
    offsets, offset, size = [], 0, len(buffer)
    view = buffer.data
    while offset < size:
        offsets.append(offset)
        if offset + WORDS.size <= size:
            magic, word = WORDS.unpack_from(view, offset)
            end = offset + WORDS.size + word + -word % 4
            if magic == MAGIC and word <= LONGEST and end <= size:  # one part: most records
                offset = end
                continue
        try:
            offset = read_record(buffer, offset).end
        except FramingError as error:
            raise FramingError(offset, error.reason) from None
    return np.array(offsets, np.int64)
