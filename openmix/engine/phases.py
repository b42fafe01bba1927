"""The phases of a training step, and a clock that says how long each takes."""

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["LOOP", "OCCASIONAL", "PHASES", "PhaseClock"]

LOOP = "the loop itself"
DATA, PREPARE, OTHER_RANKS = "waiting for data", "to the device, normalise", "DDP: buffers, other ranks"
TASK, LOOK, DRAW, APPLY = "rest of the task", "mixing: look at images", "mixing: draws, masks", "mixing: apply"
FORWARD, OTHERS, LOSS = "forward", "forward: other networks", "loss"
BACKWARD, CHECK, OPTIMIZER = "backward", "finite check, clipping", "optimizer"
AFTER, HOOKS, EMA, AVERAGES = "after the step", "hooks", "EMA", "averages, schedule, signals"
WAIT, RECORD, VALIDATION, CHECKPOINT = "waiting for the GPU", "record", "validation", "checkpoint"

# Within which others each phase counts by itself; anywhere else its time is that of what it is called in: the network's
# pass over clean images, which a method asks for, is no 'forward'. In the order of a step.
PHASES: dict[str, tuple[str, ...]] = {
    DATA: (LOOP,),
    PREPARE: (LOOP,),
    OTHER_RANKS: (LOOP,),
    LOOK: (TASK,),
    DRAW: (TASK,),
    APPLY: (TASK, DRAW),
    FORWARD: (TASK,),
    OTHERS: (TASK,),
    LOSS: (TASK,),
    TASK: (LOOP, OTHER_RANKS),
    BACKWARD: (LOOP,),
    CHECK: (LOOP,),
    OPTIMIZER: (LOOP,),
    AFTER: (LOOP,),
    EMA: (HOOKS,),
    HOOKS: (LOOP,),
    AVERAGES: (LOOP,),
    WAIT: (LOOP,),
    LOOP: (),
    RECORD: (LOOP,),
    VALIDATION: (LOOP,),
    CHECKPOINT: (LOOP,),
}
# no part of a step: they come now and then, and wait for a GPU before they begin
OCCASIONAL = (RECORD, VALIDATION, CHECKPOINT)


class PhaseClock:
    """Says how long a thread was in which phase; a moment belongs to the innermost one, so all of them add up.

    Args:
        device: what is waited for before what is :data:`OCCASIONAL` begins, and at the end of :meth:`read`.

    Attributes:
        seconds: by phase, since :meth:`reset`.
        calls: likewise, how often it was entered.
        tracing: whether phases are shown to torch's profiler as well (``record_function``).
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.tracing = False
        self._thread = threading.get_ident()  # the others' time passes beside this one's
        self._stack: list[tuple[str, Any]] = [(LOOP, None)]
        self._last = time.perf_counter()

    def reset(self) -> None:
        """Begin anew, in the phase that this is."""
        self._wait()
        self.seconds.clear()
        self.calls.clear()
        self._last = time.perf_counter()

    def read(self) -> dict[str, tuple[float, int]]:
        """Return seconds and calls by phase since :meth:`reset`, what a GPU has still to do included."""
        self._tick()
        self._wait()
        return {phase: (self.seconds[phase], self.calls[phase]) for phase in PHASES if self.seconds[phase]}

    def total(self) -> float:
        """Return the seconds of all phases that belong to a step, until now."""
        self._tick()
        return sum(seconds for phase, seconds in self.seconds.items() if phase not in OCCASIONAL)

    def mark(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, and counts as a phase where it may begin one."""

        @functools.wraps(function)
        def marked(*args: Any, **kwargs: Any) -> Any:
            # what is compiled is one piece, and a mark would break it
            if torch.compiler.is_compiling() or not self._may_begin(phase):
                return function(*args, **kwargs)
            self._enter(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self._leave()

        return marked

    def _may_begin(self, phase: str) -> bool:
        return self._stack[-1][0] in PHASES[phase] and threading.get_ident() == self._thread

    def _enter(self, phase: str) -> None:
        if phase in OCCASIONAL:
            self._wait()
        self._tick()
        self.calls[phase] += 1
        shown = torch.profiler.record_function(phase) if self.tracing else None
        if shown is not None:
            shown.__enter__()
        self._stack.append((phase, shown))

    def _leave(self) -> None:
        phase, shown = self._stack.pop()
        if shown is not None:
            shown.__exit__(None, None, None)
        self.seconds[phase] += self._since()

    def _since(self) -> float:
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed

    def _tick(self) -> None:
        self.seconds[self._stack[-1][0]] += self._since()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            self._tick()
            torch.cuda.synchronize(self.device)
            self.calls[WAIT] += 1
            self.seconds[WAIT] += self._since()
