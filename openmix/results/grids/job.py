"""One entry of a study on one slot: a process, and another one if it crashes."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from openmix.errors import WriteError
from openmix.results.grids.board import Row
from openmix.results.grids.claims import Claim, owner_of
from openmix.results.grids.manifest import Entry
from openmix.results.grids.outcomes import Outcome
from openmix.results.grids.process import DATE, HERE, RunProcess, crashed, stopped
from openmix.results.grids.slots import Slot
from openmix.results.grids.states import is_finished, is_of, read_progress, read_record

__all__ = ["HELD", "Job"]

HELD = "held"  # not an entry's outcome: its work dir turned out to be another run's
TRIES = 2  # a run that crashes is tried once more


class Job:
    """A claimed entry that is being run.

    Args:
        entry: what to run.
        work_dir: where its results go.
        queue: the folder for its log and outcome.
        slot: where it runs.
        claim: held for it, and released at its end.
        command: makes the command line; given whether to resume.
        say: is told of what goes wrong meanwhile.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self, entry: Entry, work_dir: Path, queue: Path, slot: Slot, claim: Claim,
        command: Callable[[bool], Sequence[str]], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.entry, self.work_dir, self.slot, self.claim = entry, work_dir, slot, claim
        self.log, self._outcome_file = queue / f"{entry.name}.log", queue / f"{entry.name}.json"
        self._command, self._say = command, say
        before = Outcome.read(self._outcome_file)
        self.outcome = Outcome("running", attempts=before.attempts if before else 0)
        self.tries, self.began, self._stopping = 0, time.monotonic(), False
        self._top1: float | None = None  # of the last validation, which may be far back in the run's records
        self._first: tuple[float, float] | None = None  # when it was first seen to train, and where it was
        self._start()

    def _start(self) -> None:
        self._before = read_record(self.work_dir)  # until the process has written its own
        self.tries += 1
        attempts = self.outcome.attempts + 1
        # what is there of another config is not continued: without --resume, training moves it aside
        command = self._command(is_of(self._before, self.entry))
        title = f"{HERE}, {self.slot.name}, attempt {attempts}"
        self._process = RunProcess(command, self.slot.environment, self.log, title, self.claim.descriptor)
        where = f"process {self._process.pid} on {HERE}, {self.slot.name}"
        self._note(Outcome("running", attempts, where=where, started=time.strftime(DATE)))

    def _note(self, outcome: Outcome) -> None:
        self.outcome = outcome
        try:
            outcome.write(self._outcome_file)
        except WriteError as error:  # the run itself goes on
            self._say(str(error))

    def look(self) -> Outcome | None:
        """Return how the entry ended ('held': its work dir is another run's); None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        status, message = self._verdict(code)
        if status == "failed" and crashed(code) and self.tries < TRIES and not self._stopping:
            self._say(f"{self.entry.name} crashed (exit code {code}: {message}) and is tried once more")
            try:
                self._start()
                return None
            except OSError as error:
                message += f"; and cannot be started again: {error.strerror}"
        ended = time.strftime(DATE)
        self._note(replace(self.outcome, status=status, exit_code=code, message=message, ended=ended))
        return self.outcome

    def _verdict(self, code: int) -> tuple[str, str]:
        """Return what an exit code means for the entry, and why it failed."""
        if code == 0 and not is_finished(read_record(self.work_dir), self.entry):
            return "failed", f"it ended, but {self.work_dir} holds no finished run of it"
        if code == 0:
            return "done", ""
        if stopped(code) or (self._stopping and code == 128 + signal.SIGKILL):
            return "stopped", ""
        if code == 2 and (owner := owner_of(self.work_dir)):
            return HELD, owner
        return "failed", self._process.message(code)

    def row(self) -> Row:
        """Return what there is to show of it; no progress before it begins to train: what lies there may be old."""
        progress, left = None, None
        if read_record(self.work_dir) != self._before:
            progress = read_progress(self.work_dir)
            self._top1 = self._top1 if progress.top1 is None else progress.top1
            progress = replace(progress, top1=self._top1)
            self._first = self._first or (self.seconds, progress.done)
            seconds, done = self.seconds - self._first[0], progress.done - self._first[1]
            if progress.length and done > 0:
                left = (progress.length - progress.done) * seconds / done
        return Row(self.entry.name, self.slot.name, progress, self.seconds, left)

    @property
    def seconds(self) -> float:
        """Since this job began."""
        return time.monotonic() - self.began

    def stop(self) -> None:
        """Let it save and leave."""
        self._stopping = True
        self._process.stop()

    def kill(self) -> None:
        """End it at once; what it has saved stays."""
        self._stopping = True
        self._process.kill()
