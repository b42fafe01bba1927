"""Print the table of runs beside published figures; or, with --published, the published figures themselves."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openmix.commands._table_published import add_published_arguments, print_published, writing
from openmix.errors import UserError

if TYPE_CHECKING:
    from openmix.results.rows import Table

__all__ = ["add_arguments", "main"]

FORMATS = ("text", "markdown", "csv", "latex")
SUFFIXES = {".md": "markdown", ".csv": "csv", ".tex": "latex", ".txt": "text", ".html": "html"}
STATISTICS = ("last", "median_last10", "best", "all")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH",
        help="studies, work dirs, or folders above them; with --published: data set and network, such as cifar10 r18",
    )  # fmt: skip
    parser.add_argument(
        "--baseline", metavar="NAME", help="method or row that others are compared with; default vanilla"
    )
    parser.add_argument("--metric", help="of the validation records (default: top1)")
    parser.add_argument(
        "--statistic", choices=STATISTICS,
        help="the last epoch's figure, the median of the last 10 epochs, the best; default: a column of each",
    )  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, help="default: what --out ends in, else text")
    parser.add_argument(
        "--out", metavar="FILE", help="write to this file: .md, .csv, .tex, .txt, or .html for the report"
    )
    parser.add_argument("--record", metavar="DIR", help="add the finished runs to DIR/DATASET.csv, a row a run")
    add_published_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Print or write the table, or add to the records."""
    if arguments.published:
        _refuse(arguments, ("record", "out", "format", "baseline", "metric", "statistic"), "--published prints figures")
        return print_published(arguments)
    if arguments.method or arguments.csv:
        raise UserError("--method and --csv are for --published; of runs, --format csv prints the columns")
    if not arguments.paths:
        raise UserError("name work dirs, studies or folders above them, or ask for --published [DATASET [NETWORK]]")
    return _record(arguments) if arguments.record else _show(arguments)


def _refuse(arguments: argparse.Namespace, options: Sequence[str], why: str) -> None:
    """Refuse options that would change nothing.

    Raises:
        UserError: one of them is given.
    """
    given = [f"--{option}" for option in options if getattr(arguments, option) is not None]
    if given:
        raise UserError(f"{why}: leave {' and '.join(given)} out")


def _show(arguments: argparse.Namespace) -> int:
    """Print the table, or write it to a file."""
    import sys

    from openmix.results.reading import read_table

    kind, out = _format(arguments), Path(arguments.out) if arguments.out else None
    if out is not None and out.is_dir():
        raise UserError(f"cannot write {out}: it is a folder; name a file in {', '.join(SUFFIXES)}")
    if out is not None and not out.absolute().parent.is_dir():
        raise UserError(f"cannot write {out}: there is no folder {out.parent}")
    if kind == "html":
        _refuse(arguments, ("statistic",), "the report shows every statistic")
    paths = [Path(path) for path in arguments.paths]
    table = read_table(paths, arguments.baseline, arguments.metric or "top1", _track)
    if kind == "html" and out is not None:
        from openmix.results.report import write_report

        write_report(table, out)
        print(f"wrote {out}")
        return 0
    text = _text(table, kind, arguments.statistic or "all", to_file=out is not None)
    if out is None:
        with writing("the table"):
            sys.stdout.write(text)
        return 0
    from openmix.engine.files import write_atomically
    from openmix.engine.files import writing as writing_file

    with writing_file(out):
        write_atomically(out, lambda beside: beside.write_text(text, encoding="utf-8", errors="backslashreplace"))
    print(f"wrote {out}")
    return 0


def _format(arguments: argparse.Namespace) -> str:
    """Return what to write: as asked for, else as the file is called."""
    if not arguments.out:
        return arguments.format or "text"
    suffix = Path(arguments.out).suffix
    of_name = SUFFIXES.get(suffix)
    if arguments.format is None and of_name is None:
        raise UserError(f"--out {arguments.out}: name a file in {', '.join(SUFFIXES)}, or say its --format")
    if of_name is not None and arguments.format not in (None, of_name):
        raise UserError(f"--out {arguments.out} is {of_name}, and --format says {arguments.format}: leave one out")
    return of_name or str(arguments.format)


def _text(table: "Table", kind: str, statistic: str, to_file: bool) -> str:
    """Return the table in one of :data:`FORMATS`."""
    from rich.console import Console

    from openmix.results.csv_table import csv_text
    from openmix.results.formats import latex, markdown, print_text
    from openmix.results.summaries import STATISTICS as ALL

    statistics = (*ALL,) if statistic == "all" else (statistic,)
    if kind == "csv":
        return csv_text(table, statistics)
    if kind != "text":
        return {"markdown": markdown, "latex": latex}[kind](table, statistics)
    console = Console(highlight=False, **({"width": 200, "no_color": True, "force_terminal": False} if to_file else {}))
    with console.capture() as captured:  # written to a pipe that is closed, rich would end the program
        print_text(table, console, statistics)
    return captured.get()


def _track(folders: Sequence[Path]) -> Iterable[Path]:
    """Show how far reading is, where somebody looks on."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(folders, "reading runs", console=console, disable=not console.is_terminal, transient=True)


def _record(arguments: argparse.Namespace) -> int:
    """Add the runs to the records and say what was added."""
    from openmix.results.benchmarks import record_runs

    options = ("out", "format", "baseline", "metric", "statistic")
    _refuse(arguments, options, "--record writes all statistics of top1 to DIR/DATASET.csv")
    added, known, left_out = record_runs([Path(path) for path in arguments.paths], Path(arguments.record), _track)
    for path, count in added.items():
        print(f"{path}: {count} row{'s' * (count != 1)} added")
    if known:
        print(f"{known} row{'s' * (known != 1)} were there already")
    for run in left_out:
        print(f"not recorded: {run.state}: {run.folder}: {run.reason}")
    return 0
