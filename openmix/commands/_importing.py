"""Imports that take seconds, made a third shorter."""

import gc

from openmix.commands import process

__all__ = ["Importing"]


class Importing:
    """Keeps Python from looking for garbage while the engine is imported, ``with Importing(): from ... import ...``.

    torch and what comes with it are a million objects that stay until the process ends. Python does not know, and would
    look through all of them again and again as they come: a second of three. In a process that ends with its command it
    need not do so later either, in the midst of a step.
    """

    def __enter__(self) -> None:
        """Begin."""
        self._enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *error: object) -> None:
        """End."""
        if process.ends_with_command:
            gc.freeze()
        if self._enabled:
            gc.enable()
