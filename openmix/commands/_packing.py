"""Pack a listing into one RecordIO file: encoded by several processes, written in order by this one."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import IO, Any

from openmix.commands._parallel import Outcome, in_parallel
from openmix.data.recordio.encoding import Encoding, RecordEncoder
from openmix.data.recordio.index import index_path
from openmix.data.recordio.listing import Listing
from openmix.data.recordio.manifest import manifest_path, read_manifest
from openmix.data.recordio.writer import RecordWriter, journal_path, read_journal, temporary_path
from openmix.data.whole_files import write_whole
from openmix.errors import DamagedImageError, Reported, UserError

__all__ = ["Packer", "Packing"]

AHEAD = 16  # images for each process that may be encoded and not yet written


@dataclass(frozen=True)
class Packing:
    """What became of a listing.

    Attributes:
        path: the .rec.
        count: how many records it holds.
        written: how many images were read for it now; 0 where it was there.
        failures: path and reason of each image that could not be read.
        done: whether the .rec is there.
    """

    path: Path
    count: int
    written: int
    failures: list[str]
    done: bool


@dataclass(frozen=True)
class Packer:
    """Packs listings.

    Attributes:
        encoding: how the images are written.
        jobs: how many processes encode them.
        skip_bad: whether images that cannot be read are left out, or keep the file from being finished.
        force: whether a file of another set is written over.
        advance: is called for each image that is done.
    """

    encoding: Encoding
    jobs: int = 1
    skip_bad: bool = False
    force: bool = False
    advance: Callable[[int], None] = lambda done: None

    def __call__(self, listing: Listing, path: Path, options: dict[str, Any]) -> Packing:
        """Pack one listing.

        Args:
            listing: the images.
            path: the .rec.
            options: further ones for the manifest.

        Raises:
            UserError: it cannot be written, or holds another set.
            Stopped: a signal came.
        """
        options = {**self.encoding.options(), **options}
        fingerprint = listing.fingerprint(options)
        # the records are the same with and without, so this is no part of the fingerprint; but a part file of records
        # that nobody decoded is begun afresh
        noted = f"{fingerprint} checked" if self.encoding.checks else fingerprint
        try:
            with _locked(path):
                if done := self._finished(path, fingerprint, noted, len(listing)):
                    return done
                _recover(path, noted)
                return self._pack(listing, path, options, fingerprint, noted)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error}") from None

    def _finished(self, path: Path, fingerprint: str, noted: str, count: int) -> Packing | None:
        """Return what is said of a file that is there already.

        Raises:
            UserError: it is of another set, or its images were not decoded and should be.
        """
        if not path.exists() or read_journal(path, noted) is not None:
            return None
        try:
            manifest = read_manifest(path)
        except UserError:
            manifest = None
        same = manifest and manifest.fingerprint == fingerprint and index_path(path).exists()
        if manifest and same and path.stat().st_size == manifest.size:
            if self.encoding.checks and not manifest.options.get("checked"):
                if self.force:
                    return None
                raise UserError(f"{path} is there, and was packed without --check; --force packs it again")
            self.advance(count)
            return Packing(path, manifest.count, 0, [], True)
        if not self.force:
            raise UserError(f"{path} is there, and holds another set or was packed otherwise; --force writes over it")
        return None

    def _pack(self, listing: Listing, path: Path, options: dict[str, Any], fingerprint: str, noted: str) -> Packing:
        encoder = RecordEncoder(listing, self.encoding)
        limit = _still_failing(path, noted, encoder)
        with RecordWriter(path, noted, limit) as writer:
            start = len(writer.entries)
            self.advance(start)
            items = [str(number) for number in range(start, len(listing))]
            with contextlib.closing(_in_order(encoder, items, self.jobs)) as outcomes:
                for number, outcome in enumerate(outcomes, start):
                    key = int(listing.keys[number])
                    if outcome.error is None:
                        writer.write(key, *outcome.result)
                    elif isinstance(outcome.error, DamagedImageError):
                        writer.leave_out(key, outcome.error.reason)
                    else:
                        raise Reported(f"cannot pack {listing.path(number)}: {outcome.error}")
                    self.advance(1)
            failures = [
                f"{listing.path(number)}\t{entry.reason}"
                for number, entry in enumerate(writer.entries)
                if entry.digest is None
            ]
            count = len(listing) - len(failures)
            if not count or (failures and not self.skip_bad):
                return Packing(path, count, len(items), failures, False)
            manifest = writer.finish()
            kept = [number for number, entry in enumerate(writer.entries) if entry.digest is not None]
        manifest = replace(
            manifest,
            labels=listing.labels[kept, 0] if listing.labels.shape[1] == 1 else None,
            classes=listing.classes,
            histogram=listing.taken(kept).histogram(),
            options={**options, "checked": True} if self.encoding.checks else options,
            fingerprint=fingerprint,
        )
        write_whole(manifest_path(path), manifest.to_json().encode("utf-8", "surrogatepass"))
        journal_path(path).unlink()
        return Packing(path, count, len(items), failures, True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep others from writing the same file.

    Raises:
        UserError: somebody is.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    lock_path = path.with_name(f".{path.name}.lock")
    lock: IO[str]
    with open(lock_path, "a") as lock:
        try:
            # the processes inherit the lock: where this one is killed, it is held until they have stopped
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not lock_path.exists() or lock_path.stat().st_ino != os.fstat(lock.fileno()).st_ino:
                raise BlockingIOError  # it was removed between the two lines above
        except BlockingIOError:
            raise UserError(f"another openmix rec is writing {path}") from None
        try:
            yield
        finally:
            lock_path.unlink(missing_ok=True)


def _recover(path: Path, fingerprint: str) -> None:
    """Take back a .rec that was finished, when a kill came before its manifest was."""
    if path.exists() and not temporary_path(path).exists() and read_journal(path, fingerprint) is not None:
        os.replace(path, temporary_path(path))


def _still_failing(path: Path, fingerprint: str, encoder: RecordEncoder) -> int | None:
    """Return how many items of an earlier call are as they were: up to the first that failed and no longer does."""
    for number, entry in enumerate(read_journal(path, fingerprint) or ()):
        if entry.digest is None:
            try:
                encoder(str(number))
            except DamagedImageError:
                continue
            return number
    return None


def _in_order(function: Callable[[str], Any], items: list[str], jobs: int) -> Generator[Outcome, None, None]:
    """Yield what becomes of each item, in their order, with a limit on what waits for its turn.

    Whatever the sizes of the images: no process begins an item that is far ahead of the one that is written.
    """
    ahead = _Ahead(function, int(items[0]) if items else 0, max(32, AHEAD * jobs))
    waiting: dict[str, Outcome] = {}
    with in_parallel(ahead, items, jobs) as outcomes, contextlib.ExitStack() as leaving:
        # before the processes are waited for, as those that wait for their turn would not end
        leaving.callback(setattr, ahead.written, "value", sys.maxsize // 2)
        for item in items:
            while item not in waiting:
                outcome = next(outcomes, None)
                if outcome is None:
                    raise Reported("the processes ended early; the same command goes on from here")
                waiting[outcome.item] = outcome
            ahead.written.value = int(item) + 1
            yield waiting.pop(item)


class _Ahead:
    """Calls a function once its item's turn is near enough."""

    def __init__(self, function: Callable[[str], Any], start: int, window: int) -> None:
        self.function = function
        self.window = window
        self.written: Any = RawValue("q", start)  # this process writes it, the others read it: no lock is needed
        self.parent = os.getpid()

    def __call__(self, item: str) -> Any:
        while int(item) > self.written.value + self.window:
            if os.getppid() != self.parent:
                sys.exit()
            time.sleep(0.002)
        return self.function(item)
