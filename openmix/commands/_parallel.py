"""Do something for each of many files in several processes, for commands that may be stopped and started again."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, NoReturn

from openmix.errors import Reported

__all__ = ["Outcome", "cpus", "in_parallel", "stopped_by_signals"]

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
GRACE = 10.0  # seconds for the item at hand, of which a large image takes one or two


class Stopped(Reported):
    """A signal asked the command to stop, and it can be continued."""

    exit_code = 75


class Outcome(NamedTuple):
    """What became of one item: what the function returned, or the error that it raised."""

    item: str
    result: Any = None
    error: Reported | OSError | None = None


def cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise :class:`Stopped` at SIGTERM and SIGUSR1."""

    def stop(number: int, frame: object) -> NoReturn:
        raise Stopped(f"stopped by {signal.Signals(number).name}; the same command goes on from here")

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Put signals off while processes are started: Python drops what a handler raises in the midst of a fork."""
    came: list[int] = []
    numbers = (signal.SIGINT, *SIGNALS)
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in came[:1]:
        signal.raise_signal(number)


@contextlib.contextmanager
def in_parallel(function: Callable[[str], Any], items: Sequence[str], jobs: int) -> Iterator[Iterator[Outcome]]:
    """Start processes, and hand out what becomes of each item as it comes.

    Leaving early waits until each process has done the item at hand, and kills those that take longer than ``GRACE``
    seconds for that, or all at once when a further signal comes: what they write must be whole or not there. Each has a
    fixed share of the items: there is no queue between them that a killed one could leave locked, and none goes on if
    this process is killed.

    Args:
        function: is called with an item. Its ``Reported`` and ``OSError`` become outcomes, any other error ends it all.
        items: what to do it for.
        jobs: how many processes, at least 1.

    Raises:
        Reported: a process died.
    """
    workers: dict[Connection, multiprocessing.Process] = {}
    try:
        with _signals_later():
            for number in range(min(jobs, len(items))):
                pipe, process = _start(function, items[number::jobs])
                workers[pipe] = process
        yield _outcomes(workers)
    finally:
        _end(workers)


def _end(workers: dict[Connection, multiprocessing.Process]) -> None:
    """Tell the processes to stop, and wait for them as long as they may take."""
    for pipe in workers:
        with contextlib.suppress(OSError):
            pipe.send("stop")
    deadline = time.monotonic() + GRACE
    left = dict(workers)
    try:
        while left and (ready := wait(list(left), max(0.0, deadline - time.monotonic()))):
            for pipe in ready:
                assert isinstance(pipe, Connection)
                try:
                    pipe.recv()  # or it might wait for ever for what it says to be read
                except (EOFError, OSError):
                    left.pop(pipe).join()
    finally:
        for process in left.values():
            process.kill()
            process.join()


def _outcomes(workers: dict[Connection, multiprocessing.Process]) -> Iterator[Outcome]:
    """Yield what the processes say, and forget each when it has ended."""
    while workers:
        for pipe in wait(list(workers)):
            assert isinstance(pipe, Connection)
            try:
                outcome = pipe.recv()
            except EOFError:
                _check_exit(workers.pop(pipe))
            else:
                yield outcome


def _start(function: Callable[[str], Any], items: Sequence[str]) -> tuple[Connection, multiprocessing.Process]:
    """Start a process, and return it with what it talks through."""
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(function, items, theirs, os.getpid()), daemon=True)
    with warnings.catch_warnings():
        # Python >= 3.12 warns of any fork beside threads; the libraries' own are not used here
        warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning)
        process.start()
    theirs.close()  # so that the pipe ends when the process does
    return ours, process


def _work(function: Callable[[str], Any], items: Sequence[str], pipe: Connection, parent: int) -> None:
    """Do these items and tell of each; stop when told so, or when the parent is gone."""
    for number in (signal.SIGINT, *SIGNALS):
        signal.signal(number, signal.SIG_IGN)  # a terminal or a scheduler sends them to all; the parent decides
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # a forked process waits for ever for the threads that the parent had started
    for item in items:
        if pipe.poll() or os.getppid() != parent:
            return
        try:
            outcome = Outcome(item, function(item))
        except (Reported, OSError) as error:
            outcome = Outcome(item, error=error)
        with contextlib.suppress(BrokenPipeError):  # the parent is gone: seen at the next item
            pipe.send(outcome)


def _check_exit(process: multiprocessing.Process) -> None:
    process.join()
    if process.exitcode:
        raise Reported(
            f"a process died (exit code {process.exitcode}); if memory ran out, the same command with fewer --jobs "
            "goes on from here"
        )
