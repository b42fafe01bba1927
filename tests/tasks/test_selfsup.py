"""Runs that learn without labels: cut and resumed, on two processes, evaluated, and what comes after them."""

from typing import Any

import pytest
import torch

from openmix.engine.config import load_config
from openmix.engine.distributed import World
from openmix.engine.run import test as evaluate_run
from openmix.errors import UserError

MLP = {"type": "ProjectionMLP", "channels": [8, 4]}
TASKS: dict[str, dict[str, Any]] = {
    "MoCo": {"type": "MoCo", "projector": {**MLP, "norm": "none"}, "queue_size": 20, "momentum": 0.9, "splits": 2},
    "MoCo plain": {"type": "MoCo", "projector": MLP, "queue_size": 20, "symmetric": True, "momentum_end": 1.0},
    "MoCoV3": {"type": "MoCoV3", "projector": MLP, "predictor": MLP},
    "SimSiam": {"type": "SimSiam", "projector": {**MLP, "norm": "all"}, "predictor": MLP},
    "SimCLR": {"type": "SimCLR", "projector": MLP},
}
EMA = [{"type": "EMAHook", "momentum": 0.2}]
VIEW = [{"type": "RandomResizedCrop", "size": 8, "scale": (0.2, 1.0)}, {"type": "RandomHorizontalFlip"}]
NETWORK = {"type": "ConvNet", "widths": [4, 8], "in_channels": 1}


def write(lab, folder, name, **changes):
    task = {"backbone": NETWORK, "probe": {"type": "ClsHead", "num_classes": 10}, **TASKS[name]}
    pipeline = [{"type": "Views", "views": [VIEW, VIEW]}]
    loader = {"pipeline": pipeline, **changes.pop("train_dataloader", {})}
    path = name.replace(" ", "_")
    return lab.write(folder, path, model=task, custom_hooks=EMA, train_dataloader=loader, **changes)


@pytest.mark.parametrize("name", TASKS)
def test_a_run_that_is_cut_goes_on_to_the_same_end(name, lab, tmp_path):
    """Queue, momentum encoder, the average of the weights, probe: all bit for bit."""
    path = write(lab, tmp_path, name)
    lab.train(path, tmp_path / "whole")
    for stop in (3, 6):
        assert lab.train(path, tmp_path / "cut", resume=True, stop_after=stop) is None
    lab.train(path, tmp_path / "cut", resume=True)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")
    state, last = lab.state(tmp_path / "whole"), lab.records(tmp_path / "whole")[-1]
    assert {"probe.fc.weight", "projector.layers.0.weight"} <= state["model"].keys()
    assert any(key.startswith("module.probe.") for key in state["ema"])
    assert last["split"] == "val"
    assert "top1" in last
    if name.startswith("MoCo") and name != "MoCoV3":
        assert state["model"]["queue.place"] == 12 * 8 * (2 if "plain" in name else 1) % 20


SLOW = [name if name == "MoCo" else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]


@pytest.mark.parametrize("name", SLOW)
def test_two_processes_that_are_cut_go_on_to_the_same_end(name, lab, ranks, tmp_path):
    path = write(lab, tmp_path, name, train_dataloader={"batch_size": 4})
    for folder, stops in (("whole", [None]), ("cut", [{"0": 3}, None])):
        for stop in stops:
            ranks(
                2, "train_config", config=path, overrides={"work_dir": str(tmp_path / folder)}, resume=True, stops=stop
            )
    lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_two_processes_equal_one_that_accumulates_two(lab, ranks, tmp_path):
    """SimSiam needs nothing of other processes: bit for bit, but for BatchNorm's running statistics."""
    path = write(lab, tmp_path, "SimSiam", train_dataloader={"batch_size": 4})
    ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / "two")})
    lab.train(path, tmp_path / "one", optim_wrapper__accumulative_counts=2)
    two, one = (lab.state(tmp_path / name) for name in ("two", "one"))
    weights = [{k: v for k, v in s["model"].items() if "running_" not in k and "tracked" not in k} for s in (two, one)]
    assert lab.differences(*weights) == []
    assert lab.differences(two["optimizer"], one["optimizer"]) == []


def test_the_test_tool_reports_what_the_validation_did(lab, tmp_path):
    """The online probe's accuracy, of averaged weights."""
    path = write(lab, tmp_path, "MoCo")
    metrics = lab.train(path, tmp_path / "run")
    cfg = load_config(path, {"work_dir": str(tmp_path / "run")})
    assert evaluate_run(cfg, str(tmp_path / "run/checkpoints/last.pth"), World())["top1"] == metrics["top1"]


def test_a_classifier_begins_with_the_trunk_and_a_head_of_its_own(lab, tmp_path):
    lab.train(write(lab, tmp_path, "MoCo"), tmp_path / "pretrained")
    weights = lab.state(tmp_path / "pretrained")["ema"]
    plain = {"type": "Classification", "backbone": NETWORK, "head": {"type": "ClsHead", "num_classes": 10}}
    path = lab.write(tmp_path, "tuned", model=plain, load_from=str(tmp_path / "pretrained/checkpoints/last.pth"))
    lab.train(path, tmp_path / "tuned", optim_wrapper__optimizer__lr=1e-12)
    for name, value in lab.state(tmp_path / "tuned")["model"].items():
        if name.startswith("backbone.") and "running_" not in name and "tracked" not in name:
            torch.testing.assert_close(value, weights[f"module.{name}"])


def test_another_run_begins_with_its_trunk_and_its_momentum_encoder_with_that(lab, tmp_path):
    lab.train(write(lab, tmp_path, "SimSiam"), tmp_path / "first")
    weights = lab.state(tmp_path / "first")["ema"]
    path = write(lab, tmp_path, "MoCoV3", load_from=str(tmp_path / "first/checkpoints/last.pth"))
    lab.train(path, tmp_path / "second", optim_wrapper__optimizer__lr=1e-12, train_cfg__max_epochs=1)
    model = lab.state(tmp_path / "second")["model"]
    for name in model:
        if name.startswith("backbone.") and "running_" not in name and "tracked" not in name:
            for prefix in ("", "teacher."):
                torch.testing.assert_close(model[prefix + name], weights[f"module.{name}"])


def test_the_predictor_may_keep_its_learning_rate(lab, tmp_path):
    schedules = [{"type": "CosineAnnealingLR", "eta_min": 0.0, "group": group} for group in ("encoder", "probe")]
    lab.train(write(lab, tmp_path, "SimSiam", param_scheduler=schedules), tmp_path / "run")
    groups = lab.state(tmp_path / "run")["optimizer"]["param_groups"]
    rates = {group["name"]: group["lr"] for group in groups}
    assert rates == {"encoder": pytest.approx(0, abs=1e-9), "predictor": 0.1, "probe": pytest.approx(0, abs=1e-9)}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"splits": 2, "sync_bn": "torch"}, "splits=2 a part of one process's"),
        ({"splits": 1, "sync_bn": None, "projector": {"type": "ProjectionMLP", "channels": []}}, "one linear layer"),
    ],
)
def test_configs_that_are_refused(given, words, lab, tmp_path):
    given = dict(given)
    path = write(lab, tmp_path, "MoCo", sync_bn=given.pop("sync_bn"))
    dotted = {f"model__{key}": value for key, value in given.items()}
    with pytest.raises(UserError, match=words):
        lab.train(path, tmp_path / "run", **dotted)
    assert not (tmp_path / "run").exists()


def test_a_trunk_alone_is_not_evaluated_by_what_is_random(lab, tmp_path):
    path = write(lab, tmp_path, "SimCLR", train_cfg={"max_epochs": 1})
    lab.train(path, tmp_path / "run")
    last = tmp_path / "run/checkpoints/last.pth"
    weights = torch.load(last, weights_only=True)["ema"]
    trunk = {k.removeprefix("module."): v for k, v in weights.items() if ".backbone." in k or ".probe." in k}
    torch.save({k: v for k, v in trunk.items() if k.startswith("backbone.")}, tmp_path / "trunk.pth")
    torch.save(trunk, tmp_path / "probed.pth")
    cfg = load_config(path)
    with pytest.raises(UserError, match=r"trunk\.pth has no weights of probe, which are to be evaluated"):
        evaluate_run(cfg, str(tmp_path / "trunk.pth"), World())
    assert evaluate_run(cfg, str(tmp_path / "probed.pth"), World()) == evaluate_run(cfg, str(last), World())
    knn = load_config(path, {"val_cfg.knn.features": "projection", "val_cfg.knn.k": 5})
    with pytest.raises(UserError, match=r"probed\.pth has no weights of projector"):
        evaluate_run(knn, str(tmp_path / "probed.pth"), World())


def test_pre_training_goes_on_from_another_run_with_all_that_fits(lab, tmp_path):
    """With a rate of 0 everything stays as it was in the file, the projector and the probe too."""
    path = write(lab, tmp_path, "SimCLR", train_cfg={"max_epochs": 1})
    lab.train(path, tmp_path / "first")
    last = str(tmp_path / "first/checkpoints/last.pth")
    lab.train(path, tmp_path / "second", load_from=last, optim_wrapper__optimizer__lr=0.0)
    before, after = (lab.state(tmp_path / name) for name in ("first", "second"))
    for name, value in before["ema"].items():  # of the averaged weights, which a run hands on
        if name.startswith("module.") and not any(part in name for part in ("running", "tracked")):
            assert torch.equal(after["model"][name.removeprefix("module.")], value), name
