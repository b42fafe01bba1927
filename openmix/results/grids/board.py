"""What a queue shows: a table that is kept up to date on a terminal, a dated line for every event elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from openmix.results.grids.pace import clock
from openmix.results.grids.states import Progress

__all__ = ["Board", "Lines", "LiveTable", "Row", "View", "board"]


@dataclass(frozen=True)
class Row:
    """One run that goes on.

    Attributes:
        name: the entry's.
        slot: the slot's.
        progress: None before it begins to train.
        seconds: since it was started.
        seconds_left: None if that cannot be told yet.
    """

    name: str
    slot: str
    progress: Progress | None
    seconds: float
    seconds_left: float | None = None


@dataclass(frozen=True)
class View:
    """A study at one moment.

    Attributes:
        total: entries.
        done: how many are done, whoever ran them.
        failed: names and reasons.
        held: how many others are running.
        running: those that this queue runs.
        seconds_left: None if that cannot be told yet.
    """

    total: int
    done: int
    failed: Sequence[tuple[str, str]]
    held: int
    running: Sequence[Row]
    seconds_left: float | None


class Lines:
    """Events as lines on stdout. Whoever reads them may go away: the runs do not depend on it."""

    def say(self, text: str) -> None:
        """Print a line with the date."""
        with contextlib.suppress(OSError, ValueError):
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)

    def show(self, view: View) -> None:
        """Do nothing: the events say it."""


class LiveTable:
    """A table in the terminal's last lines, with events above. No thread draws it: processes are forked beside it.

    Args:
        console: the terminal.
    """

    def __init__(self, live: Live) -> None:
        self._live = live

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._live.console.print(Text(text))

    def show(self, view: View) -> None:
        """Draw the table anew."""
        self._live.update(Group(*_rows(view)), refresh=True)


Board = Lines | LiveTable


@contextlib.contextmanager
def board() -> Iterator[Board]:
    """Open what fits stdout."""
    console = Console(highlight=False)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            yield LiveTable(live)
        return
    yield Lines()
    try:
        sys.stdout.flush()
    except OSError:  # what is left in the buffer must go somewhere, or Python complains of it when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _rows(view: View) -> list[Table | Text]:
    """Return the table's parts: how far the whole is, what runs, what failed."""
    ended = view.done + len(view.failed)
    head = Table.grid(padding=(0, 2))
    head.add_column(max_width=40)
    counts = [f"{ended}/{view.total}", f"ETA {clock(view.seconds_left)}"]
    counts += [f"{len(view.failed)} failed"] if view.failed else []
    counts += [f"{view.held} held by others"] if view.held else []
    for _ in counts:
        head.add_column(no_wrap=True)
    head.add_row(ProgressBar(view.total, ended), *counts)
    runs = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    runs.add_column("run", overflow="fold")  # a long name takes several lines: its end, the seed, and figures are whole
    for column in ("slot", "at", "top1", "images/s", "for", "ETA"):
        runs.add_column(column, justify="left" if column == "slot" else "right", no_wrap=True)
    for row in view.running:
        runs.add_row(*map(Text, _cells(row)))
    failed = [Text.assemble((f"failed {name}", "red"), f"  {reason}", overflow="fold") for name, reason in view.failed]
    return [head, *([runs] if view.running else []), *failed]


def _cells(row: Row) -> list[str]:
    """Return what the table has on one run."""
    run = row.progress
    if run is None:
        return [row.name, row.slot, "starting", "", "", clock(row.seconds), "?"]
    top1 = "" if run.top1 is None else f"{run.top1:.2f}"
    speed = "" if run.images_per_s is None else f"{run.images_per_s:,.0f}"
    return [row.name, row.slot, run.place, top1, speed, clock(row.seconds), clock(row.seconds_left)]
