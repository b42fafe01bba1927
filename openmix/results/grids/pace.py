"""When a study will be done, by what its runs have trained since the queue began."""

import time
from collections.abc import Callable, Iterable

from openmix.results.grids.states import Progress

__all__ = ["Pace", "clock"]


class Pace:
    """Adds up the epochs (or steps) of all runs, and divides what is left by how fast they came so far.

    So many runs at a time as there are slots are in that speed, and whatever they cost each other. A run whose length
    nobody knows yet is taken to be as long as the others on average; an epoch of one network counts as an epoch of
    another.

    Args:
        names: of all runs of the study.
        now: the clock, in seconds.
    """

    def __init__(self, names: Iterable[str], now: Callable[[], float] = time.monotonic) -> None:
        self._runs: dict[str, Progress] = {name: Progress() for name in names}
        self._ended: set[str] = set()
        self._now = now
        self.begin()

    def begin(self) -> None:
        """Count from here what is done by the time that passes: what is finished has taken none of it."""
        self._began, self._first = self._now(), self._done()

    def set(self, name: str, progress: Progress) -> None:
        """Take in how far a run is."""
        self._runs[name] = progress

    def end(self, name: str) -> None:
        """Take in that a run needs nothing more: it is done, or has failed."""
        self._ended.add(name)

    def _done(self) -> float:
        return sum(run.done for run in self._runs.values())

    def seconds_left(self) -> float | None:
        """Return how long it will take yet; None before anything was trained."""
        lengths = [run.length for run in self._runs.values() if run.length is not None]
        gained, passed = self._done() - self._first, self._now() - self._began
        if not lengths or gained <= 0:
            return None
        mean = sum(lengths) / len(lengths)
        going = [run for name, run in self._runs.items() if name not in self._ended]
        left = sum(max(0.0, (run.length or mean) - run.done) for run in going)
        return left * passed / gained


def clock(seconds: float | None) -> str:
    """Spell a duration.

    >>> clock(754), clock(3 * 86400 + 61), clock(None)
    ('0:12:34', '3 d 0:01:01', '?')
    """
    if seconds is None:
        return "?"
    days, rest = divmod(round(seconds), 86400)
    return f"{f'{days} d ' if days else ''}{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
