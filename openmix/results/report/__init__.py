"""A table of runs as one HTML file with curves, which needs neither a network nor anything beside it."""

from pathlib import Path

from openmix.engine.files import write_atomically, writing
from openmix.results.report.page import page
from openmix.results.rows import Table

__all__ = ["write_report"]


def write_report(table: Table, path: Path) -> None:
    """Write the report of a table: the same bytes for the same runs.

    The training records are read anew from the runs' work dirs, which takes a few milliseconds a run.

    Args:
        table: what is shown.
        path: the file; one that is there is replaced.

    Raises:
        WriteError: it cannot be written.
    """
    content = page(table).encode("utf-8", "backslashreplace")  # a file's name may hold bytes that are no text
    with writing(path):
        write_atomically(path, lambda beside: beside.write_bytes(content))
