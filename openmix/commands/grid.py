"""Lay out a study of many runs (make), and run it as a queue (run).

Both are for a folder with a manifest; docs/grids.md has the whole way from one command to a table.
"""

import argparse

from openmix.commands import _grid_make, _grid_run
from openmix.commands._actions import add_actions

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    add_actions(parser, {"make": _grid_make, "run": _grid_run})


def main(arguments: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code."""
    return arguments.action(arguments)
