"""SIGTERM and SIGUSR1: finish the step, save, and leave; all ranks at the same step."""

import signal
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist

__all__ = ["STOP_SIGNALS", "StopRequest"]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Remembers that a signal asked this run to stop, and lets the ranks agree on it.

    The ranks' flags are added up by a reduction that runs beside the step and is read after the next one, so no step
    waits for it. Use as a context manager, in the main thread: the handlers before it are restored after it.

    Args:
        timeout: seconds to wait for the other processes. As this is what the host waits for in every step, on GPUs too,
            it is here that a process which hangs is noticed.
    """

    def __init__(self, timeout: float = 1800.0) -> None:
        self.signal: int | None = None
        self._pending: tuple[torch.Tensor, dist.Work | None] | None = None
        # flags live on the CPU: the device is never asked
        patience = timedelta(seconds=timeout)
        self._group = dist.new_group(backend="gloo", timeout=patience) if dist.is_initialized() else None

    def __enter__(self) -> "StopRequest":
        self._before = {s: signal.signal(s, self._remember) for s in STOP_SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if exception == (None, None, None) and self._pending is not None and self._pending[1] is not None:
                self._pending[1].wait()  # to leave with an exchange under way would break it off for the others
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal = number

    def agreed(self, otherwise: bool = False) -> bool:
        """Tell, once a step and on every rank alike, whether to stop now.

        Args:
            otherwise: whether this process has another reason than a signal.

        Raises:
            RuntimeError: torch's, where another process is gone or does not answer in time.
        """
        wanted = otherwise or self.signal is not None
        if self._group is None:
            return wanted
        last, self._pending = self._pending, None
        if last is not None and last[1] is not None:
            last[1].wait()
            if last[0].item():
                return True
        flag = torch.tensor([float(wanted)])
        self._pending = (flag, dist.all_reduce(flag, group=self._group, async_op=True))
        return False
