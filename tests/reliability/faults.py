"""Lets the k-th change that a function makes to the disk be its process's last, or fail."""

import builtins
import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from openmix.engine.checkpoint_folder import CheckpointFolder
from openmix.engine.distributed import World
from openmix.engine.records import MetricsFile, write_json
from openmix.engine.work_dir import held
from openmix.errors import Reported

DIED = 99
# what Python tells its audit hooks of, and the arguments that are paths
CHANGES = {"os.rename": 2, "os.link": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.truncate": 1}
NEEDS_SPACE = ("open", "write", "os.link", "os.mkdir", "os.truncate")


class Faults:
    """Counts the changes below a folder and harms one of them.

    Names, opened files and removals are seen by an audit hook, which no code gets past; fsync and write by wrappers.
    Nothing is really synced: the death of a process takes nothing from the system's memory, and tests want to be quick.

    Args:
        folder: changes elsewhere do not count.
        moment: which of them, from 0; None harms none.
        fault: 'die' ends the process before it, as SIGKILL would; 'fail' lets it raise ENOSPC; 'full' lets it, and
            after it all that needs space.
    """

    def __init__(self, folder: str, moment: int | None, fault: str) -> None:
        self.folder, self.moment, self.fault = os.path.abspath(folder), moment, fault
        self.seen: list[str] = []
        self.armed = True
        self._open = io.open
        os.fsync = self._checked_fsync
        io.open = builtins.open = self._checked_open
        sys.addaudithook(self._audit)

    def change(self, kind: str, *paths: Any) -> None:
        """Be told that a change is about to happen."""
        # a file that is open is told by its number
        places = [os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else path for path in paths]
        names = [os.path.abspath(os.fsdecode(path)) for path in places]
        if not self.armed or not any(name.startswith(self.folder) for name in names):
            return
        self.seen.append(f"{kind} {' '.join(map(os.path.basename, names))}")
        now = len(self.seen) - 1
        if now == self.moment and self.fault == "die":
            os._exit(DIED)
        later = self.fault == "full" and self.moment is not None and now > self.moment and kind in NEEDS_SPACE
        if now == self.moment or later:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), names[-1])

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not isinstance(path, int):
                self.change("open", path)
        elif event in CHANGES:
            self.change(event, *arguments[: CHANGES[event]])

    def _checked_fsync(self, file: int) -> None:
        self.change("fsync", os.readlink(f"/proc/self/fd/{file}"))

    def _checked_open(self, file: Any, mode: str = "r", *others: Any, **named: Any) -> Any:
        opened = self._open(file, mode, *others, **named)
        return opened if isinstance(file, int) or set(mode) <= set("rbt") else _Checked(opened, str(file), self)


class _Checked:
    """A file whose writes are counted, and cut in the middle where they are harmed."""

    def __init__(self, file: Any, name: str, faults: Faults) -> None:
        self._file, self._name, self._faults = file, name, faults

    def write(self, data: Any) -> int:
        half = len(data) // 2
        written = self._file.write(data[:half])
        try:
            if self._faults.fault == "die" and len(self._faults.seen) == self._faults.moment:
                self._file.flush()
            self._faults.change("write", self._name)
        except OSError:
            self._file.flush()
            raise
        return written + self._file.write(data[half:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Checked":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.close()


def content(step: int) -> dict[str, Any]:
    """Return a checkpoint's content whose tensor tells its step."""
    values = {"timeline": [[0, 10]], "seed": 0, "best": 0.0, "metrics": {}, "ema": None, "scaler": {}, "hooks": {}}
    values |= {"optimizer": {"state": {}, "param_groups": []}, "averages": {"count": 0, "totals": None}}
    return {**values, "step": step, "model": {"w": torch.full((300,), float(step))}}


def save(folder: str, step: int, is_best: bool, max_keep: int) -> None:
    """Save the checkpoint of a step, ten steps an epoch."""
    CheckpointFolder(folder, max_keep).save(f"epoch_{step // 10}.pth", content(step), is_best)


def rewind(folder: str, step: int, aside: str) -> None:
    """Go back to a step."""
    CheckpointFolder(folder).rewind(step, Path(aside))


def hold(folder: str, step: int | None) -> None:
    """Take a work dir, for a fresh run or to continue after a step, and give it back."""
    with held(Path(folder), step, World()):
        pass


def keep_until(folder: str, step: int) -> None:
    """Drop the records of later steps."""
    MetricsFile(Path(folder) / "metrics.jsonl").keep_until(step)


def replace_json(folder: str, content: dict[str, Any]) -> None:
    """Write ``run.json``."""
    write_json(Path(folder) / "run.json", content)


FUNCTIONS = {f.__name__: f for f in (save, rewind, hold, keep_until, replace_json)}


def call_with_fault(
    rank: int, ranks: int, name: str, arguments: dict[str, Any], watched: str, moment: int | None, fault: str
) -> int:
    """Call one of the functions above under :class:`Faults`; print what it changed, and what it raised."""
    faults, error, code = Faults(watched, moment, fault), "", 0
    try:
        FUNCTIONS[name](**arguments)
    except Reported as report:
        error, code = str(report), report.exit_code
    except OSError as system:  # of a part that leaves the message to its caller
        error, code = str(system), 1
    faults.armed = False
    print(json.dumps({"seen": faults.seen, "error": error}))
    return code
