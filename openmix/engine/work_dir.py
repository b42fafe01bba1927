"""The folder of a run: held by one run at a time, nothing in it overwritten."""

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from openmix.engine.checkpoint_folder import CheckpointFolder
from openmix.engine.distributed import World, main_only
from openmix.engine.files import write_atomically, writing
from openmix.engine.records import MetricsFile, write_json
from openmix.errors import Reported, UserError, WriteError

__all__ = ["cannot_hold", "held", "recorded"]

# what a run puts into its work dir; other files there are not its own, and stay
RUN_FILES = ("run.json", "config.py", "checkpoints", "metrics.jsonl", "train.log", "vis_data", "nonfinite", "profile")
RUN_FOLDERS = ("checkpoints", "vis_data", "nonfinite", "profile")
LOCK, OWNER = ".lock", ".owner"
DATE = "%Y-%m-%dT%H:%M:%S%z"


@contextlib.contextmanager
def held(work_dir: Path, step: int | None, world: World, needs: int = 0) -> Iterator[list[str]]:
    """Keep the work dir for a run that continues after ``step`` what is there, or for another one (None).

    What is not continued, an earlier run or what it did after that step, is moved to ``earlier/N``.

    Args:
        work_dir: made where it is missing.
        step: the last one of the checkpoint that is continued.
        world: only its rank 0 does anything.
        needs: bytes that a checkpoint takes at least.

    Yields:
        What there is to say of what was found there.

    Raises:
        UserError: the folder cannot be written to, has not enough space for a checkpoint, is another run's at present,
            or holds somebody's files.
    """
    locks: list[FileLock] = []
    warnings: list[str] = []

    def take() -> None:
        try:
            work_dir.mkdir(parents=True, exist_ok=True)
            _check_kinds(work_dir)
            locks.append(_lock(work_dir))
            _check_space(work_dir, needs)
            warnings.extend(_make_room(work_dir, step))
        except OSError as error:
            reason = f"cannot write to work dir {work_dir}: {error.strerror}"
            raise UserError(f"{reason}; name another with --work-dir") from error
        except WriteError as error:
            raise UserError(f"{error}; name another work dir with --work-dir") from error

    try:
        main_only(world, take)
        yield warnings
    finally:
        for lock in locks:  # the system does this for a process that is killed
            with contextlib.suppress(OSError):  # the folder may have gone
                (work_dir / OWNER).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                lock.release()


def _check_kinds(work_dir: Path) -> None:
    """Raise UserError where something else than a run leaves behind has the name of what it does: a pipe, a device."""
    for name in (*RUN_FILES, LOCK, OWNER):
        path, expected = work_dir / name, "folder" if name in RUN_FOLDERS else "file"
        right = path.is_dir() if expected == "folder" else path.is_file()
        if os.path.lexists(path) and not right:
            raise UserError(f"{path} is no {expected}, and a run would have one there; name another with --work-dir")


def _lock(work_dir: Path) -> FileLock:
    """Lock the folder for this process: the system frees the lock with the process, however that ends."""
    lock, owner = FileLock(work_dir / LOCK, timeout=0), work_dir / OWNER
    try:
        lock.acquire()
    except NotImplementedError:
        raise UserError(f"{work_dir} lies on a file system without locks; name another with --work-dir") from None
    except Timeout:
        with contextlib.suppress(OSError):
            whose = f" ({owner.read_text().strip()})"
            raise UserError(f"another run is writing to {work_dir}{whose}; name another with --work-dir") from None
        raise UserError(f"another run is writing to {work_dir}; name another with --work-dir") from None
    owner.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
    return lock


def cannot_hold(work_dir: Path) -> str:
    """Say why a run could not use a work dir, without touching it; nothing where it seems to be able to."""
    existing = next(path for path in (work_dir, *work_dir.absolute().parents) if path.exists())
    if not existing.is_dir():
        return f"work dir {work_dir} cannot be made: {existing} is a file"
    return "" if os.access(existing, os.W_OK | os.X_OK) else f"work dir {work_dir} cannot be written to"


def _check_space(work_dir: Path, needs: int) -> None:
    """Raise UserError where not even one checkpoint fits beside what is there."""
    free = shutil.disk_usage(work_dir).free
    if free < needs:
        raise UserError(
            f"work dir {work_dir} has {free / 1e6:,.1f} MB free, and a checkpoint takes {needs / 1e6:,.1f} MB or more: "
            "free some, or name another with --work-dir"
        )


def _make_room(work_dir: Path, step: int | None) -> list[str]:
    """Set aside what is not continued, and return what there is to say of it."""
    for left_by_a_kill in (path for name in ("run.json", "metrics.jsonl") for path in work_dir.glob(f".{name}.*.tmp")):
        left_by_a_kill.unlink()
    if step is not None:
        return _go_on(work_dir, step)
    old = [path for name in RUN_FILES if (path := work_dir / name).exists()]
    old += work_dir.glob("train_rank*.log")
    if old and old[0].name != "run.json":
        names = ", ".join(path.name for path in old)
        raise UserError(f"{work_dir} holds {names}, which no run of openmix left there; name another with --work-dir")
    if old:
        aside = _aside(work_dir)
        for path in reversed(old):  # run.json last: it says that the others are a run's
            shutil.move(path, aside / path.name)
    return []


def _go_on(work_dir: Path, step: int) -> list[str]:
    """Set aside what came after ``step``."""
    checkpoints, metrics = CheckpointFolder(work_dir / "checkpoints"), MetricsFile(work_dir / "metrics.jsonl")
    damaged = metrics.damaged()
    if damaged or checkpoints.after(step):
        aside = _aside(work_dir)
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(metrics.path, aside)
        checkpoints.rewind(step, aside)
    metrics.keep_until(step)
    lines = "a line that is" if damaged == 1 else f"{damaged} lines that are"
    return [f"{metrics.path} had {lines} no record; the file as it was is in {aside}"] if damaged else []


def _aside(work_dir: Path) -> Path:
    taken = [int(path.name) for path in (work_dir / "earlier").glob("*") if path.name.isdigit()]
    aside = work_dir / "earlier" / str(max(taken, default=0) + 1)
    aside.mkdir(parents=True)
    return aside


@contextlib.contextmanager
def recorded(work_dir: Path, config: str, record: Mapping[str, Any], world: World) -> Iterator[None]:
    """Keep ``run.json``, whose status follows the run, and ``config.py``."""
    if not world.is_main:
        yield
        return
    write_json(work_dir / "run.json", record)
    with writing(work_dir / "config.py"):
        write_atomically(work_dir / "config.py", lambda beside: beside.write_text(config))
    status = "failed"
    try:
        yield
        status = "done"
    except Reported as report:
        status = "stopped" if report.exit_code == 75 else "failed"
        raise
    finally:
        ended = {**record, "status": status, "end_time": time.strftime(DATE)}
        # what made the run fail is to be reported, not that this cannot be written either
        with contextlib.nullcontext() if status == "done" else contextlib.suppress(WriteError):
            write_json(work_dir / "run.json", ended)
