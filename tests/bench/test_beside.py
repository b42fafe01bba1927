"""Whose time is whose, by a clock that the steps themselves move on."""

import pytest
import torch

from openmix.bench import beside
from openmix.bench.beside import Beside

CPU = torch.device("cpu")


class Clock:
    """Stands still but where it is told to move on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: object) -> None:
        self.now = 0.0
        monkeypatch.setattr(module, "time", self)

    def perf_counter(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


def test_each_side_is_charged_its_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = Clock(monkeypatch, beside), []
    rivals = {name: lambda name=name, s=s: (calls.append(name), clock.passes(s)) for name, s in (("a", 10), ("b", 20))}
    hook = Beside(rivals, 3, CPU)
    clock.passes(500)  # before the run
    for step in range(9):
        hook.before_train_iter(None, step)
        clock.passes(1 + step)  # the run's own
    assert hook.seconds == {"openmix": [2.0, 5.0], "a": [10.0, 10.0], "b": [20.0, 20.0]}
    # in turn, and none for the turn that was not finished
    assert calls == ["a"] * 3 + ["b"] * 3 + ["b"] * 3 + ["a"] * 3
    assert hook.steps_for(2) == 7


def test_it_acts_after_all_other_hooks() -> None:
    from mmengine.runner.priority import get_priority

    from openmix.engine.ema import EMAHook

    hooks = sorted([Beside({}, 1, CPU), EMAHook()], key=lambda hook: get_priority(hook.priority))
    assert isinstance(hooks[-1], Beside)
