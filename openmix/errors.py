"""Exceptions whose message is all that the user needs: the commands print it and exit with its code."""

import difflib
from collections.abc import Iterable

__all__ = ["Reported", "UserError", "did_you_mean"]


class Reported(Exception):  # noqa: N818  not all of them are errors
    """Ends a command with a message, without a traceback."""

    exit_code = 1


class UserError(Reported, ValueError):
    """Wrong input from outside: a config, a file, a command line.

    Its message names the thing and what would be right.
    """

    exit_code = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, else the list of known names.

    >>> did_you_mean("cutmx", ["cutmix", "mixup"])
    "; did you mean 'cutmix'?"
    """
    choices = [str(k) for k in known]
    by_lower = {c.lower(): c for c in choices}
    near = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{by_lower[near[0]]}'?"
    return f"; known: {', '.join(sorted(choices))}" if choices else ""
