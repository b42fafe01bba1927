"""A real run of openmix, and a rival's steps between its own."""

import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.hooks import Hook

from openmix.bench.measure import synchronise

__all__ = ["Beside"]


class Beside(Hook):
    """After every ``block`` steps of a run, let rivals do as many, and time all: A B A B, in one process.

    A run's own time holds all it does between two of these points: loading, mixing, the step, records, checkpoints,
    schedules, and other hooks of a lower priority. What a loader's workers do while the rival has its turn does not.

    Args:
        rivals: what does one training step, by name.
        block: steps a turn; more where a step is short, as a turn costs a few microseconds of itself.
        device: what to wait for before looking at the clock.

    Attributes:
        seconds: a step's, by name, one for each turn; the run's own is "openmix".
    """

    priority = "LOWEST"

    def __init__(self, rivals: dict[str, Callable[[], Any]], block: int, device: torch.device) -> None:
        self.rivals, self.block, self.device = rivals, block, device
        self.seconds: dict[str, list[float]] = {"openmix": [], **{name: [] for name in rivals}}
        self._steps, self._began = 0, 0.0

    def steps_for(self, turns: int) -> int:
        """Return how many steps a run must have for so many turns: a turn is over when the step after it begins."""
        return turns * self.block + 1

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Give the rivals their turn; here, as every run comes by, and not where it would prepare for its hooks."""
        if self._steps % self.block == 0:
            if self._steps:
                self._end("openmix")
                self._let_rivals()
            self._begin()
        self._steps += 1

    def _let_rivals(self) -> None:
        turn = list(self.rivals.items())
        for name, step in turn if len(self.seconds["openmix"]) % 2 else reversed(turn):
            self._begin()
            for _ in range(self.block):
                step()
            self._end(name)

    def _begin(self) -> None:
        synchronise(self.device)
        self._began = time.perf_counter()

    def _end(self, name: str) -> None:
        synchronise(self.device)
        self.seconds[name].append((time.perf_counter() - self._began) / self.block)
