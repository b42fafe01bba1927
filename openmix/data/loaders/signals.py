"""Who may end a worker process: the main process, and nobody else."""

import os
import signal
import threading

__all__ = ["heed_parent_only"]


def heed_parent_only(_: int = 0) -> None:
    """Make this worker process deaf to stop signals that do not come from its parent.

    A scheduler sends them to every process of a job. The main one then finishes its step and saves, for which it wants
    its workers alive; it ends them itself. Where the parent dies, torch's own watchdog ends its workers.

    Args:
        _: the worker's number, which torch's DataLoader hands to its ``worker_init_fn``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows: there, SIGTERM keeps ending a worker
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_exit_at_parents_sigterm, daemon=True).start()


def _exit_at_parents_sigterm() -> None:
    """Wait for SIGTERM, which every thread of this process blocks, and end the process where the parent sent it."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
