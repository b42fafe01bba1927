"""A task of several networks in whole runs: all are evaluated and compiled, and know when a run begins."""

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from openmix.commands import run_command
from openmix.data.batch import Batch
from openmix.engine import run as engine
from openmix.engine import trial
from openmix.engine.config import load_config
from openmix.engine.distributed import World
from openmix.errors import UserError
from openmix.models import ClsHead
from openmix.registry import TASKS
from openmix.tasks import Classification, StepContext


class TwoNetsClassification(Classification):
    """A student, and another network, which is trained at a rate of its own."""

    begun = 0

    def __init__(self, backbone: nn.Module, head: ClsHead) -> None:
        super().__init__(backbone, head)
        self.other = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.other_head = nn.Linear(4, head.num_classes)

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        losses = [self.head.loss(logits, batch.labels) for logits in self.predictions(batch.images).values()]
        return {"loss": sum(losses, torch.zeros(()))}

    def predictions(self, images: Tensor) -> dict[str, Tensor]:
        return {"q": self.predict(images), "k": self.other_head(self.other(images[:, :1]))}

    def compiled(self) -> list[nn.Module]:
        return [self.backbone, self.other]

    def parameter_groups(self) -> list[dict[str, Any]]:
        student, other = nn.ModuleList([self.backbone, self.head]), nn.ModuleList([self.other, self.other_head])
        return [
            {"name": "student", "params": list(student.parameters())},
            {"name": "other", "params": list(other.parameters())},
        ]

    def begin(self) -> None:
        type(self).begun += 1


@pytest.fixture(autouse=True)
def two_nets(monkeypatch):
    """The task's name in configs, and its class."""
    TASKS.register_module(module=TwoNetsClassification)
    monkeypatch.setattr(TwoNetsClassification, "begun", 0)
    yield
    TASKS.module_dict.pop("TwoNetsClassification")


MODEL = {
    "type": "TwoNetsClassification",
    "backbone": {"type": "ConvNet", "widths": [4], "in_channels": 1},
    "head": {"type": "ClsHead", "num_classes": 10},
}


def test_every_validation_and_test_knows_all_networks(lab, tmp_path):
    path = lab.write(tmp_path, model=MODEL)
    metrics = lab.train(path, tmp_path / "run")
    assert "top1_k" in metrics and "top1_q" not in metrics
    vals = [r for r in lab.records(tmp_path / "run") if r["split"] == "val"]
    assert [r["step"] for r in vals] == [6, 12]
    assert vals[-1]["top1_k"] == metrics["top1_k"] == lab.state(tmp_path / "run")["metrics"]["top1_k"]
    last = str(tmp_path / "run" / "checkpoints" / "last.pth")
    assert engine.test(load_config(path), last, World()) == metrics
    assert f"top1_k {metrics['top1_k']:.2f} %" in (tmp_path / "run" / "train.log").read_text()


def test_of_averaged_weights_all_networks_are_evaluated(lab, tmp_path):
    path = lab.write(tmp_path, model=MODEL, custom_hooks=[{"type": "EMAHook", "momentum": 0.3}])
    metrics = lab.train(path, tmp_path / "run")
    state = lab.state(tmp_path / "run")
    assert state["ema"] is not None
    assert engine.test(load_config(path), str(tmp_path / "run" / "checkpoints" / "last.pth"), World()) == metrics


def test_all_that_a_task_names_is_compiled(lab, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    path = lab.write(tmp_path, model=MODEL)
    lab.train(path, tmp_path / "plain", train_cfg={"max_epochs": 1})
    assert compiled == []
    lab.train(path, tmp_path / "compiled", train_cfg={"max_epochs": 1, "compile": True})
    assert compiled == ["ConvNet", "Sequential"]


def test_a_task_is_told_of_weights_that_a_run_begins_with(lab, tmp_path):
    path = lab.write(tmp_path, model=MODEL)
    lab.train(path, tmp_path / "run", stop_after=3)
    assert TwoNetsClassification.begun == 0
    lab.train(path, tmp_path / "run", resume=True)
    assert TwoNetsClassification.begun == 0, "what it had begun with is in the checkpoint"
    lab.train(path, tmp_path / "next", load_from=str(tmp_path / "run" / "checkpoints" / "last.pth"))
    assert TwoNetsClassification.begun == 1


class TestBest:
    def saving(self, metric: str) -> dict[str, Any]:
        return {"checkpoint": {"save_best": metric}}

    def test_it_may_be_the_best_of_another_network(self, lab, tmp_path):
        path = lab.write(
            tmp_path,
            model=MODEL,
            train_cfg={"max_epochs": 5},
            optim_wrapper={"optimizer": {"lr": 0.5}},
            default_hooks=self.saving("top1_k"),
        )
        lab.train(path, tmp_path / "run")
        vals = [(r["top1_k"], -r["step"]) for r in lab.records(tmp_path / "run") if r["split"] == "val"]
        assert len({value for value, _ in vals}) > 1
        assert lab.state(tmp_path / "run", "best.pth")["step"] == -max(vals)[1]

    def test_a_network_that_there_is_not_is_found_without_data(self, lab, tmp_path):
        loader = {"type": "TorchLoader", "batch_size": 8}
        nowhere = {**loader, "dataset": {"type": "CIFAR10", "data_root": str(tmp_path / "nowhere")}}
        model = {**MODEL, "backbone": {**MODEL["backbone"], "in_channels": 3}}
        path = lab.write(
            tmp_path,
            model=model,
            default_hooks=self.saving("top1_kk"),
            train_dataloader=nowhere,
            val_dataloader=nowhere,
        )
        message = (
            "default_hooks.checkpoint: save_best must be None or one of top1, top5, nll, ece, top1_k; got 'top1_kk'"
        )
        with pytest.raises(UserError, match=message):
            load_config(path)

    def test_one_of_a_data_set_that_does_not_tell_its_layout(self, lab, tmp_path, monkeypatch):
        """Nothing is known before the first validation, which says it."""
        monkeypatch.setattr(trial, "_stand_in", lambda *_, **__: None)
        path = lab.write(tmp_path, model=MODEL, default_hooks=self.saving("top1_kk"))
        with pytest.raises(
            UserError, match="save_best must be None or one of top1, top5, nll, ece, top1_k; got 'top1_kk'"
        ):
            lab.train(path, tmp_path / "run")


class TestSchedules:
    """The student's rate falls to 0, the other network's to 0.01."""

    CFG: ClassVar = [
        {"type": "CosineAnnealingLR", "group": "student", "by_epoch": False},
        {"type": "CosineAnnealingLR", "group": "other", "by_epoch": False, "eta_min": 0.01},
    ]

    def write(self, lab, folder, **changes) -> str:
        return lab.write(folder, model=MODEL, param_scheduler=self.CFG, **changes)

    def test_the_record_is_of_the_first_group(self, lab, tmp_path):
        lab.train(self.write(lab, tmp_path), tmp_path / "run")
        trained = {r["step"]: r["lr"] for r in lab.records(tmp_path / "run") if r["split"] == "train"}
        assert trained == pytest.approx({step: 0.05 * (1 + math.cos(math.pi * step / 12)) for step in (4, 6, 8, 12)})
        groups = lab.state(tmp_path / "run")["optimizer"]["param_groups"]
        assert [(group["name"], group["lr"]) for group in groups] == [
            ("student", pytest.approx(0.0, abs=1e-12)),
            ("other", pytest.approx(0.01)),
        ]

    def test_a_resumed_run_is_the_same(self, lab, tmp_path):
        path = self.write(lab, tmp_path)
        lab.train(path, tmp_path / "whole")
        for steps in (5, 6):
            lab.train(path, tmp_path / f"cut{steps}", stop_after=steps)
            assert run_command("ckpt", ["verify", str(tmp_path / f"cut{steps}")]) == 0
            lab.train(path, tmp_path / f"cut{steps}", resume=True)
            lab.assert_same_run(tmp_path / "whole", tmp_path / f"cut{steps}")

    def test_a_checkpoint_of_before_groups_had_names(self, lab, tmp_path):
        path, old = self.write(lab, tmp_path), tmp_path / "old.pth"
        lab.train(path, tmp_path / "whole", stop_after=5)
        state = torch.load(tmp_path / "whole" / "checkpoints" / "last.pth", weights_only=True)
        for group in state["optimizer"]["param_groups"]:
            del group["name"]
        torch.save(state, old)
        lab.train(path, tmp_path / "whole", resume=True)
        lab.train(path, tmp_path / "old", resume=str(old))
        assert lab.differences(lab.state(tmp_path / "whole"), lab.state(tmp_path / "old")) == []

    def test_one_of_a_group_that_there_is_not(self, lab, tmp_path):
        cfg = [{**self.CFG[0], "group": "teacher"}]
        with pytest.raises(UserError, match=r"group='teacher', but this task's .* are named 'student', 'other'"):
            load_config(lab.write(tmp_path, model=MODEL, param_scheduler=cfg))
