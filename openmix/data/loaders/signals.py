"""Who may end a worker process: the main process, and nobody else.

A scheduler sends its stop signals to every process of a job. The main one then finishes its step and saves, for which
it wants its workers alive; it ends them itself. SIGTERM is what it ends a hanging worker with, so a worker cannot just
ignore that: it has to look who sent it. Every thread of a worker must block the signal for that, also threads that
torch starts before any code of ours runs there; hence they inherit it blocked. Where the main process dies, torch's own
watchdog ends its workers.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["heed_parent_only", "sigterm_blocked"]

_CAN_WAIT = hasattr(signal, "sigwaitinfo")  # not on macOS and Windows: there, SIGTERM of anybody ends a worker


@contextmanager
def sigterm_blocked() -> Iterator[None]:
    """Put SIGTERM off while workers are forked, so that they start with it blocked."""
    if not _CAN_WAIT:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_parent_only(_: int = 0) -> None:
    """Make this process, forked within :func:`sigterm_blocked`, deaf to stop signals but for its parent's SIGTERM.

    Args:
        _: the worker's number, which torch's DataLoader hands to its ``worker_init_fn``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if _CAN_WAIT:
        threading.Thread(target=_exit_at_parents_sigterm, daemon=True).start()


def _exit_at_parents_sigterm() -> None:
    """Wait for SIGTERM, and end the process where the parent sent it."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
