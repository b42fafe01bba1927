"""A user's hooks that the tests of reliability put into a run: one tells what the run is doing, two harm its disk.

Configs name this module in ``custom_imports``; the processes that train have its folder on their path.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from openmix.registry import HOOKS

LENGTH = 48  # of a note: always written over as a whole


@HOOKS.register_module()
class NotePhases(Hook):
    """Notes the phase that a process is in where a SIGKILL cannot take it away.

    Args:
        folder: where ``phase0``, ``phase1``, ... are written, one a rank.
    """

    priority = "LOWEST"  # so that a step ends with the last hook's part in it

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def before_run(self, runner: Any) -> None:
        """Begin to note; a save and a record have no hook points at both ends."""
        self.file = os.open(self.folder / f"phase{runner.rank}", os.O_WRONLY | os.O_CREAT, 0o600)
        self.note("start", runner)
        runner.save = self.noted("save", runner.save, runner)
        runner.reporter.train = self.noted("log", runner.reporter.train, runner)

    def note(self, phase: str, runner: Any) -> None:
        """Write the phase down."""
        os.pwrite(self.file, f"{os.getpid()} {phase} {runner.iter}\n".rjust(LENGTH).encode(), 0)

    def noted(self, phase: str, function: Any, runner: Any) -> Any:
        """Return the function with notes around it."""

        def call(*arguments: Any) -> Any:
            self.note(phase, runner)
            result = function(*arguments)
            self.note("between", runner)
            return result

        return call

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Note that a step begins."""
        self.note("step", runner)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Note that it ends."""
        self.note("between", runner)

    def before_val(self, runner: Any) -> None:
        """Note that a validation begins."""
        self.note("validate", runner)

    def after_val(self, runner: Any) -> None:
        """Note that it ends."""
        self.note("between", runner)


class _Once(Hook):
    """Does some harm after a step, or just before the checkpoint of that step, if the file ``armed`` is there.

    Rank 0 does it, the one that writes.

    Args:
        armed: removed when it is done, so that the resumed run is spared.
        step: after which one.
        at_save: whether the step's log record is to be written before.
    """

    def __init__(self, armed: str, step: int, at_save: bool = False) -> None:
        self.armed, self.step, self.at_save = Path(armed), step, at_save

    def harm(self, runner: Any) -> None:
        """Do it."""
        raise NotImplementedError

    def _at(self, step: int, runner: Any) -> None:
        if runner.rank == 0 and step == self.step and self.armed.exists():
            self.armed.unlink()
            self.harm(runner)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Do it before the record of the step is written."""
        if not self.at_save:
            self._at(runner.iter + 1, runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Do it after that."""
        if self.at_save:
            self._at(runner.iter, runner)


@HOOKS.register_module()
class FillDisk(_Once):
    """Fills the disk of the work dir with ``ballast``, but for so many bytes.

    Args:
        leave: bytes that stay free.
        pad: a file of the work dir that is first padded to whole pages, so that its next line needs a new one.
    """

    def __init__(self, leave: int = 0, pad: str | None = None, **when: Any) -> None:
        super().__init__(**when)
        self.leave, self.pad = leave, pad

    def harm(self, runner: Any) -> None:
        """Fill it."""
        work_dir = Path(runner.work_dir)
        if self.pad is not None:
            with open(work_dir / self.pad, "a") as file:
                file.write(" " * (-file.tell() % os.sysconf("SC_PAGESIZE") - 1) + "\n")
        free = os.statvfs(work_dir)
        (work_dir.parent / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize - self.leave))


@HOOKS.register_module()
class RemoveWorkDir(_Once):
    """Removes the work dir with all that is in it."""

    def harm(self, runner: Any) -> None:
        """Remove it."""
        shutil.rmtree(runner.work_dir)
