"""Corners of the reliability code that no other test reaches."""

import contextlib
import importlib.util
import json
import math
import os
from collections import deque
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.distributed as dist
from torch import nn

from openmix.commands import run_command
from openmix.data import Batch
from openmix.engine import nonfinite
from openmix.engine.nonfinite import FiniteCheck, digest
from openmix.engine.signals import StopRequest


def beside(*parts: str) -> ModuleType:
    """Import another file of tests for its helpers."""
    spec = importlib.util.spec_from_file_location(
        parts[-1], Path(__file__).parents[1].joinpath(*parts[:-1], parts[-1] + ".py")
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ts = beside("engine", "test_step")
poisoned = beside("reliability", "test_nonfinite").poisoned


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_none_stops_though_its_gradient_is_a_number(bad):
    task = ts.Linear()
    forward = task.forward
    task.forward = lambda batch, context: {**(o := forward(batch, context)), "loss": o["loss"] + bad}
    before = [p.detach().clone() for p in task.parameters()]
    with pytest.raises(nonfinite.NonFiniteError, match="the loss is"):
        ts.step_of(task)([ts.batch(0)])
    assert all(map(torch.equal, before, task.parameters()))


def test_a_gradient_that_is_none_stops_where_it_is_clipped():
    task = ts.Linear()
    task.layer.weight.register_hook(lambda gradient: gradient * math.nan)
    before = [p.detach().clone() for p in task.parameters()]
    with pytest.raises(nonfinite.NonFiniteError, match="the gradient is not finite"):
        ts.step_of(task, clip_grad={"max_norm": 1.0})([ts.batch(0)])
    assert all(map(torch.equal, before, task.parameters()))


@pytest.mark.parametrize("which", [0, 1])
def test_with_a_loss_scale_any_micro_batch_counts(which):
    task = ts.Linear()
    step = ts.step_of(task, accumulative_counts=2)
    step.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    micro = [ts.batch(0), ts.batch(1)]
    micro[which][1].images[0, 0, 0, 0] = math.nan
    with pytest.raises(nonfinite.NonFiniteError, match=f"shard {which}"):
        step(micro)


def test_with_a_loss_scale_the_gradient_itself_is_clipped():
    tasks = ts.Linear(), ts.Linear()
    scaled = ts.step_of(tasks[0], clip_grad={"max_norm": 0.01})
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaled([ts.batch(0)])
    ts.step_of(tasks[1], clip_grad={"max_norm": 0.01})([ts.batch(0)])
    for a, b in zip(*(t.parameters() for t in tasks), strict=True):
        torch.testing.assert_close(a, b)


def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps be flagged as on a GPU: found later, by whoever looks."""

    def init(self: FiniteCheck, device: torch.device) -> None:
        self.waits, self._flags, self._contexts = False, torch.zeros(1024), deque(maxlen=1024)

    monkeypatch.setattr(FiniteCheck, "__init__", init)


@pytest.mark.parametrize("phased", [False, True])
def test_on_a_device_the_key_has_the_images_by_the_plan(lab, poisoned, tmp_path, capsys, monkeypatch, phased):
    as_on_a_device(monkeypatch)
    dataset = {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 26}
    loader = {"type": "ResidentLoader", "batch_size": 8, "dataset": dataset}
    if phased:
        longer = {**loader, "dataset": {**dataset, "length": 30}}
        loader = {"type": "PhasedLoader", "loaders": [loader, longer], "begins": [0, 1]}
    path = poisoned(0, "nan", train_dataloader=loader)
    assert run_command("train", [path, "--work-dir", str(tmp_path / "run")]) == 1
    assert "the gradient is not finite in epoch 2, step 5; nothing was saved after it" in capsys.readouterr().err
    key = tmp_path / "run" / "nonfinite" / "step_5_rank_0.json"
    seen = torch.load(tmp_path / "seen0.pt", weights_only=True)
    assert json.loads(key.read_text())["micro_batches"] == [{"shard": 0, "index": seen["index"].tolist()}]
    assert run_command("replay", [str(key)]) == 0
    assert "the images that the run had; it was on a GPU" in capsys.readouterr().out
    content = json.loads(key.read_text())
    content["micro_batches"][0]["index"][0] += 1
    key.write_text(json.dumps(content))
    assert run_command("replay", [str(key)]) == 1


def test_on_a_device_a_run_ends_as_soon_as_it_is_seen(lab, poisoned, tmp_path, monkeypatch):
    """Not at the next record or checkpoint, which may be an hour away."""
    from openmix.engine.step import TrainStep

    as_on_a_device(monkeypatch)
    original, steps = TrainStep.__call__, []
    monkeypatch.setattr(TrainStep, "__call__", lambda self, batches: (steps.append(1), original(self, batches))[1])
    path = poisoned(
        0, "nan", train_dataloader={"dataset": {"length": 208}}, default_hooks={"logger": {"interval": 100}}
    )
    assert run_command("train", [path, "--work-dir", str(tmp_path / "run")]) == 1
    assert len(steps) == 5, "the poisoned one is the fifth of an epoch of 26"


def test_what_the_key_says(lab, poisoned, tmp_path):
    path = poisoned(0, "nan", train_dataloader={"dataset": {"length": 26}})
    run_command("train", [path, "--work-dir", str(tmp_path / "run")])
    content = json.loads((tmp_path / "run" / "nonfinite" / "step_5_rank_0.json").read_text())
    assert content["progress"] == 4 / 6
    assert content["micro_batches"][0]["loss"] == "nan"
    assert run_command("train", [path, "--work-dir", str(tmp_path / "run"), "--cfg-options", "custom_hooks=[]"]) == 0
    assert (tmp_path / "run" / "earlier" / "1" / "nonfinite").is_dir() and not (tmp_path / "run" / "nonfinite").exists()


def test_a_digest_is_of_all_that_the_task_is_given():
    views, labels, index = (torch.zeros(2, 1, 2, 4),), torch.zeros(2, dtype=torch.int64), torch.arange(2)
    found = {
        digest(Batch(*b))
        for b in [
            (views, labels, index),
            ((views[0].view(2, 1, 4, 2),), labels, index),
            ((views[0].view(torch.int32),), labels, index),
            (views, labels + 1, index),
            ((views[0] + 1,), labels, index),
        ]
    }
    assert len(found) == 5


def test_looking_at_a_step_is_repeatable_and_leaves_no_hook():
    from openmix.engine.replay import find_nonfinite

    class Drops(ts.Linear):
        def forward(self, batch, context):
            return {"loss": nn.functional.dropout(self.layer(batch.images.flatten(1))).sum()}

    task = Drops()
    assert list(find_nonfinite(task, *ts.batch(0))) == list(find_nonfinite(task, *ts.batch(0)))
    assert not any(m._forward_hooks for m in task.modules())


def test_a_run_ends_where_no_loss_scale_is_small_enough(lab, tmp_path, monkeypatch, capsys):
    from openmix.engine.step import TrainStep

    original = TrainStep.__init__

    def with_scaler(self, *a):
        original(self, *a)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=5e-5)

    monkeypatch.setattr(TrainStep, "__init__", with_scaler)
    assert run_command("train", [lab.write(tmp_path), "--work-dir", str(tmp_path / "run")]) == 1
    assert "overflows in fp16 at any loss scale" in capsys.readouterr().err


@pytest.mark.parametrize("fails", [False, True])
def test_the_exchange_under_way_is_awaited_where_the_run_ends_well_alone(fails):
    waited = []

    class Work:
        def wait(self):
            waited.append(1)

    with contextlib.suppress(KeyError), StopRequest() as stop:
        stop._pending = torch.zeros(1), Work()
        if fails:
            raise KeyError
    assert len(waited) == (not fails)


def test_the_flags_group_has_the_runs_patience(lab, tmp_path, monkeypatch):
    from openmix.engine import trainer
    from openmix.engine.distributed import World
    from openmix.engine.run import train

    asked = []
    original = trainer.StopRequest
    monkeypatch.setattr(trainer, "StopRequest", lambda timeout: (asked.append(timeout), original(timeout))[1])
    path = lab.write(tmp_path)
    train(lab.load(path, tmp_path / "run"), path, World(timeout=7.0), quiet=True)
    assert asked == [7.0]


def test_stop_group_timeout(monkeypatch):
    asked = {}
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "new_group", lambda **options: asked.update(options))
    StopRequest(7.0)
    assert asked == {"backend": "gloo", "timeout": timedelta(seconds=7)}


@pytest.mark.parametrize("command", ["train", "test"])
def test_the_commands_watch_their_peers(lab, tmp_path, monkeypatch, command):
    import openmix.engine.peers as peers

    path, worlds = lab.write(tmp_path), []
    if command == "test":
        lab.train(path, tmp_path / "run")

    @contextlib.contextmanager
    def watched(world):
        worlds.append(world)
        yield

    monkeypatch.setattr(peers, "peers_watched", watched)
    arguments = (
        [path, "--work-dir", str(tmp_path / "run")]
        if command == "train"
        else [path, str(tmp_path / "run/checkpoints/last.pth")]
    )
    assert run_command(command, arguments) == 0 and len(worlds) == 1


def test_settings_of_torch_within_and_after(monkeypatch):
    from openmix.engine.deterministic import deterministic_algorithms

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with deterministic_algorithms(True):
        assert not torch.backends.cudnn.benchmark and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.backends.cudnn.benchmark


def test_a_write_that_fails_leaves_nothing_beside(tmp_path):
    from openmix.engine.files import write_atomically

    def fail(beside):
        beside.write_text("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_atomically(tmp_path / "x", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_with_an_average_needs_twice_the_space(lab, tmp_path, monkeypatch):
    import openmix.engine.run as run

    needs = []
    original = run.held
    monkeypatch.setattr(run, "held", lambda *a: (needs.append(a[3]), original(*a))[1])
    lab.train(lab.write(tmp_path), tmp_path / "a", train_cfg__max_epochs=1)
    lab.train(lab.write(tmp_path, custom_hooks=[{"type": "EMAHook"}]), tmp_path / "b", train_cfg__max_epochs=1)
    assert needs[1] == 2 * needs[0] > 4000
