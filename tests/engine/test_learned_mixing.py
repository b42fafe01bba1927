"""Runs of AutoMix, SAMix and AdAutoMix: cut and resumed, on two processes, evaluated, from other weights."""

import pytest
import torch

from openmix.engine.config import load_config
from openmix.engine.distributed import World
from openmix.engine.run import test as evaluate_run

KINDS = ("AutoMixClassification", "SAMixClassification", "AdAutoMixClassification")


def write(lab, folder, kind: str, **changes):
    model = {
        "type": kind,
        "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1},
        "head": {"type": "ClsMixupHead", "num_classes": 10},
        "head_one": {"type": "ClsHead", "num_classes": 10},
    }
    return lab.write(folder, kind, model=model, **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_cut_goes_on_to_the_same_end(kind, lab, tmp_path):
    path = write(lab, tmp_path, kind)
    lab.train(path, tmp_path / "whole")
    for stop in (3, 6):
        assert lab.train(path, tmp_path / "cut", resume=True, stop_after=stop) is None
    lab.train(path, tmp_path / "cut", resume=True)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")
    last = lab.records(tmp_path / "whole")[-1]
    assert {"top1", "top1_q", "top1_k", "top1_one_q", "top1_one_k"} <= last.keys()
    assert last["top1"] == last["top1_q"]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_equal_one_that_accumulates_two(kind, lab, ranks, tmp_path):
    """Bit for bit, but for BatchNorm's running statistics, which are those of rank 0's micro-batches."""
    path = write(lab, tmp_path, kind, train_dataloader={"batch_size": 4})
    ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / "two")})
    lab.train(path, tmp_path / "one", optim_wrapper__accumulative_counts=2)
    two, one = (lab.state(tmp_path / name) for name in ("two", "one"))
    assert lab.differences(two["optimizer"], one["optimizer"]) == []
    weights = [
        {k: v for k, v in state["model"].items() if "running_" not in k and "tracked" not in k} for state in (two, one)
    ]
    assert any(name.startswith("mix_block.") for name in weights[0])
    assert any(name.startswith("teacher.backbone.") for name in weights[0])
    assert lab.differences(*weights) == []


def test_processes_draw_mixes_of_their_own(lab, ranks, tmp_path):
    """Were they alike, two processes would be no more than one."""
    path = write(lab, tmp_path, KINDS[0], train_dataloader={"batch_size": 4})
    overrides = {"train_cfg.max_epochs": 1, "default_hooks.logger.interval": 1}
    ranks(2, "train_config", config=path, overrides={**overrides, "work_dir": str(tmp_path / "two")})
    lab.train(path, tmp_path / "one", train_cfg__max_epochs=1, default_hooks__logger__interval=1)
    gaps = [[r["mask_gap"] for r in lab.records(tmp_path / n) if r["split"] == "train"] for n in ("two", "one")]
    assert gaps[0] != gaps[1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_test_tool_reports_what_the_validation_did(kind, lab, tmp_path):
    path = write(lab, tmp_path, kind)
    metrics = lab.train(path, tmp_path / "run")
    cfg = load_config(path, {"work_dir": str(tmp_path / "run")})
    again = evaluate_run(cfg, str(tmp_path / "run/checkpoints/last.pth"), World())
    assert {k: v for k, v in again.items() if k.startswith("top1")} == {
        k: v for k, v in metrics.items() if k.startswith("top1")
    }


def test_the_best_checkpoint_may_be_the_momentum_encoders(lab, tmp_path):
    path = write(lab, tmp_path, KINDS[0], default_hooks={"checkpoint": {"save_best": "top1_k"}})
    lab.train(path, tmp_path / "run")
    best = lab.state(tmp_path / "run", "best.pth")
    assert best["best"] == max(r["top1_k"] for r in lab.records(tmp_path / "run") if r["split"] == "val")


def test_a_run_begins_with_a_classifiers_weights_everywhere(lab, tmp_path):
    """``load_from`` a plain run: student, momentum encoder and both classifiers are that network."""
    plain = lab.write(tmp_path, "plain")
    lab.train(plain, tmp_path / "plain")
    path = write(lab, tmp_path, KINDS[0], load_from=str(tmp_path / "plain/checkpoints/last.pth"))
    lab.train(path, tmp_path / "run", optim_wrapper__optimizer__lr=1e-12, train_cfg__max_epochs=1)
    given, model = lab.state(tmp_path / "plain")["model"], lab.state(tmp_path / "run")["model"]
    for name, value in given.items():
        if "running_" not in name and "tracked" not in name:
            for prefix in ("", "teacher."):
                torch.testing.assert_close(model[prefix + name], value)
    for name in ("head_one", "teacher.head_one"):
        torch.testing.assert_close(model[f"{name}.fc.weight"], given["head.fc.weight"])


def test_the_mix_block_has_a_schedule_and_a_momentum_of_its_own(lab, tmp_path):
    schedules = [
        {"type": "CosineAnnealingLR", "eta_min": 0.0, "group": "student"},
        {"type": "CosineAnnealingLR", "eta_min": 0.02, "group": "mix_block"},
    ]
    optimizer = {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}}
    optimizer["paramwise_cfg"] = {"custom_keys": {"mix_block": {"lr_mult": 0.5, "momentum": 0.0}}}
    path = write(lab, tmp_path, KINDS[0], param_scheduler=schedules, optim_wrapper=optimizer)
    lab.train(path, tmp_path / "run")
    student, block = lab.state(tmp_path / "run")["optimizer"]["param_groups"]
    assert (student["name"], student["momentum"], block["name"], block["momentum"]) == (
        "student",
        0.9,
        "mix_block",
        0.0,
    )
    assert student["lr"] == pytest.approx(0.0, abs=1e-12)
    assert block["lr"] == pytest.approx(0.02)
