"""Writing files of a run: whole or not at all, on the disk before the name points to it, with a clear word if not."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from openmix.errors import WriteError

__all__ = ["HashingFile", "sha256", "write_atomically", "writing"]


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn what the system says while ``path`` is written into one message.

    Raises:
        WriteError: for an OSError inside.
    """
    try:
        yield
    except OSError as error:
        kept = "what was there before is kept" if Path(path).parent.exists() else "its folder is gone"
        raise WriteError(f"cannot write {path}: {error.strerror or error}; {kept}") from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file beside ``path``, sync it, and put it in its place in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.unlink(missing_ok=True)  # a kill's, under a number that comes again, may be a link to another checkpoint
    try:
        write(beside)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class HashingFile:
    """A file to write to, which computes the SHA-256 of what it is given on the way.

    Args:
        file: open for writing.

    Attributes:
        digest: so far.
        size: bytes so far.
        error: what the system said when it refused; whoever writes may turn it into something less clear.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write bytes and return how many."""
        self.digest.update(data)
        try:
            written = self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.size += written
        return written

    def flush(self) -> None:
        """Hand over to the system what is buffered."""
        try:
            self._file.flush()
        except OSError as error:
            self.error = error
            raise


def sha256(path: Path) -> str:
    """Return a file's SHA-256."""
    with open(path, "rb") as file:
        if hasattr(hashlib, "file_digest"):
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()  # Python 3.10
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()
