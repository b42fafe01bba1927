"""Which turns a hook has, and what is counted how often."""

from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from openmix.bench import hooks
from openmix.bench.hooks import AfterEachStep, EveryOtherTurn, Stopwatch
from openmix.bench.recipe import Recipe
from openmix.bench.report import Options
from openmix.data.sources import Synthetic
from openmix.engine.ema import EMAHook
from openmix.engine.mix_preview import MixPreviewHook
from openmix.models import ConvNet

CPU = torch.device("cpu")


class Clock:
    """Stands still but where it is told to move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(hooks, "time", clock)
    return clock


@pytest.fixture
def tiny() -> Recipe:
    return Recipe(lambda: ConvNet([4]), Synthetic(10, (3, 8, 8), 64), 8, CPU, alpha=1.0)


def test_a_hook_acts_in_every_other_turn(clock: Clock) -> None:
    acted: list[int] = []

    class Acts(Hook):
        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            acted.append(batch_idx)
            clock.now += 0.5

    hook = EveryOtherTurn(Acts(), 2, CPU)
    hook.before_train(None)
    for step in range(9):
        clock.now += 1
        hook.after_train_iter(None, step)
    assert acted == [0, 1, 4, 5, 8]
    assert hook.seconds == {"with": [1.5, 1.5], "without": [1.0, 1.0]}
    assert hook.own.seconds == [0.5] * 5


def test_a_stopwatch_is_the_method_and_times_it(clock: Clock) -> None:
    def call(a: int, b: int) -> int:
        clock.now += a
        return a * b

    watch = Stopwatch(call, CPU)
    assert (watch(2, b=5), watch(3, 1)) == (10, 3)
    assert watch.seconds == [2, 3]


def test_the_average_of_every_other_step(tiny: Recipe) -> None:
    hook = EveryOtherTurn(EMAHook(momentum=0.5), 1, CPU)
    trainer = tiny.train([hook], 6)
    assert trainer.ema is not None and trainer.ema.n_averaged == 3
    assert len(hook.seconds["with"]) == len(hook.seconds["without"]) == 3


def test_each_step_has_a_record_a_preview_and_a_checkpoint(tiny: Recipe) -> None:
    previews: list[int] = []

    class Preview(Hook):
        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            previews.append(len(data_batch))
            assert runner.visualizer is not None

    hook = AfterEachStep(Preview(), CPU)
    sections = {"default_hooks": {"logger": {"interval": 1}}, "vis_backends": [{"type": "TensorboardVisBackend"}]}
    tiny.train([hook], 3, **sections)
    counts = {name: len(watch.seconds) for name, watch in hook.watches.items()}
    assert counts == {"record": 3, "preview": 3, "checkpoint": 3}
    assert previews == [8, 8, 8]


def test_a_record_has_the_means_that_it_waits_for(tiny: Recipe, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    from openmix.engine.trainer import Trainer

    log = Trainer._log
    monkeypatch.setattr(Trainer, "_log", lambda self: (setattr(clock, "now", clock.now + 3), log(self)))
    hook = AfterEachStep(MixPreviewHook(), CPU)
    tiny.train([hook], 2, default_hooks={"logger": {"interval": 1}}, vis_backends=[])
    assert hook.watches["record"].seconds == [3, 3]


def test_the_part_on_a_tiny_network(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "cifar_recipe", lambda options, batch_size: tiny)
    section = hooks.run(Options(CPU, quick=True, say=lambda line: None))
    rows = {row["what"]: row for row in section.rows}
    assert list(rows) == ["EMA", "record", "preview", "checkpoint", "the three"]
    each = [rows[name] for name in ("record", "preview", "checkpoint")]
    assert [row["calls"] for row in each] == [5, 1, 1]
    whole = rows["the three"]
    assert all(len(row["call_s_values"]) == hooks.REPEATS for row in each)
    assert whole["share"] == pytest.approx(sum(row["share"] for row in each))
    assert whole["epoch_s"] == pytest.approx(100 * whole["share"] * whole["of_s"])
    assert each[0]["of_s"] == pytest.approx(500 * rows["EMA"]["of_s"])
    assert len(section.bars) == 2 and "{" not in section.how


def test_bars_bound_shares() -> None:
    ema = {"share": 0.02, "low": 0.0, "high": 0.1, "turns": 9}
    assert [bar.met for bar in hooks._bars(ema, 0.01)] == [True, True]
    assert [bar.met for bar in hooks._bars({**ema, "share": 0.0201}, 0.0101)] == [False, False]
