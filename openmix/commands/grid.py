"""Lay out a study of many runs (make), and run it as a queue (run).

Both are for a folder with a manifest; docs/grids.md has the whole way from one command to a table.
"""

import argparse

from openmix.commands import _grid_make, _grid_run

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="make|run")
    for name, module in (("make", _grid_make), ("run", _grid_run)):
        summary = (module.__doc__ or "").split("\n")[0]
        inner = commands.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(inner)
        inner.set_defaults(action=module.main)


def main(arguments: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code."""
    return arguments.action(arguments)
