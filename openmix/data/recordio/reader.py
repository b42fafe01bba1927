"""Random access to the records of a file."""

import contextlib
import mmap
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from openmix.data.recordio.format import (
    HEADER_SIZE,
    LONGEST,
    MAGIC,
    FramingError,
    ImageHeader,
    join_parts,
    read_record,
    unpack_image,
)
from openmix.data.recordio.index import index_path, read_index, scan_offsets
from openmix.errors import DamagedImageError, UserError

__all__ = ["Headers", "RecordFile", "map_file"]

# a pipe is not waited for, as it is no file
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


class Headers(NamedTuple):
    """The beginnings of all records, as they stand in the file, damaged or not.

    Attributes:
        framed: bool (N,): the record begins as one, and holds the header of an image.
        flags: int64 (N,): how many labels follow the header; 0 means that there is one in it.
        labels: float32 (N,): the label in the header, or the first that follows it; NaN if not framed.
        bodies: int64 (N,): the bytes of the image, of one in several parts those that lie in the first.
    """

    framed: np.ndarray
    flags: np.ndarray
    labels: np.ndarray
    bodies: np.ndarray


class RecordFile:
    """A RecordIO file, its records by number in the order in which they lie in it.

    The file is mapped, so nothing is read before it is asked for, and all processes share the memory; forked ones use
    the same mapping, and a pickled one opens the file anew.

    Args:
        path: the .rec.
        index: its .idx, which must name every record; None takes the one beside it, or, where there is none, walks
            from record to record, which reads a page of each.

    Attributes:
        path: as given.
        size: the file's length.
        offsets: where the records begin, int64 (N,), ascending.
        keys: the index's keys, int64 (N,); 0, 1, 2, ... without one.
        index: the index's path, None without one.

    Raises:
        UserError: a file cannot be read, the index does not belong to it, or, without an index, it is damaged.

    >>> import tempfile; from openmix.data.recordio import write_records
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_records(f"{folder}/a.rec", [(7, b"abc"), (3, b"")])
    ...     file = RecordFile(f"{folder}/a.rec")
    ...     len(file), file.keys.tolist(), file.read(0).tobytes()
    (2, [7, 3], b'abc')
    """

    def __init__(self, path: str | os.PathLike[str], index: str | os.PathLike[str] | None = None) -> None:
        self.path = os.fspath(path)
        self._descriptor, self._map, self._buffer = map_file(self.path)
        self.size = len(self._buffer)
        beside = index_path(path)
        self.index = Path(index) if index is not None else beside if beside.exists() else None
        if self.index is not None:
            self.keys, self.offsets = read_index(self.index, self.size)
            self._check_ends()
        else:
            self.offsets = self._scan()
            self.keys = np.arange(len(self.offsets))

    def _scan(self) -> np.ndarray:
        try:
            return scan_offsets(self._buffer)
        except FramingError as error:
            raise UserError(
                f"{self.path} is damaged at byte {error.offset}, or no RecordIO file: {error.reason}; 'openmix rec "
                f"verify {self.path}' looks for the rest"
            ) from None

    def _check_ends(self) -> None:
        """Raise UserError for a file that is none of the format at all, or goes on after the index's last record.

        Other records that the index lacks show when those before them are read.
        """
        if not len(self.offsets):
            return
        try:
            read_record(self._buffer, 0)
        except FramingError as error:
            if "draft" in error.reason:
                raise UserError(f"{self.path} cannot be read: {error.reason}") from None
        with contextlib.suppress(FramingError):  # one damaged record raises when it is read
            end = read_record(self._buffer, int(self.offsets[-1])).end
            if self._buffer[end : end + len(MAGIC)].tobytes() == MAGIC:
                raise UserError(
                    f"{self.index} names {len(self):,} records, and {self.path} holds more, from byte {end} on; "
                    f"'openmix rec index --force {self.path}' writes a new index"
                )
            if end != self.size:
                raise UserError(
                    f"{self.path} goes on after its last record, which ends at byte {end}, up to byte {self.size}: the "
                    f"rest is stray, or the record is damaged; see 'openmix rec verify {self.path}'"
                )

    def __len__(self) -> int:
        return len(self.offsets)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if not key.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._descriptor, self._map, self._buffer = map_file(self.path)
        if len(self._buffer) != self.size:
            raise UserError(f"{self.path} has {len(self._buffer):,} bytes, and had {self.size:,} when it was opened")

    def name(self, number: int) -> str:
        """Return what a message calls a record."""
        return f"{self.path}, record {number} (id {self.keys[number]}, offset {self.offsets[number]})"

    def read(self, number: int) -> np.ndarray:
        """Return a record's data, uint8 (n,), read-only: a view of the file, or a copy where it is in several parts.

        Raises:
            DamagedImageError: its framing is damaged.
            IndexError: there is no such record.
        """
        number = range(len(self))[number]
        offset = int(self.offsets[number])
        following = int(self.offsets[number + 1]) if number + 1 < len(self) else self.size
        if os.fstat(self._descriptor.number).st_size < self.size:  # reading what was cut off would end the process
            raise DamagedImageError(self.name(number), f"cannot be read: the file was {self.size:,} bytes, and is less")
        try:
            record = read_record(self._buffer, offset)
        except FramingError as error:
            raise DamagedImageError(self.name(number), f"is damaged: {error}") from None
        if record.end != following:
            raise DamagedImageError(
                self.name(number), f"is damaged: it ends at byte {record.end}, and the next begins at {following}"
            )
        return join_parts(self._buffer, record.spans)

    def read_image(self, number: int) -> tuple[ImageHeader, np.ndarray]:
        """Return the header of an image's record, and the encoded image, uint8 (n,), read-only.

        Raises:
            DamagedImageError: the record is damaged, or holds no image's header.
            IndexError: there is no such record.
        """
        data = self.read(number)
        try:
            return unpack_image(data)
        except ValueError as error:
            raise DamagedImageError(self.name(number), f"is damaged: {error}") from None

    def headers(self) -> Headers:
        """Return the beginnings of all records: a page of each is read, and nothing else."""
        words = self._buffer[: self.size // 4 * 4].view("<u4")

        def column(number: int) -> np.ndarray:
            return words[np.minimum(self.offsets // 4 + number, len(words) - 1)]

        self._advise("MADV_RANDOM")  # or each page would bring its neighbours, in the end the whole file
        magics, parts, flags = column(0), column(1).astype(np.int64), column(2).astype(np.int64)
        labels = np.where(flags > 0, column(8), column(3)).view(np.float32)
        self._advise("MADV_NORMAL")
        kinds, lengths = parts >> 29, parts & LONGEST
        bodies = lengths - HEADER_SIZE - 4 * flags
        begins = (magics == int.from_bytes(MAGIC, "little")) & (kinds <= 1) & (self.offsets + 8 + lengths <= self.size)
        framed = begins & (bodies >= 0)
        labels[~framed] = np.nan
        for number in np.flatnonzero(
            begins & (kinds == 1) & (bodies < 0)
        ):  # cut in the header, by an id like the magic
            with contextlib.suppress(DamagedImageError):
                header, body = self.read_image(int(number))
                several = isinstance(header.label, tuple)
                values = header.label if isinstance(header.label, tuple) else (header.label,)
                flags[number], bodies[number], framed[number] = len(values) * several, len(body), True
                labels[number] = values[0]
        return Headers(framed, flags, labels, bodies)

    def _advise(self, advice: str) -> None:
        if self._map is not None and hasattr(mmap, advice):
            self._map.madvise(getattr(mmap, advice))


class _Descriptor:
    """An open file's number, closed with the last that uses it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


def map_file(path: str) -> tuple[_Descriptor, mmap.mmap | None, np.ndarray]:
    """Return a file's descriptor, its mapping (None if empty) and its bytes, uint8 (n,), read-only.

    Raises:
        UserError: it cannot be read.
    """
    try:
        descriptor = _Descriptor(os.open(path, OPEN_FLAGS))
        size = os.fstat(descriptor.number).st_size
        mapped = mmap.mmap(descriptor.number, size, access=mmap.ACCESS_READ) if size else None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return descriptor, mapped, np.frombuffer(mapped if mapped is not None else b"", np.uint8)
