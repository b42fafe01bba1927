"""Find what is damaged in a RecordIO file, and where."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openmix.data.recordio.format import (
    MAGIC,
    FramingError,
    join_parts,
    pack_record,
    read_record,
    unpack_image,
)
from openmix.data.recordio.index import index_path, read_index
from openmix.data.recordio.manifest import Manifest, digest, read_manifest
from openmix.data.recordio.reader import map_file
from openmix.errors import UserError

__all__ = ["Damage", "Report", "strictly_decode", "verify"]

CHUNK = 1 << 24


class Damage(NamedTuple):
    """One thing that is wrong.

    Attributes:
        number: of the record in the file; None where it is the file, its index or its manifest.
        key: the index's, None where that is not known.
        offset: where the record begins, or should.
        reason: what is wrong.
    """

    number: int | None
    key: int | None
    offset: int
    reason: str

    def __str__(self) -> str:
        if self.number is None:
            return self.reason
        key = "" if self.key is None else f"id {self.key}, "
        return f"record {self.number} ({key}offset {self.offset}) {self.reason}"


class Report(NamedTuple):
    """What was found: how many records are whole, what is damaged, and by what means the images were compared."""

    whole: int
    damages: list[Damage]
    means: str


def verify(
    path: str | os.PathLike[str],
    index: str | os.PathLike[str] | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> Report:
    """Read a whole .rec and find what is damaged.

    Damaged framing is always found. Damaged images are always found where there is a manifest. Where there is none,
    they are decoded, and found is what the decoder complains of: every JPEG that was cut off, but of single wrong bits
    one in ten.

    Args:
        path: the .rec.
        index: its .idx; None takes the one beside it, if there is one.
        advance: is called with the number of bytes that have been looked at.

    Raises:
        UserError: a file cannot be read, or the manifest is none.
    """
    _, mapped, buffer = map_file(os.fspath(path))
    manifest = read_manifest(path)
    file = Path(index) if index is not None else index_path(path)
    damages: list[Damage] = []
    keys = offsets = None
    if index is not None or file.exists():
        try:
            keys, offsets = read_index(file, len(buffer))
        except UserError as error:
            damages.append(Damage(None, None, 0, str(error)))
        if manifest and offsets is not None and _sha256(map_file(str(file))[2]) != manifest.index_sha256:
            damages.append(Damage(None, None, 0, f"{file} is not the index that the manifest knows"))
    elif manifest:
        damages.append(Damage(None, None, 0, f"{file}, the index, is missing; 'openmix rec index {path}' writes one"))
    walk = _Walk(buffer, keys, offsets, manifest)
    for done in walk:
        advance(done)
    damages += walk.damages
    if manifest and not walk.damages and (len(buffer) != manifest.size or _sha256(buffer) != manifest.sha256):
        damages.append(Damage(None, None, 0, f"{path} is not the file that the manifest knows"))
    del mapped
    return Report(walk.whole, damages, "SHA-256" if manifest else "decoding")


class _Walk:
    """Goes from record to record, and after a damaged one to the next that begins as one."""

    def __init__(
        self, buffer: np.ndarray, keys: np.ndarray | None, offsets: np.ndarray | None, manifest: Manifest | None
    ) -> None:
        self.buffer = buffer
        self.keys = keys
        self.offsets = offsets
        self.digests = None if manifest is None else [row.tobytes() for row in manifest.digests]
        self.known = {} if self.digests is None else {value: number for number, value in enumerate(self.digests)}
        self.damages: list[Damage] = []
        self.whole = 0

    def __iter__(self) -> Iterator[int]:
        """Look at each record, and yield where it ends."""
        number = offset = 0
        while offset < len(self.buffer):
            number, reason, end = self._look(number, offset)
            if reason:
                self._report(number, offset, reason)
            else:
                self.whole += 1
            number, offset = number + 1, end
            yield offset
        count = number if self.digests is None else len(self.digests)
        if number != count:
            self._report(number, offset, f"is missing, as the manifest says that there are {count}")
        if self.offsets is not None and number < len(self.offsets):
            self._report(number, offset, f"is missing, as the index names {len(self.offsets)}")

    def _look(self, number: int, offset: int) -> tuple[int, str, int]:
        """Return a record's number, what is wrong with it ('' if nothing), and where the next begins."""
        following = self._following(offset)
        if self.offsets is not None:
            number = int(np.searchsorted(self.offsets, offset))
        try:
            record = read_record(self.buffer, offset)
        except FramingError as error:
            return number, f"is damaged: {error}", following if following else self._resume(offset + 4)
        data = join_parts(self.buffer, record.spans)
        if self.offsets is None:
            number = self.known.get(digest(data), number) if self.known else number
        if following and record.end != following:
            return number, f"ends at byte {record.end}, and the index has the next at {following}", following
        if self.offsets is not None and (number == len(self.offsets) or self.offsets[number] != offset):
            return number, "is not in the index", record.end
        if pack_record(data.tobytes()) != self.buffer[offset : record.end].tobytes():
            return (
                number,
                "is not as it was written: a magic number in it, or padding that is not 0",
                following or (self._resume(offset + 4)),
            )
        reason = self._contents(number, data)
        # a length that is wrong ends a record in its middle: that is one damage, not two
        lost = reason and self.offsets is None and not self._begins(record.end)
        return number, reason, self._resume(offset + 4) if lost else record.end

    def _contents(self, number: int, data: np.ndarray) -> str:
        """Return what is wrong with a record's data."""
        if self.digests is not None:
            if number >= len(self.digests):
                return f"is one too many: the manifest says that there are {len(self.digests)}"
            return "" if digest(data) == self.digests[number] else "is damaged: its SHA-256 is not the manifest's"
        try:
            header, image = unpack_image(data)
        except ValueError as error:
            return f"holds no image: {error}"
        values = header.label if isinstance(header.label, tuple) else (header.label,)
        if not np.isfinite(values).all():
            return f"has a label that is no number: {header.label}"
        if not len(image) and len(values) > 1:  # metadata
            return ""
        return strictly_decode(image)

    def _following(self, offset: int) -> int:
        """Return where the next record begins, as the index says; 0 without one."""
        if self.offsets is None:
            return 0
        number = int(np.searchsorted(self.offsets, offset, side="right"))
        return int(self.offsets[number]) if number < len(self.offsets) else len(self.buffer)

    def _begins(self, offset: int) -> bool:
        """Tell whether the file ends at ``offset``, or a record seems to begin there."""
        return offset == len(self.buffer) or self.buffer[offset : offset + 4].tobytes() == MAGIC

    def _resume(self, offset: int) -> int:
        """Return the next place that looks like the beginning of a record, or the end of the file."""
        words = self.buffer[: len(self.buffer) // 4 * 4].view("<u4")
        magic = int.from_bytes(MAGIC, "little")
        for start in range(offset // 4, len(words), CHUNK):
            for place in np.flatnonzero(words[start : start + CHUNK] == magic) + start:
                with contextlib.suppress(FramingError):
                    read_record(self.buffer, int(place) * 4)
                    return int(place) * 4
        return len(self.buffer)

    def _report(self, number: int, offset: int, reason: str) -> None:
        known = self.keys is not None and number < len(self.keys)
        self.damages.append(
            Damage(number, int(self.keys[number]) if known and self.keys is not None else None, offset, reason)
        )


def strictly_decode(image: np.ndarray) -> str:
    """Return what is wrong with an encoded image, as far as a decoder or libjpeg's warnings say; '' if nothing."""
    from openmix.data.decoding import decode
    from openmix.data.verifying import jpeg_warning
    from openmix.errors import DamagedImageError

    try:
        decode(image, "")
    except DamagedImageError as error:
        return error.reason.strip()
    return (image[:3].tobytes() == b"\xff\xd8\xff" and jpeg_warning(image)) or ""


def _sha256(buffer: np.ndarray) -> str:
    sha256 = hashlib.sha256()
    for start in range(0, len(buffer), CHUNK):
        sha256.update(buffer[start : start + CHUNK].data)
    return sha256.hexdigest()
