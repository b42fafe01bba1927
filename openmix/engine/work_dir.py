"""The folder of a run: held by one run at a time, nothing in it overwritten."""

import contextlib
import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from openmix.engine.checkpoint import CheckpointFolder
from openmix.engine.distributed import World, main_only
from openmix.engine.records import MetricsFile, write_json
from openmix.errors import Reported, UserError

__all__ = ["held", "recorded"]

# what a run puts into its work dir; other files there are not its own, and stay
RUN_FILES = ("run.json", "config.py", "checkpoints", "metrics.jsonl", "train.log", "vis_data")
LOCK = ".lock"
DATE = "%Y-%m-%dT%H:%M:%S%z"


@contextlib.contextmanager
def held(work_dir: Path, step: int | None, world: World) -> Iterator[None]:
    """Keep the work dir for a run that continues after ``step`` what is there, or for another one (None).

    What is not continued, an earlier run or what it did after that step, is moved to ``earlier/N``.

    Raises:
        UserError: the folder cannot be written to, is another run's at present, or holds somebody's files.
    """
    locks: list[IO[str]] = []

    def take() -> None:
        try:
            work_dir.mkdir(parents=True, exist_ok=True)
            locks.append(_lock(work_dir / LOCK))
            _make_room(work_dir, step)
        except OSError as error:
            reason = f"cannot write to work dir {work_dir}: {error.strerror}"
            raise UserError(f"{reason}; name another with --work-dir") from error

    try:
        main_only(world, take)
        yield
    finally:
        for lock in locks:  # the system does this for a process that is killed
            lock.close()


def _lock(path: Path) -> IO[str]:
    file = open(path, "a+")  # noqa: SIM115  held until the run ends
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip()
        file.close()
        raise UserError(f"another run is writing to {path.parent} ({owner}); name another with --work-dir") from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def _make_room(work_dir: Path, step: int | None) -> None:
    checkpoints = CheckpointFolder(work_dir / "checkpoints")
    if step is not None:
        if checkpoints.after(step):
            aside = _aside(work_dir)
            checkpoints.rewind(step, aside)
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(work_dir / "metrics.jsonl", aside)
        MetricsFile(work_dir / "metrics.jsonl").keep_until(step)
        return
    old = [path for name in RUN_FILES if (path := work_dir / name).exists()]
    if old and old[0].name != "run.json":
        names = ", ".join(path.name for path in old)
        raise UserError(f"{work_dir} holds {names}, which no run of openmix left there; name another with --work-dir")
    if old:
        aside = _aside(work_dir)
        for path in reversed(old):  # run.json last: it says that the others are a run's
            shutil.move(path, aside / path.name)


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
    (work_dir / "config.py").write_text(config)
    status = "failed"
    try:
        yield
        status = "done"
    except Reported as report:
        status = "stopped" if report.exit_code == 75 else "failed"
        raise
    finally:
        write_json(work_dir / "run.json", {**record, "status": status, "end_time": time.strftime(DATE)})
