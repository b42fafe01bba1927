"""A run that was stopped anywhere and resumed is the run that was not, bit for bit."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from openmix.errors import UserError
from openmix.registry import MODELS

TORCH_LOADER = {
    "type": "TorchLoader",
    "batch_size": 8,
    "dataset": {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 52},
    "pipeline": [{"type": "RandomCrop", "size": 8, "padding": 1}, {"type": "RandomHorizontalFlip"}],
}

# each exercises other states: of the optimizer, of the schedule, of averages and of generators
VARIANTS: dict[str, dict[str, Any]] = {
    "resident": {},
    "torch": {"train_dataloader": TORCH_LOADER},
    "everything": {
        "train_dataloader": {"batch_size": 4},  # with two micro-batches a step: 6 steps an epoch again
        "model": {"backbone": {"type": "DropNet"}, "head": {"in_channels": 4}, "mix_repeat": 2},
        "optim_wrapper": {
            "optimizer": {"type": "AdamW", "lr": 0.01, "weight_decay": 0.1},
            "clip_grad": {"max_norm": 0.5},
            "accumulative_counts": 2,
        },
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 4},
            {"type": "CosineAnnealingLR", "by_epoch": False, "begin": 4},
            {"type": "StepLR", "step_size": 1, "gamma": 0.5},
        ],
        "custom_hooks": [{"type": "EMAHook", "momentum": 0.3}],
    },
    "cyclic momentum": {
        "param_scheduler": {"type": "OneCycleLR", "max_lr": 0.2, "by_epoch": False},
        "default_hooks": {"checkpoint": {"interval": 5, "by_epoch": False}},
    },
    # epochs of 4 steps on 6-pixel images, then of 6 steps on 8-pixel ones: 4, 10, 16
    "phases": {
        "train_dataloader": {
            "type": "PhasedLoader",
            "begins": [0, 1],
            "loaders": [
                {**TORCH_LOADER, "batch_size": 13, "pipeline": [{"type": "RandomCrop", "size": 6}]},
                TORCH_LOADER,
            ],
        },
        "train_cfg": {"max_epochs": 3},
        "optim_wrapper": {"paramwise_cfg": {"norm_decay_mult": 0.0}, "optimizer": {"weight_decay": 0.1}},
        "param_scheduler": {
            "type": "PiecewiseLinearLR",
            "knots": [[0, 0.1], [1, 0.3], [1, 0.2], [3, 0.0]],
            "convert_to_iter_based": True,
        },
    },
    "timm": {"optim_wrapper": {"optimizer": {"type": "Lamb", "lr": 0.01}}},  # counts its steps in the groups
}


@pytest.fixture(autouse=True, scope="module")
def drop_net():
    """A network that draws from torch's global generator, and has two kinds of buffers."""

    @MODELS.register_module(name="DropNet")
    class DropNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=None), nn.ReLU(), nn.Dropout2d(0.3)
            )

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (self.layers(images),)

    yield
    MODELS.module_dict.pop("DropNet")


@pytest.fixture(scope="module")
def straight(lab, tmp_path_factory):
    """The config of a variant, and the work dir of its uninterrupted run."""
    done: dict[str, tuple[str, Path]] = {}

    def run(variant: str) -> tuple[str, Path]:
        if variant not in done:
            folder = tmp_path_factory.mktemp("straight")
            path = lab.write(folder, **VARIANTS[variant])
            assert lab.train(path, folder / "run") is not None
            done[variant] = path, folder / "run"
        return done[variant]

    return run


@pytest.mark.parametrize("stop_after", [1, 3, 6, 7, 11])
@pytest.mark.parametrize("variant", ["resident", "torch", "everything"])
def test_stopped_and_resumed_run_equals_the_uninterrupted_one(lab, straight, tmp_path, variant, stop_after):
    path, whole = straight(variant)
    assert lab.train(path, tmp_path / "cut", stop_after=stop_after) is None
    names = {p.name for p in (tmp_path / "cut" / "checkpoints").glob("*_*.pth")}
    assert ("epoch_1.pth" if stop_after == 6 else f"iter_{stop_after}.pth") in names
    metrics = lab.train(path, tmp_path / "cut", resume=True)
    lab.assert_same_run(whole, tmp_path / "cut")
    assert metrics == lab.state(whole)["metrics"]


def test_the_other_signal_and_other_workers_make_no_difference(lab, straight, tmp_path):
    path, whole = straight("torch")
    halves = {"train_dataloader__num_workers": 2, "stop_after": 8, "stop_signal": signal.SIGUSR1}
    assert lab.train(path, tmp_path / "cut", **halves) is None
    lab.train(path, tmp_path / "cut", resume=True)
    lab.assert_same_run(whole, tmp_path / "cut")


@pytest.mark.parametrize("stop_after", [2, 4, 5, 10])
def test_phases_are_resumed_within_and_between(lab, straight, tmp_path, stop_after):
    path, whole = straight("phases")
    assert lab.train(path, tmp_path / "cut", stop_after=stop_after) is None
    names = {p.name for p in (tmp_path / "cut" / "checkpoints").glob("*_*.pth")}
    assert {4: "epoch_1.pth", 10: "epoch_2.pth"}.get(stop_after, f"iter_{stop_after}.pth") in names
    assert lab.train(path, tmp_path / "cut", resume=True) == lab.state(whole)["metrics"]
    lab.assert_same_run(whole, tmp_path / "cut")


def test_phases_that_were_not_reached_may_change(lab, straight, tmp_path):
    path, _ = straight("phases")
    assert lab.train(path, tmp_path / "cut", stop_after=3) is None
    lab.train(path, tmp_path / "cut", resume=True, train_dataloader__begins=[0, 2])
    assert lab.state(tmp_path / "cut")["timeline"] == [[0, 4], [2, 6]]
    with pytest.raises(UserError, match="4 steps from epoch 1 on, 6 steps from epoch 2 on, this run's 4 steps from"):
        cut = tmp_path / "after"
        assert lab.train(path, cut, stop_after=5) is None
        lab.train(path, cut, resume=True, train_dataloader__begins=[0, 2])


@pytest.mark.parametrize("variant", ["cyclic momentum", "timm"])
def test_resuming_twice_equals_not_stopping(lab, straight, tmp_path, variant):
    path, whole = straight(variant)
    for resume, stop_after in ((False, 2), (True, 9), (True, None)):
        lab.train(path, tmp_path / "cut", resume=resume, stop_after=stop_after)
    lab.assert_same_run(whole, tmp_path / "cut")


def test_variants_are_what_they_claim(lab, straight):
    """Else the tests above would compare less than they say."""
    _, whole = straight("everything")
    state = lab.state(whole)
    assert state["ema"]["n_averaged"] == 12
    assert {"exp_avg", "exp_avg_sq", "step"} == state["optimizer"]["state"][0].keys()
    rates = [r["lr"] for r in lab.records(whole) if r["split"] == "train"]
    assert len(set(rates)) == len(rates) == 4  # steps 4, 6, 8 and 12
    _, phases = straight("phases")
    assert lab.state(phases)["step"] == 16 and lab.state(phases)["timeline"] == [[0, 4], [1, 6]]
    validations = [(r["epoch"], r["step"]) for r in lab.records(phases) if r["split"] == "val"]
    assert validations == [(1, 4), (2, 10), (3, 16)]
    # the rate of the step that comes next: half-way down from 0.2 where the second epoch ends
    rates = {r["step"]: r["lr"] for r in lab.records(phases) if r["split"] == "train"}
    assert rates[4] == pytest.approx(0.2 - 0.2 / 12) and rates[10] == pytest.approx(0.1 - 0.2 / 12)
    _, one_cycle = straight("cyclic momentum")
    assert lab.state(one_cycle)["optimizer"]["param_groups"][0]["momentum"] != 0.9


def test_two_fresh_runs_are_bit_equal(lab, straight, tmp_path):
    path, whole = straight("everything")
    torch.manual_seed(99)  # what the process drew before is of no account
    lab.train(path, tmp_path / "again")
    lab.assert_same_run(whole, tmp_path / "again")


def test_another_seed_is_another_run(lab, straight, tmp_path):
    path, whole = straight("resident")
    lab.train(path, tmp_path / "other", randomness__seed=1)
    ours, others = lab.state(whole)["model"], lab.state(tmp_path / "other")["model"]
    assert all(not torch.equal(ours[k], others[k]) for k in ours if k.endswith("weight") and ours[k].ndim > 1)


def test_a_run_can_be_made_longer(lab, tmp_path):
    """One epoch, resumed with two in the config, is two epochs: the schedule is the config's, not the checkpoint's.

    It is exact here because a cosine that moves on once an epoch does not show its length in the first epoch.
    """
    path = lab.write(tmp_path, param_scheduler={"type": "CosineAnnealingLR"})
    lab.train(path, tmp_path / "whole")
    lab.train(path, tmp_path / "grown", train_cfg__max_epochs=1)
    lab.train(path, tmp_path / "grown", resume=True)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "grown")


def test_the_best_so_far_is_remembered(lab, tmp_path, monkeypatch):
    """A worse validation after the resume does not take best.pth's place."""
    import openmix.engine.trainer as trainer

    values = iter([50.0, 40.0])
    rest = {"top5": 0.0, "nll": 0.0, "ece": 0.0, "n": 1}
    monkeypatch.setattr(trainer, "evaluate", lambda *a: {"top1": next(values), **rest})
    path = lab.write(tmp_path)
    lab.train(path, tmp_path / "run", stop_after=8)
    lab.train(path, tmp_path / "run", resume=True)
    assert lab.state(tmp_path / "run", "best.pth")["step"] == 6
    assert lab.state(tmp_path / "run")["metrics"]["top1"] == 40.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_in_the_last_step_is_too_late_to_stop(lab, tmp_path, number):
    path = lab.write(tmp_path)
    assert lab.train(path, tmp_path / "run", stop_after=12, stop_signal=number) is not None
    assert lab.state(tmp_path / "run")["step"] == 12


def test_finished_run_is_not_trained_further(lab, straight, tmp_path):
    path, whole = straight("resident")
    lab.train(path, tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run" / "checkpoints").iterdir()}
    metrics = lab.train(path, tmp_path / "run", resume=True)
    assert metrics == lab.state(whole)["metrics"] == {k: metrics[k] for k in ("top1", "top5", "nll", "ece", "n")}
    assert {p: p.read_bytes() for p in (tmp_path / "run" / "checkpoints").iterdir()} == before
    lab.assert_same_run(whole, tmp_path / "run")


def test_resume_key_of_a_config(lab, straight, tmp_path):
    """`resume = True` in a config is what --resume is on the command line."""
    from openmix.commands import run_command

    _, whole = straight("resident")
    path = lab.write(tmp_path, resume=True)
    lab.train(path, tmp_path / "run", stop_after=4)
    assert run_command("train", [path, "--work-dir", str(tmp_path / "run")]) == 0
    lab.assert_same_run(whole, tmp_path / "run")
    assert not (tmp_path / "run" / "earlier").exists()
