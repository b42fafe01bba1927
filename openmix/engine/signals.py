"""SIGTERM and SIGUSR1: finish the step, save, and leave; all ranks at the same step."""

import signal
from types import FrameType

import torch
import torch.distributed as dist

__all__ = ["STOP_SIGNALS", "StopRequest"]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Remembers that a signal asked this run to stop, and lets the ranks agree on it.

    The ranks' flags are added up by a reduction that runs beside the step and is read after the next one, so no step
    waits for it. Use as a context manager, in the main thread: the handlers before it are restored after it.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._pending: tuple[torch.Tensor, dist.Work | None] | None = None
        # flags live on the CPU: the device is never asked
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None

    def __enter__(self) -> "StopRequest":
        self._before = {s: signal.signal(s, self._remember) for s in STOP_SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal = number

    def agreed(self) -> bool:
        """Tell, once a step and on every rank alike, whether to stop now."""
        if self._group is None:
            return self.signal is not None
        last, self._pending = self._pending, None
        if last is not None and last[1] is not None:
            last[1].wait()
            if last[0].item():
                return True
        flag = torch.tensor([float(self.signal is not None)])
        self._pending = (flag, dist.all_reduce(flag, group=self._group, async_op=True))
        return False
