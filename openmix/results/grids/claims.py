"""Who may run what: an entry of a study is claimed by a file lock, which the system frees with whoever holds it."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from openmix.errors import UserError

__all__ = ["Claim", "is_locked", "owner_of"]

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Claim:
    """One entry that this queue may run, and no other.

    The lock is ``flock``'s, as filelock's (which has no public way to its descriptor), and belongs to the open file: a
    process that inherits the descriptor keeps the claim, even when the queue that took it was killed.

    Attributes:
        descriptor: to be inherited by the run's process.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> "Claim | None":
        """Take the claim whose lock file is ``path``; None where another process has it.

        The file is never removed: whoever waits for it would then lock one that nobody else can find.

        Raises:
            UserError: the file cannot be made, or its file system has no locks.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            what = "has no file locks" if error.errno in NO_LOCKS else f"refuses a lock ({error.strerror})"
            raise UserError(f"the file system of {path.parent} {what}, and a queue needs them") from error
        return cls(descriptor)

    def release(self) -> None:
        """Let others have it, whoever has inherited the descriptor."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)


def is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock of a file, without making the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)


def owner_of(work_dir: Path) -> str:
    """Return which process trains in a work dir at present, such as ``process 7 on node1``; nothing where none does.

    A run writes its name as it locks the folder, and takes it away at the end. Only where there is one is the lock
    tried: for that moment nobody else could take it.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        owner = (work_dir / ".owner").read_text().strip()
        if is_locked(work_dir / ".lock"):
            return owner or "a process"
    return ""
