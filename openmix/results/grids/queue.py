"""The queue over a study's runs: several at a time, each until it is done or has failed, beside other queues."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from openmix.errors import UserError
from openmix.results.grids.board import Board, View
from openmix.results.grids.claims import Claim, is_locked, owner_of
from openmix.results.grids.job import HELD, Job
from openmix.results.grids.manifest import Entry, Manifest
from openmix.results.grids.outcomes import Outcome
from openmix.results.grids.pace import Pace, clock
from openmix.results.grids.slots import Slot
from openmix.results.grids.states import is_finished, is_of, read_progress, read_record, saved_place
from openmix.results.grids.stopping import StopRequest

__all__ = ["QUEUE", "Queue", "state_of"]

QUEUE = "queue"  # the study's folder of claims, logs and outcomes
POLL = 0.2  # seconds between two looks at the runs
SHOW = 1.0  # seconds between two looks at how far they are
AGAIN = 2.0  # seconds until an entry that another process holds is looked at again


class Queue:
    """Runs the entries of a study that are not finished.

    Args:
        manifest: the study.
        entries: of it, in the order in which to run them.
        slots: where.
        command: makes an entry's command line; given whether to resume.
        board: what is shown.

    Attributes:
        ended: by name, how each entry ended: 'done' or 'failed'.

    Raises:
        UserError: the study's folder cannot be written to.
    """

    def __init__(
        self, manifest: Manifest, entries: Sequence[Entry], slots: Sequence[Slot],
        command: Callable[[Entry, bool], Sequence[str]], board: Board,
    ) -> None:  # fmt: skip
        self.manifest, self.entries, self.command, self.board = manifest, entries, command, board
        self.folder = manifest.folder / QUEUE
        self._make_folder()
        self.free, self.jobs = list(slots), list[Job]()
        self.ended: dict[str, Outcome] = {}
        # a failure that is recorded already is an earlier queue's, and is tried again; later ones count
        self.earlier = {entry.name: self._outcome(entry) for entry in entries}
        self.due = {entry.name: 0.0 for entry in entries}  # when to look at an entry that waits
        self.said: set[str] = set()  # names of those that are known to be held
        self.pace = Pace(self.due)

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
            for entry in self.entries:
                self._file(entry, "lock").touch()
        except OSError as error:
            raise UserError(f"cannot write to {self.folder}: {error.strerror}") from error

    def _file(self, entry: Entry, suffix: str) -> Path:
        return self.folder / f"{entry.name}.{suffix}"

    def _outcome(self, entry: Entry) -> Outcome | None:
        return Outcome.read(self._file(entry, "json"))

    def run(self) -> StopRequest:
        """Run until all has ended or a signal has come; return which."""
        for entry in self.entries:
            work_dir = self.manifest.work_dir(entry)
            record = read_record(work_dir)
            if is_of(record, entry):
                self.pace.set(entry.name, read_progress(work_dir))
            if is_finished(record, entry):
                self._end(entry, Outcome("done"))
        if self.ended:
            self._say(f"{len(self.ended)} done before")
        self.pace.begin()
        try:
            with StopRequest() as stop:
                self._loop(stop)
            return stop
        finally:  # in the end there is none; an error of ours must not leave runs without a queue
            for job in self.jobs:
                job.stop()

    def _loop(self, stop: StopRequest) -> None:
        shown, told = -SHOW, 0
        while self.jobs or not (stop.times or len(self.ended) == len(self.entries)):
            if stop.times > told:
                told = stop.times
                self._stop(stop)
            for job in list(self.jobs):
                self._look(job)
            while self.free and not stop.times and self._start_one():
                pass
            if time.monotonic() - shown >= SHOW:
                shown = time.monotonic()
                self.board.show(self._view())
            time.sleep(POLL)
        self.board.show(self._view())

    def _stop(self, stop: StopRequest) -> None:
        if stop.at_once:
            self._say(f"{stop.name} again: runs are killed")
        elif number := len(self.jobs):
            hint = "; Ctrl-C again to kill them" if stop.name == "SIGINT" else ""
            self._say(f"{stop.name}: waiting for {number} run{'s' if number > 1 else ''} to save{hint}")
        for job in self.jobs:
            if stop.at_once:
                job.kill()
            else:
                job.stop()

    def _start_one(self) -> bool:
        """Start the next entry that nobody else runs; tell whether there may be more to look at now."""
        now = time.monotonic()
        running = {job.entry.name for job in self.jobs}
        for entry in self.entries:
            if entry.name not in self.ended and entry.name not in running and self.due[entry.name] <= now:
                self._consider(entry)
                return True
        return False

    def _consider(self, entry: Entry) -> None:
        """Take an entry if nobody else has it, and start it if nobody else has ended it meanwhile."""
        claim = Claim.take(self._file(entry, "lock"))
        outcome, work_dir = self._outcome(entry), self.manifest.work_dir(entry)
        if claim is None:
            self._wait(entry, outcome.where if outcome else "another queue")
            return
        if is_finished(read_record(work_dir), entry):
            self._end(entry, Outcome("done"))
            self._say(f"done {entry.name}, by another queue")
        elif outcome is not None and outcome.status == "failed" and outcome != self.earlier[entry.name]:
            self._end(entry, outcome)
            self._say(f"failed {entry.name}, in another queue: {outcome.reason}")
        elif owner := owner_of(work_dir):
            self._wait(entry, owner)
        else:
            self._start(entry, claim)
            return
        claim.release()

    def _start(self, entry: Entry, claim: Claim) -> None:
        slot, work_dir = self.free.pop(0), self.manifest.work_dir(entry)
        saved = saved_place(work_dir) if is_of(read_record(work_dir), entry) else ""
        try:
            job = Job(entry, work_dir, self.folder, slot, claim, lambda r: self.command(entry, r), self._say)
        except OSError as error:
            why = f"cannot start it: {error.strerror}{f': {error.filename}' if error.filename else ''}"
            self._end(entry, Outcome("failed", exit_code=1, message=why))
            self._say(f"failed {entry.name}: {why}")
            self.free.insert(0, slot)
            claim.release()
            return
        self.said.discard(entry.name)
        self.jobs.append(job)
        self._say(f"started {entry.name} on {slot.name}{f', from {saved}' if saved else ''}")

    def _wait(self, entry: Entry, owner: str) -> None:
        """Look at an entry again later: another process has it."""
        self.due[entry.name] = time.monotonic() + AGAIN
        self.pace.set(entry.name, read_progress(self.manifest.work_dir(entry)))
        if entry.name not in self.said:
            self.said.add(entry.name)
            self._say(f"{entry.name} is held by {owner}")

    def _look(self, job: Job) -> None:
        """See whether a run has ended, and what that means."""
        outcome = job.look()
        if outcome is None:
            return
        self.jobs.remove(job)
        self.free.insert(0, job.slot)
        job.claim.release()
        if outcome.status in ("done", "failed"):
            self.pace.set(job.entry.name, read_progress(job.work_dir))
            self._end(job.entry, outcome)
            self._say_end(job, outcome)
        elif outcome.status == HELD:
            self._wait(job.entry, outcome.message)
        else:
            self._say(f"stopped {job.entry.name} at {read_progress(job.work_dir).place}")

    def _end(self, entry: Entry, outcome: Outcome) -> None:
        self.ended[entry.name] = outcome
        self.pace.end(entry.name)

    def _say_end(self, job: Job, outcome: Outcome) -> None:
        name, took = job.entry.name, clock(job.seconds)
        if outcome.status == "failed":
            self._say(f"failed {name} after {took}: {outcome.reason}; see {job.log}")
            return
        top1 = read_progress(job.work_dir).top1
        figure = "" if top1 is None else f" top1 {top1:.2f}"
        self._say(f"done {name}{figure} in {took}; ETA {clock(self.pace.seconds_left())}")

    def _say(self, text: str) -> None:
        self.board.say(f"{len(self.ended)}/{len(self.entries)} {text}")

    def _view(self) -> View:
        rows = [job.row() for job in self.jobs]
        for row in rows:
            if row.progress is not None:
                self.pace.set(row.name, row.progress)
        failed = [(name, outcome.reason) for name, outcome in self.ended.items() if outcome.status == "failed"]
        held = sum(name not in self.ended for name in self.said)
        done = len(self.ended) - len(failed)
        return View(len(self.entries), done, failed, held, rows, self.pace.seconds_left())


def state_of(manifest: Manifest, entry: Entry) -> str:
    """Say what a queue would find of an entry, without touching anything."""
    folder, work_dir = manifest.folder / QUEUE, manifest.work_dir(entry)
    record, outcome = read_record(work_dir), Outcome.read(folder / f"{entry.name}.json")
    place = read_progress(work_dir).place
    if is_finished(record, entry):
        return "done"
    if is_locked(folder / f"{entry.name}.lock"):
        return f"held by {outcome.where if outcome else 'another queue'}, at {place}"
    if owner := owner_of(work_dir):
        return f"held by {owner}, at {place}"
    last = f"; failed last time: {outcome.reason}" if outcome and outcome.status == "failed" else ""
    if record and not is_of(record, entry):
        return f"to start afresh: what is there is of another config{last}"
    saved = saved_place(work_dir)
    return (f"to resume from {saved}" if saved else "to start") + last
