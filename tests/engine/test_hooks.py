"""mmengine hooks, a user's own among them, see the run that mmengine would show them."""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from openmix.engine.ema import EMAHook
from openmix.engine.hooks import HookList
from openmix.registry import HOOKS

SEEN: list[tuple[Any, ...]] = []


class Watch(Hook):
    """Writes down where the run is at every point."""

    def __init__(self, name: str = "watch") -> None:
        self.name = name

    def note(self, point: str, runner: Any, **more: Any) -> None:
        SEEN.append((point, runner.epoch, runner.iter, more))
        assert (runner.max_epochs, runner.max_iters) == (2, 12)
        assert isinstance(runner.logger, logging.Logger)
        assert runner.visualizer is None
        assert isinstance(runner.model, torch.nn.Module)
        assert runner.work_dir.endswith("run")

    def before_run(self, runner: Any) -> None:
        self.note("before_run", runner)

    def after_load_checkpoint(self, runner: Any, checkpoint: Any) -> None:
        self.note("after_load_checkpoint", runner, step=checkpoint["step"])

    def before_train(self, runner: Any) -> None:
        self.note("before_train", runner)

    def before_train_epoch(self, runner: Any) -> None:
        self.note("before_train_epoch", runner)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.note("before_train_iter", runner, batch_idx=batch_idx, images=tuple(data_batch.images.shape))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        third, last = self.every_n_train_iters(runner, 3), self.is_last_train_iter(runner)
        self.note("after_train_iter", runner, batch_idx=batch_idx, third=third, last=last, outputs=set(outputs))
        assert outputs["loss"] > 0

    def after_train_epoch(self, runner: Any) -> None:
        self.note(
            "after_train_epoch", runner, second=self.every_n_epochs(runner, 2), last=self.is_last_train_epoch(runner)
        )

    def before_val(self, runner: Any) -> None:
        self.note("before_val", runner)

    def before_val_epoch(self, runner: Any) -> None:
        self.note("before_val_epoch", runner)

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self.note("after_val_epoch", runner, metrics=set(metrics))

    def after_val(self, runner: Any) -> None:
        self.note("after_val", runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: Any) -> None:
        checkpoint["note"] = [self.name, checkpoint["step"]]
        self.note("before_save_checkpoint", runner)

    def after_train(self, runner: Any) -> None:
        self.note("after_train", runner)

    def after_run(self, runner: Any) -> None:
        self.note("after_run", runner)


class Counts(Hook):
    """Has a state."""

    def __init__(self, start: int = 0) -> None:
        self.count = start

    def _before_epoch(self, runner: Any, mode: str = "train") -> None:
        SEEN.append(("_before_epoch", mode))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.count += 1

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    SEEN.clear()
    for hook in (Watch, Counts):
        HOOKS.register_module(module=hook)
    yield
    for hook in (Watch, Counts):
        HOOKS.module_dict.pop(hook.__name__)


def points() -> list[str]:
    return [seen[0] for seen in SEEN]


class TestUsersHook:
    def test_points_of_a_whole_run(self, lab, tmp_path):
        """2 epochs of 6 steps: the order is mmengine's."""
        path = lab.write(tmp_path, custom_hooks=[{"type": "Watch"}])
        lab.train(path, tmp_path / "run")
        epoch = [
            "before_train_epoch", *["before_train_iter", "after_train_iter"] * 6, "after_train_epoch",
            "before_val", "before_val_epoch", "after_val_epoch", "after_val", "before_save_checkpoint",
        ]  # fmt: skip
        assert points() == ["before_run", "before_train", *epoch, *epoch, "after_train", "after_run"]

    def test_epoch_and_iter_are_mmengines(self, lab, tmp_path):
        """In a step's hooks, iter counts the steps before; after an epoch's, epoch counts it as well."""
        lab.train(lab.write(tmp_path, custom_hooks=[{"type": "Watch"}]), tmp_path / "run")
        at = {point: [(epoch, step) for p, epoch, step, _ in SEEN if p == point] for point in points()}
        steps = [(step // 6, step) for step in range(12)]
        assert at["before_train_iter"] == at["after_train_iter"] == steps
        assert at["before_train_epoch"] == [(0, 0), (1, 6)]
        assert at["after_train_epoch"] == [(0, 6), (1, 12)]
        assert at["before_val"] == at["after_val_epoch"] == at["before_save_checkpoint"] == [(1, 6), (2, 12)]
        assert at["before_run"] == at["before_train"] == [(0, 0)]
        assert at["after_train"] == at["after_run"] == [(2, 12)]
        more = {p: [m for q, _, _, m in SEEN if q == p] for p in points()}
        assert [m["batch_idx"] for m in more["after_train_iter"]] == [*range(6), *range(6)]
        assert [m["third"] for m in more["after_train_iter"]] == [False, False, True] * 4
        assert [m["last"] for m in more["after_train_iter"]] == [False] * 11 + [True]
        assert [(m["second"], m["last"]) for m in more["after_train_epoch"]] == [(False, False), (True, True)]
        assert {m["images"] for m in more["before_train_iter"]} == {(8, 1, 8, 8)}
        assert more["after_train_iter"][0]["outputs"] == {"loss", "top1_dominant"}
        assert more["after_val_epoch"][0]["metrics"] == {"top1", "top5", "nll", "ece", "n"}

    def test_points_of_a_resumed_run(self, lab, tmp_path):
        path = lab.write(tmp_path, custom_hooks=[{"type": "Watch"}])
        lab.train(path, tmp_path / "run", stop_after=8)
        assert torch.load(tmp_path / "run" / "checkpoints" / "last.pth", weights_only=True)["note"] == ["watch", 8]
        assert "after_run" not in points()
        SEEN.clear()
        lab.train(path, tmp_path / "run", resume=True)
        assert points()[:4] == ["before_run", "after_load_checkpoint", "before_train", "before_train_iter"]
        assert SEEN[1] == ("after_load_checkpoint", 1, 8, {"step": 8})
        assert Counter(points())["after_train_iter"] == 4
        assert SEEN[3][3]["batch_idx"] == 2

    def test_state_is_saved_and_restored(self, lab, tmp_path):
        """Two hooks of one class have a state each; so have those after a hook without any."""
        hooks = [{"type": "Counts", "start": 100}, {"type": "Watch"}, {"type": "Counts"}]
        path = lab.write(tmp_path, custom_hooks=hooks)
        lab.train(path, tmp_path / "run", stop_after=5)
        lab.train(path, tmp_path / "run", resume=True)
        assert lab.state(tmp_path / "run")["hooks"] == {"Counts-1": {"count": 112}, "Counts-2": {"count": 12}}

    def test_general_points_of_mmengine(self, lab, tmp_path):
        """`_before_epoch` stands for the beginnings of training and of validation."""
        lab.train(lab.write(tmp_path, custom_hooks=[{"type": "Counts"}]), tmp_path / "run")
        assert [("_before_epoch", mode) for mode in ("train", "val", "train", "val")] == SEEN

    def test_priorities_order_them(self, lab, tmp_path):
        class First(Hook):
            def before_run(self, runner: Any) -> None:
                SEEN.append(("first",))

        class Last(Hook):
            priority = "VERY_LOW"

            def before_run(self, runner: Any) -> None:
                SEEN.append(("last",))

        for hook in (First, Last):
            HOOKS.register_module(module=hook)
        try:
            hooks = [{"type": "Last"}, {"type": "Watch"}, {"type": "First", "priority": "HIGH"}]
            lab.train(lab.write(tmp_path, custom_hooks=hooks, train_cfg={"max_epochs": 2}), tmp_path / "run")
        finally:
            for hook in (First, Last):
                HOOKS.module_dict.pop(hook.__name__)
        assert points()[:3] == ["first", "before_run", "last"]

    def test_state_that_is_no_plain_data_stops_the_run_at_once(self, lab, tmp_path, monkeypatch):
        from openmix.errors import UserError

        monkeypatch.setattr(Counts, "state_dict", lambda self: {"hook": self})
        path, run = lab.write(tmp_path, custom_hooks=[{"type": "Counts"}]), tmp_path / "run"
        with pytest.raises(UserError, match=r"a hook's state is not plain data, .*: Counts-1\.hook is a Counts"):
            lab.train(path, run)
        assert not list((run / "checkpoints").glob("*.pth"))

    def test_state_that_becomes_no_plain_data_is_not_saved(self, lab, tmp_path, monkeypatch):
        from openmix.errors import UserError

        states = iter([{}])
        monkeypatch.setattr(Counts, "state_dict", lambda self: next(states, {"hook": [1, self]}))
        path, run = lab.write(tmp_path, custom_hooks=[{"type": "Counts"}]), tmp_path / "run"
        with pytest.raises(UserError, match=r"is not plain data: hooks\.Counts-1\.hook\.1 is a Counts"):
            lab.train(path, run)
        assert not list((run / "checkpoints").glob("*.pth"))


class TestEMA:
    def test_is_the_average_by_hand(self, lab, tmp_path, monkeypatch):
        """Weights and BatchNorm's statistics, from every step's, starting with the first's."""
        from openmix.engine.trainer import Trainer

        momentum, history = 0.3, []
        after_iter = Trainer._after_iter

        def remember(trainer: Trainer, ends_epoch: bool) -> None:
            history.append({k: v.clone() for k, v in trainer.task.state_dict().items()})
            after_iter(trainer, ends_epoch)

        monkeypatch.setattr(Trainer, "_after_iter", remember)
        path = lab.write(tmp_path, custom_hooks=[{"type": "EMAHook", "momentum": momentum}])
        lab.train(path, tmp_path / "run")
        average = history[0]
        for state in history[1:]:
            average = {k: (1 - momentum) * average[k] + momentum * state[k] for k in average}
        saved = lab.state(tmp_path / "run")["ema"]
        assert len(history) == 12
        assert saved.pop("n_averaged") == 12
        assert {k.removeprefix("module.") for k in saved} == average.keys()
        for key, value in average.items():
            if value.is_floating_point() and "tracked" not in key:
                torch.testing.assert_close(saved[f"module.{key}"], value, msg=key)
        assert not torch.equal(saved["module.head.fc.weight"], history[-1]["head.fc.weight"])


def test_points_at_which_nobody_acts_cost_nothing():
    """A hook is called where it, or a general point that it has, says something."""
    calls: list[Any] = []

    class Ends(Hook):
        def after_run(self, runner: Any) -> None:
            calls.append(runner)

    hooks = HookList([Ends(), Hook()], runner="the run")
    hooks("before_train_iter", batch_idx=0)
    hooks("after_run")
    assert calls == ["the run"]
    assert [len(hooks._at[p]) for p in ("before_train_iter", "after_run")] == [0, 1]


def test_averages_follow_what_a_module_puts_in_a_buffers_place():
    """As DINO's centre: another tensor each step."""
    from types import SimpleNamespace

    class Centre(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.register_buffer("centre", torch.zeros(2))

    task = Centre()
    runner = SimpleNamespace(task=task, wrapped=SimpleNamespace(to_average=lambda: task))
    hook = EMAHook(momentum=0.5)
    hook.before_run(runner)
    for value in (1.0, 3.0):
        task.centre = torch.full((2,), value)
        hook.after_train_iter(runner, 0)
    assert torch.equal(runner.ema.module.centre, torch.full((2,), 2.0))
    assert torch.equal(runner.ema.module.layer.weight, task.layer.weight)
