"""``openmix table --published``: published figures, where they come from and what is known to be wrong with them."""

import argparse
import contextlib
import csv
import os
import sys
from collections.abc import Iterator

from openmix.errors import Reported, UserError

__all__ = ["add_published_arguments", "print_published", "writing"]


def add_published_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--published", action="store_true", help="figures that other people published")
    parser.add_argument("--method", action="append", metavar="M", help="of them, only this; may be given several times")
    parser.add_argument("--csv", action="store_true", help="of them, print all columns as CSV")


def print_published(arguments: argparse.Namespace) -> int:
    """Print the tables, or what there is."""
    from rich.console import Console

    from openmix.results.published import COLUMNS, Published, lookup
    from openmix.results.published.names import METHODS
    from openmix.results.published.tables import overview, published_tables

    if len(arguments.paths) > 2:
        raise UserError("openmix table --published takes a data set and a network, such as cifar10 r18")
    dataset, network = [*arguments.paths, None, None][:2]
    figures: list[Published] = []
    for method in dict.fromkeys(arguments.method or [None]):
        figures += lookup(dataset, network, method)
    if not figures:
        raise UserError(_nothing(dataset, network, arguments.method or []))
    with writing("the figures"):
        if arguments.csv:
            csv.writer(sys.stdout, lineterminator="\n").writerows([COLUMNS, *(f.cells for f in figures)])
            return 0
        console = Console(highlight=False)
        with console.capture() as captured:  # written to a pipe that is closed, rich would end the program
            if dataset or arguments.method:
                for table in published_tables(figures):
                    console.print(table, crop=False)  # of a table that is too wide no figure may lose a digit
            else:
                console.print(overview(figures), crop=False)
                console.print(f"methods: {', '.join(METHODS)}")
                console.print("openmix table --published DATASET [NETWORK] [--method M] prints them", markup=False)
        sys.stdout.write(captured.get())
    return 0


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Let the output's reader stop before its end, as ``head`` does.

    Raises:
        Reported: it cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # what is left in the buffer must go somewhere, or Python complains of it when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise Reported(f"cannot write {what}: {error.strerror}") from None


def _nothing(dataset: str | None, network: str | None, methods: list[str]) -> str:
    """Say that no figure matches, and what there is instead."""
    from openmix.results.published import lookup
    from openmix.results.published.names import METHODS, NETWORKS

    where = " ".join(filter(None, (dataset, network)))
    known = {f.method for f in lookup(dataset, network)}
    if not known:
        networks = {f.network for f in lookup(dataset)}
        there = ", ".join(name for name in NETWORKS if name in networks)
        return f"no published figures of {network} on {dataset}; there are: {there}"
    there = ", ".join(name for name in METHODS if name in known)
    return f"no published figures of {', '.join(methods)} on {where}; there are: {there}"
