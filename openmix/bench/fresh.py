"""What must be measured in a process of its own: memory, or anything that depends on how a program was started."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["in_fresh_process"]

T = TypeVar("T")


def in_fresh_process(function: Callable[..., T], *arguments: Any, environment: Mapping[str, str] | None = None) -> T:
    """Call a function of a module in a process that is started anew, and return its result or raise its error.

    Args:
        function: importable, as it is found by its name.
        arguments: its arguments; they and the result are pickled.
        environment: variables that the process starts with besides this one's.
    """
    with _variables(environment or {}):
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _end_silently_on_ctrl_c)
        with pool:
            return pool.submit(function, *arguments).result()


def _end_silently_on_ctrl_c() -> None:
    """Leave it to the process that waits to say that it was interrupted."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))


@contextmanager
def _variables(environment: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
