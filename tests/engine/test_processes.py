"""Several processes over gloo: what one process that accumulates computes, resumable, and stopping together."""

import json
import re
from typing import Any

import pytest
import torch

TORCH_LOADER = {"type": "TorchLoader", "batch_size": 4}
EVERYTHING: dict[str, Any] = {
    "optim_wrapper": {"clip_grad": {"max_norm": 0.5}},
    "param_scheduler": {"type": "CosineAnnealingLR", "by_epoch": False},
    "custom_hooks": [{"type": "EMAHook", "momentum": 0.3}],
    "train_dataloader": {"batch_size": 4},
}


def is_running_statistic(key: str) -> bool:
    """Whether a tensor of the state gathers what one process has seen."""
    return "running_" in key


@pytest.fixture(scope="module")
def two(lab, ranks, tmp_path_factory):
    """A config, and the work dir of its run on 2 processes."""
    folder = tmp_path_factory.mktemp("two")
    path = lab.write(folder, **EVERYTHING)
    ranks(2, "train_config", config=path, overrides={"work_dir": str(folder / "run")})
    return path, folder / "run"


def test_two_processes_equal_one_that_accumulates_two(lab, two, tmp_path):
    """Bit for bit, for halving is exact; but BatchNorm's running statistics are those of rank 0's micro-batches.

    DistributedDataParallel broadcasts rank 0's buffers, while a process that accumulates updates its own with every
    micro-batch. A batch is normalised by its own statistics in training, so nothing else depends on them, until
    something is evaluated.
    """
    path, work_dir = two
    lab.train(path, tmp_path / "one", optim_wrapper__accumulative_counts=2)
    states = lab.state(work_dir), lab.state(tmp_path / "one")
    assert any(map(is_running_statistic, states[0]["model"]))
    for key in ("step", "timeline", "seed", "optimizer", "scaler", "hooks"):
        assert lab.differences(states[0][key], states[1][key]) == []
    for key in ("model", "ema"):
        two_, one = ({k: v for k, v in s[key].items() if "running_" not in k and "tracked" not in k} for s in states)
        assert lab.differences(two_, one) == []
    losses = [
        [(r["step"], r["lr"], r["loss"]) for r in lab.records(d) if r["split"] == "train"]
        for d in (work_dir, tmp_path / "one")
    ]
    for (step, rate, loss), other in zip(*losses, strict=True):
        assert (step, rate, pytest.approx(loss, rel=1e-6)) == other  # summed in another order


def test_run_record_tells_how_many_processes(two):
    _, work_dir = two
    assert json.loads((work_dir / "run.json").read_text())["world_size"] == 2


@pytest.mark.parametrize("stops", [{"0": 3, "1": 3}, {"0": 5}, {"1": 7}], ids=["both", "main only", "other only"])
def test_processes_stop_together_and_resume_exactly(lab, ranks, two, tmp_path, stops):
    """Ranks agree on the step, whichever of them was told; both told, or one only, they stop at one step."""
    path, whole = two
    overrides = {"work_dir": str(tmp_path / "cut")}
    halves = [ranks(2, "train_config", config=path, overrides=overrides, stops=stops)]
    told = min(stops.values())
    last = halves[0][0]["last_step"]
    assert told <= last <= told + 1
    assert halves[0] == [{"metrics": None, "last_step": last}] * 2
    assert lab.state(tmp_path / "cut")["step"] == last
    halves.append(ranks(2, "train_config", config=path, overrides=overrides, resume=True))
    assert halves[1][0] == halves[1][1]
    lab.assert_same_run(whole, tmp_path / "cut")


def test_a_run_moves_from_two_processes_to_one_that_accumulates(lab, ranks, two, tmp_path):
    """The logging interval, too, goes on where it was."""
    path, whole = two
    overrides = {"work_dir": str(tmp_path / "cut")}
    ranks(2, "train_config", config=path, overrides=overrides, stops={"0": 2, "1": 2})
    lab.train(path, tmp_path / "cut", resume=True, optim_wrapper__accumulative_counts=2)
    ours, theirs = (
        {k: v for k, v in lab.state(d)["model"].items() if "running_" not in k and "tracked" not in k}
        for d in (whole, tmp_path / "cut")
    )
    assert lab.differences(ours, theirs) == []
    for a, b in zip(lab.records(whole), lab.records(tmp_path / "cut"), strict=True):
        if a["split"] == "train":
            assert a == {**b, "loss": pytest.approx(b["loss"]), "top1_dominant": pytest.approx(b["top1_dominant"])}


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("length", [30, 8, 1])
def test_evaluation_does_not_depend_on_the_number_of_processes(lab, ranks, two, tmp_path, size, length):
    """Exactly, for 30 images in batches of 7, and for sets that leave processes without a batch."""
    path, work_dir = two
    overrides = {"val_dataloader.dataset.length": length}
    checkpoint = str(work_dir / "checkpoints" / "last.pth")
    (single,) = ranks(1, "test_checkpoint", config=path, overrides=overrides, checkpoint=checkpoint)
    assert single["n"] == length
    assert ranks(size, "test_checkpoint", config=path, overrides=overrides, checkpoint=checkpoint) == [single] * size
    if length == 30:
        assert single == lab.state(work_dir)["metrics"]  # what the run's last validation said, on 2 processes


def test_processes_with_a_torch_loader_equal_one(lab, ranks, tmp_path):
    """Augmentations are keyed by image there, so the draws, too, are those of one process."""
    loader = {
        **TORCH_LOADER,
        "dataset": {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 52},
        "pipeline": [{"type": "RandomCrop", "size": 8, "padding": 2}],
    }
    path = lab.write(tmp_path, train_dataloader=loader, train_cfg={"max_epochs": 1})
    ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / "two")})
    lab.train(path, tmp_path / "one", optim_wrapper__accumulative_counts=2)
    ours, theirs = (
        {k: v for k, v in lab.state(tmp_path / d)["model"].items() if v.is_floating_point() and "running_" not in k}
        for d in ("two", "one")
    )
    assert lab.differences(ours, theirs) == []
    assert all(torch.isfinite(v).all() for v in ours.values())


def test_processes_with_other_configs_are_refused(lab, ranks, tmp_path):
    config = lab.write(tmp_path)
    own = [{"work_dir": str(tmp_path / "run")} for _ in range(2)]
    own[1]["optim_wrapper.optimizer.lr"] = 0.5
    told = ranks(2, "refused_apart", configs=[config, config], overrides=own)
    assert told[0] == told[1]
    assert re.fullmatch(
        r"process 0 of 2 has a config of hash \w{16}, and process 1 has a config of hash \w{16}: "
        "start all with the same config and options",
        told[0],
    )
    assert not (tmp_path / "run").exists()


def test_processes_that_see_other_checkpoints_are_refused(lab, ranks, tmp_path):
    config = lab.write(tmp_path)
    lab.train(config, tmp_path / "here", stop_after=4)
    before = sorted(p.name for p in (tmp_path / "here").iterdir())
    own = [{"work_dir": str(tmp_path / name)} for name in ("here", "there")]  # work dirs are not in the hash
    told = ranks(2, "refused_apart", configs=[config, config], overrides=own, resume=True)
    assert (
        told
        == [
            "process 0 of 2 has step 4 of iter_4.pth, and process 1 has no checkpoint that it could continue: "
            "the work dir and its checkpoints must lie on a file system that all processes share"
        ]
        * 2
    )
    assert sorted(p.name for p in (tmp_path / "here").iterdir()) == before and not (tmp_path / "there").exists()
