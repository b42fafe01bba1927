"""Exceptions whose message is all that the user needs: the commands print it and exit with its code."""

import difflib
from collections.abc import Iterable

__all__ = ["DamagedImageError", "Reported", "UserError", "WriteError", "did_you_mean"]


class Reported(Exception):  # noqa: N818  not all of them are errors
    """Ends a command with a message, without a traceback."""

    exit_code = 1


class UserError(Reported, ValueError):
    """Wrong input from outside: a config, a file, a command line.

    Its message names the thing and what would be right.
    """

    exit_code = 2


class WriteError(Reported):
    """A file of a run cannot be written: the disk is full, read-only, or gone. What was written before is kept."""


class DamagedImageError(UserError):
    """An image that cannot be read or decoded. Loaders replace it, and stop when there are too many.

    Attributes:
        name: where it lies, such as its path.
        reason: what is wrong, as the message goes on after the name.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, else the list of known names.

    >>> did_you_mean("cutmx", ["cutmix", "mixup"])
    "; did you mean 'cutmix'?"
    """
    choices = [str(k) for k in known]
    likeness = {choice: _likeness(choice.lower(), str(name).lower()) for choice in choices}
    nearest = max(choices, key=likeness.__getitem__, default="")
    if likeness.get(nearest, 0) >= 0.6:
        return f"; did you mean '{nearest}'?"
    return f"; known: {', '.join(sorted(choices))}" if choices else ""


def _likeness(one: str, other: str) -> float:
    """Return how alike two words are, from 0 to 1, read forwards or backwards, whichever is more.

    difflib aligns the longest common run, of equal ones the first, be it the wrong one of a name that repeats itself.
    """
    pairs = (one, other), (one[::-1], other[::-1])
    return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)
