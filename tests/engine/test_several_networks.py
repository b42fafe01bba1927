"""A task of several networks in whole runs: all are evaluated and compiled, and know when a run begins."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from openmix.data.batch import Batch
from openmix.engine import run as engine
from openmix.engine.config import load_config
from openmix.engine.distributed import World
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
        return {"q": self.predict(images), "k": self.other_head(self.other(images))}

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
