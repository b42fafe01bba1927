"""Subcommands of a subcommand, each a module of its own."""

import argparse
from collections.abc import Mapping
from types import ModuleType

__all__ = ["add_actions"]


def add_actions(
    parser: argparse.ArgumentParser, modules: Mapping[str, ModuleType]
) -> dict[str, argparse.ArgumentParser]:
    """Declare an action for each module, which has ``add_arguments`` and ``main`` as a subcommand has.

    Args:
        parser: the subcommand's; its arguments then have ``action``, the ``main`` of the module that was named.
        modules: by the action's name.

    Returns:
        The parser of each action.
    """
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(modules))
    parsers = {}
    for name, module in modules.items():
        summary = (module.__doc__ or "").split("\n")[0]
        parsers[name] = actions.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(parsers[name])
        parsers[name].set_defaults(action=module.main)
    return parsers
