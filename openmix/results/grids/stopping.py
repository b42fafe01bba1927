"""Signals that ask a queue to stop."""

import signal
from types import FrameType

__all__ = ["StopRequest"]


class StopRequest:
    """Remembers which signals came. Use as a context manager, in the main thread: handlers are restored after it.

    Only Ctrl-C has another meaning the second time: schedulers like to send the others twice, while runs save.

    Attributes:
        name: of the first signal; empty before it.
        times: how often something new was asked for: 1, stop; 2, at once.
    """

    def __init__(self) -> None:
        self.name, self.times, self._interrupts = "", 0, 0

    @property
    def at_once(self) -> bool:
        """Whether to wait no longer."""
        return self.times > 1

    @property
    def exit_code(self) -> int:
        """What the command is to return: 130 for Ctrl-C, 75 for the others."""
        return 130 if self.name == "SIGINT" else 75

    def __enter__(self) -> "StopRequest":
        # started in the background by a script, a process ignores Ctrl-C
        numbers = (signal.SIGINT,) if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN else ()
        numbers = (*numbers, signal.SIGTERM, signal.SIGUSR1)
        self._before = {number: signal.signal(number, self._remember) for number in numbers}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += number == signal.SIGINT
        self.name = self.name or signal.Signals(number).name
        self.times = 2 if self._interrupts > 1 else 1
