"""Which step belongs to which epoch, in a run whose epochs need not all be of one length."""

import math
from dataclasses import dataclass

__all__ = ["Timeline"]


@dataclass(frozen=True)
class Timeline:
    """Phases of epochs; within a phase every epoch has as many steps.

    Attributes:
        phases: ``(first epoch, steps of each of its epochs)`` of each phase; the first one begins at epoch 0, the last
            one never ends.

    >>> line = Timeline(((0, 10), (2, 5)))
    >>> line.steps_in(1), line.steps_in(2), line.start_of(3), line.start_of(1.5), line.epoch_of(24), line.epoch_of(25)
    (10, 5, 25, 15, 2, 3)
    """

    phases: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        if len(self.phases) == 1:
            return f"{self.phases[0][1]} steps"
        return ", ".join(f"{steps} steps from epoch {first + 1} on" for first, steps in self.phases)

    def until(self, step: int) -> tuple[tuple[int, int], ...]:
        """Return the phases that begin before step ``step`` does, and the first one."""
        return tuple(phase for phase in self.phases if phase[0] == 0 or self.start_of(phase[0]) < step)

    def steps_in(self, epoch: int) -> int:
        """Return the steps of an epoch, counted from 0."""
        return next(steps for first, steps in reversed(self.phases) if first <= epoch)

    def start_of(self, epoch: float) -> int:
        """Return how many steps come before an epoch; for 1.5, before the middle of the second one, rounded."""
        ends = [first for first, _ in self.phases[1:]] + [math.inf]
        phases = zip(self.phases, ends, strict=True)
        return round(sum(max(min(epoch, end) - first, 0) * steps for (first, steps), end in phases))

    def epoch_of(self, step: int) -> int:
        """Return the epoch that step ``step``, counted from 0, belongs to."""
        first, steps = next((f, s) for f, s in reversed(self.phases) if self.start_of(f) <= step)
        return first + (step - self.start_of(first)) // steps
