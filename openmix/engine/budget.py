"""A bound on what a trial may allocate: a config of 10**10 classes is told of, not tried."""

import os
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from openmix.errors import UserError

__all__ = ["Budget", "TooLargeError", "memory_of_machine"]

MOST_CALLS = 300_000  # of torch's operators while something is built; the largest networks take some 20,000


class TooLargeError(UserError):
    """What a config asks for can be had on no machine like this one."""


class Budget(TorchDispatchMode):
    """A context in which making tensors raises TooLargeError, once they come to more bytes than the machine has.

    Tensors of the meta device count as if they were real; what is computed from others counts by itself alone.

    Args:
        what: who makes them, for the message.
        limit: bytes; by default the machine's memory.

    >>> with Budget("the network", limit=1000), torch.device("meta"):
    ...     torch.empty(1000)
    Traceback (most recent call last):
    ...
    openmix.engine.budget.TooLargeError: the network needs more than the machine's memory (0.0 GB)
    """

    def __init__(self, what: str, limit: int | None = None) -> None:
        super().__init__()
        self.what = what
        self.limit = memory_of_machine() if limit is None else limit
        self.made = self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operator and count what it made."""
        out = func(*args, **(kwargs or {}))
        own = sum(t.numel() * t.element_size() for t in tree_leaves(out) if isinstance(t, torch.Tensor))
        if not any(isinstance(value, torch.Tensor) for value in tree_leaves(args)):
            self.made += own
        self.calls += 1
        if max(own, self.made) > self.limit:
            raise TooLargeError(f"{self.what} needs more than the machine's memory ({self.limit / 2**30:,.1f} GB)")
        if self.calls > MOST_CALLS:
            raise TooLargeError(
                f"{self.what} is of more than {MOST_CALLS:,} operations: a number in its config is too large"
            )
        return out


def memory_of_machine() -> int:
    """Return the bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
