"""Write records one after another, such that a file that has its name is whole, and go on where a kill ended it."""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

import numpy as np

from openmix.data.recordio.format import FramingError, join_parts, pack_record, read_record
from openmix.data.recordio.index import format_index, index_path
from openmix.data.recordio.manifest import DIGEST_SIZE, Manifest, digest, manifest_path, read_manifest
from openmix.data.recordio.reader import map_file
from openmix.data.whole_files import write_whole
from openmix.errors import UserError

__all__ = ["Entry", "RecordWriter", "journal_path", "read_journal", "temporary_path", "write_records"]


class Entry(NamedTuple):
    """What became of one item: a record with this digest, or nothing, for a reason."""

    key: int
    digest: bytes | None
    reason: str = ""


def temporary_path(path: str | os.PathLike[str]) -> Path:
    """Return where a .rec is written until it is whole: ``train.rec.part``."""
    return Path(f"{os.fspath(path)}.part")


def journal_path(path: str | os.PathLike[str]) -> Path:
    """Return where is noted what the temporary file holds: ``train.rec.part.log``."""
    return Path(f"{os.fspath(path)}.part.log")


def read_journal(path: str | os.PathLike[str], fingerprint: str) -> list[Entry] | None:
    """Return what an earlier writer noted; None if there was none, or one of something else.

    Notes end where the first damaged one is.
    """
    try:
        head, *lines = journal_path(path).read_text("utf-8", "surrogateescape").split("\n")
    except OSError:
        return None
    entries = []
    for line in lines[:-1]:  # what follows the last line's end is none, or a part of one
        key, _, rest = line.partition("\t")
        found, _, reason = rest.partition("\t")
        try:
            entries.append(Entry(int(key), None if found == "-" else bytes.fromhex(found), reason))
        except ValueError:
            break
    return entries if head == fingerprint else None


class RecordWriter:
    """Writes a .rec and its index; with :meth:`finish` they get their names, the .rec first.

    Left without ``finish``, what was written stays at ``PATH.part``. With a fingerprint, a writer with the same one
    goes on there: its records are read again and compared with what the first writer noted of them.

    Args:
        path: the .rec.
        fingerprint: of what is written, one line; '' starts afresh.
        limit: of how many items to take over at most.

    Attributes:
        path: as given.
        entries: what has been written or left out, in order; at first, what was taken over.

    Raises:
        UserError: ``path`` with .json is there and no manifest, which would be lost.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RecordWriter(f"{folder}/a.rec") as writer:
    ...         writer.write(0, b"abc")
    ...         manifest = writer.finish()
    ...     manifest.count, manifest.size, sorted(os.listdir(folder))
    (1, 12, ['a.idx', 'a.rec'])
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: str = "", limit: int | None = None) -> None:
        self.path = Path(path)
        if manifest_path(path).exists() and read_manifest(path) is None:
            raise UserError(f"{manifest_path(path)} is there, and no manifest of a .rec; move it, or take another name")
        self.entries: list[Entry] = []
        self._offsets: list[int] = []
        self._sha256 = hashlib.sha256()
        self._size = 0
        noted = read_journal(path, fingerprint) if fingerprint else None
        self._take_over((noted or [])[:limit])
        self._file: IO[bytes] = open(temporary_path(path), "r+b" if self._size else "wb")  # noqa: SIM115
        self._file.truncate(self._size)
        self._file.seek(self._size)
        self._journal: IO[str] | None = None
        if fingerprint:
            lines = "".join(map(_line, self.entries))
            write_whole(journal_path(path), f"{fingerprint}\n{lines}".encode("utf-8", "surrogateescape"))
            self._journal = open(journal_path(path), "a", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115

    def _take_over(self, noted: Iterable[Entry]) -> None:
        """Take those entries whose records are there, up to the first that is not."""
        try:
            buffer = map_file(str(temporary_path(self.path)))[2]
        except UserError:
            buffer = np.zeros(0, np.uint8)
        for entry in noted:
            if entry.digest is None:
                self.entries.append(entry)
                continue
            try:
                record = read_record(buffer, self._size)
            except FramingError:
                return
            if digest(join_parts(buffer, record.spans)) != entry.digest:
                return
            self._note(entry, buffer[self._size : record.end])

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.close()

    def write(self, key: int, data: bytes, data_digest: bytes | None = None) -> None:
        """Append a record.

        Args:
            key: of the index; each at most once.
            data: of the record.
            data_digest: :func:`openmix.data.recordio.manifest.digest` of the data, where it is known.
        """
        record = pack_record(data)
        self._file.write(record)
        self._note(Entry(key, data_digest or digest(data)), record)
        self._write_journal()

    def leave_out(self, key: int, reason: str) -> None:
        """Note that an item has no record."""
        self.entries.append(Entry(key, None, " ".join(reason.split())))
        self._write_journal()

    def _note(self, entry: Entry, record: bytes | np.ndarray) -> None:
        self.entries.append(entry)
        self._offsets.append(self._size)
        self._sha256.update(record if isinstance(record, bytes) else record.data)
        self._size += len(record)

    def _write_journal(self) -> None:
        if self._journal:
            self._file.flush()
            self._journal.write(_line(self.entries[-1]))
            self._journal.flush()

    def finish(self) -> Manifest:
        """Give the files their names, and return the manifest, without classes and options; it is not written.

        An index or manifest that is there is another set's: it goes before the .rec does. The journal is left to
        whoever writes the manifest.

        Raises:
            ValueError: two records have one key.
        """
        written = [entry for entry in self.entries if entry.digest is not None]
        keys = np.array([entry.key for entry in written], np.int64)
        if len(np.unique(keys)) < len(keys):
            raise ValueError("two records have the same key")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        index = format_index(keys, np.array(self._offsets, np.int64))
        for file in (manifest_path(self.path), index_path(self.path)):
            file.unlink(missing_ok=True)
        os.replace(temporary_path(self.path), self.path)
        write_whole(index_path(self.path), index)
        digests = np.frombuffer(b"".join(entry.digest or b"" for entry in written), np.uint8).reshape(
            len(keys), DIGEST_SIZE
        )
        return Manifest(len(keys), self._size, self._sha256.hexdigest(), hashlib.sha256(index).hexdigest(), digests)

    def close(self) -> None:
        """Stop writing."""
        for file in (self._file, self._journal):
            if file:
                file.close()


def _line(entry: Entry) -> str:
    return f"{entry.key}\t{'-' if entry.digest is None else entry.digest.hex()}\t{entry.reason}\n"


def write_records(path: str | os.PathLike[str], records: Iterable[tuple[int, bytes]]) -> None:
    """Write a .rec and its .idx of ``(key, data)``.

    Raises:
        UserError: the files cannot be written.
    """
    try:
        with RecordWriter(path) as writer:
            for key, data in records:
                writer.write(key, data)
            writer.finish()
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            temporary_path(path).unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error}") from None
