"""Look through a data set for damaged images (verify), or write it into one file of small images (cache).

Both take a config, whose data sets are meant, or a folder. The same command goes on where an earlier cache was stopped.
"""

import argparse

from openmix.commands import _data_cache, _data_verify
from openmix.commands._actions import add_actions
from openmix.commands._parallel import cpus

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    for action in add_actions(parser, {"verify": _data_verify, "cache": _data_cache}).values():
        action.add_argument("--jobs", type=int, default=cpus(), metavar="N", help="processes (default: one a CPU)")


def main(arguments: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code."""
    return arguments.action(arguments)
