"""Whole weights on each process: exchanges of gradients, twenty steps beside one process, BatchNorm over processes."""

from typing import Any

import pytest

from openmix.engine.check import find_problems
from openmix.engine.trial import check_build
from openmix.engine.wrapper_settings import DistributedDataParallel, FullyShard, wrapper_of
from openmix.errors import UserError

NO_STATISTICS = ("running_", "tracked")
LONG: dict[str, Any] = {
    "train_dataloader": {"batch_size": 4, "pipeline": []},
    "optim_wrapper": {"clip_grad": {"max_norm": 0.5}},
    "param_scheduler": {"type": "CosineAnnealingLR", "by_epoch": False},
    "train_cfg": {"max_epochs": None, "max_iters": 20},
}
MODES = {
    "input": {"mix_mode": ["mixup", "cutmix", "resizemix"], "mix_prob": [0.4, 0.3, 0.3]},
    "inside": {"mix_mode": ["manifoldmix", "cutmix"], "mix_repeat": 2},
    "guided": {"mix_mode": "attentivemix", "guide_pass": "train"},
}


def weights(lab, work_dir) -> dict[str, Any]:
    """Return a run's last weights, without BatchNorm's statistics."""
    model = lab.state(work_dir)["model"]
    return {name: value for name, value in model.items() if not any(part in name for part in NO_STATISTICS)}


def losses(lab, work_dir) -> list[float]:
    """Return the training losses that a run has logged."""
    return [record["loss"] for record in lab.records(work_dir) if record["split"] == "train"]


def gap(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the largest difference between two runs' weights."""
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_are_one_that_accumulates_two_for_20_steps(lab, ranks, tmp_path, mode):
    """Draws are keyed by shard, so images, partners and lambdas are the same."""
    path = lab.write(tmp_path, **LONG, model=MODES[mode])
    ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / "two")})
    lab.train(path, tmp_path / "one", optim_wrapper__accumulative_counts=2)
    assert lab.state(tmp_path / "two")["step"] == 20
    assert gap(weights(lab, tmp_path / "two"), weights(lab, tmp_path / "one")) < 1e-6
    assert losses(lab, tmp_path / "two") == pytest.approx(losses(lab, tmp_path / "one"), rel=1e-5)
    lab.train(path, tmp_path / "other", optim_wrapper__accumulative_counts=2, randomness__seed=1)
    assert gap(weights(lab, tmp_path / "other"), weights(lab, tmp_path / "one")) > 1e-3  # what another draw does


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_gradients_are_exchanged_once_a_step_and_bucket(lab, ranks, tmp_path, micro_batches):
    """However many micro-batches a process accumulates: each exchange is of another step, or of another bucket."""
    loader = {"batch_size": 2, "pipeline": []}
    path = lab.write(
        tmp_path,
        train_dataloader=loader,
        train_cfg={"max_epochs": None, "max_iters": 4},
        model={"backbone": {"widths": [64, 64]}},
        model_wrapper_cfg={"type": "DistributedDataParallel", "bucket_cap_mb": 0.01},
    )
    overrides = {"work_dir": str(tmp_path / "run"), "optim_wrapper.accumulative_counts": micro_batches}
    for seen in ranks(2, "gradient_exchanges", config=path, overrides=overrides):
        buckets = {bucket for step, bucket in seen if step > 0}  # torch divides anew after the first
        assert len(buckets) > 1
        later = [exchange for exchange in map(tuple, seen) if exchange[0] > 0]
        assert sorted(later) == [(step, bucket) for step in (1, 2, 3) for bucket in sorted(buckets)]
        first = [bucket for step, bucket in seen if step == 0]
        assert len(first) == len(set(first)) > 0


def test_synchronised_batchnorm_of_two_processes_is_batchnorm_of_the_whole_batch(lab, ranks, tmp_path):
    """Without mixing, which takes partners from the shard: weights and statistics after 20 steps, and what they score.

    Without it they differ.
    """
    path = lab.write(tmp_path, **LONG, model={"mix_mode": "vanilla"}, custom_hooks=[{"type": "EMAHook"}])
    for name, given in (("sync", {"sync_bn": "torch"}), ("own", {})):
        ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / name), **given})
    lab.train(path, tmp_path / "whole", train_dataloader__batch_size=8, sync_bn="torch")  # nothing to one process
    sync, whole = lab.state(tmp_path / "sync"), lab.state(tmp_path / "whole")
    for key in ("model", "ema"):
        assert list(sync[key]) == list(whole[key])
        assert gap(sync[key], whole[key]) < 1e-5
    assert gap(lab.state(tmp_path / "own")["model"], whole["model"]) > 1e-3
    assert losses(lab, tmp_path / "sync") == pytest.approx(losses(lab, tmp_path / "whole"), rel=1e-5)
    assert sync["metrics"] == pytest.approx(whole["metrics"], rel=1e-4)


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"model_wrapper_cfg": {"type": "FullyShared"}}, "model_wrapper_cfg.type", "did you mean 'FullyShard'"),
        ({"model_wrapper_cfg": {}}, "model_wrapper_cfg", "must be a dict with 'type'"),
        ({"model_wrapper_cfg": "FullyShard"}, "model_wrapper_cfg", "must be a dict with 'type'"),
        (
            {"model_wrapper_cfg": {"type": "DistributedDataParallel", "bucket_cap": 1}},
            "model_wrapper_cfg.bucket_cap",
            "DistributedDataParallel takes no 'bucket_cap'; did you mean 'bucket_cap_mb'",
        ),
        (
            {"model_wrapper_cfg": {"type": "FullyShard", "reshard_after_forward": 2}},
            "model_wrapper_cfg.reshard_after_forward",
            "must be bool",
        ),
        ({"sync_bn": "mmcv"}, "sync_bn", "must be"),
        ({"sync_bm": "torch"}, "sync_bm", "did you mean 'sync_bn'"),
    ],
)
def test_misspelt_settings_are_found(lab, tmp_path, given, key, words):
    cfg = lab.load(lab.write(tmp_path), tmp_path).to_dict()
    assert [(k, words in text) for k, text in find_problems({**cfg, **given})] == [(key, True)]


@pytest.mark.parametrize(
    ("model", "given", "problem"),
    [
        ({}, {"model_wrapper_cfg": {"type": "FullyShard"}}, ("model_wrapper_cfg", "have BatchNorm")),
        (
            {"mix_mode": ["mixup", "attentivemix"], "guide_pass": "train"},
            {"sync_bn": "torch"},
            ("sync_bn", "attentivemix runs the network on clean images as well"),
        ),
        ({"mix_mode": ["mixup", "attentivemix"], "guide_pass": "eval"}, {"sync_bn": "torch"}, None),
        ({"mix_mode": ["mixup", "cutmix", "manifoldmix"]}, {"sync_bn": "torch"}, None),
        (
            {},
            {"model_wrapper_cfg": {"type": "DistributedDataParallel", "bucket_cap_mb": 0}},
            ("model_wrapper_cfg", "bucket_cap_mb must be"),
        ),
    ],
)
def test_what_does_not_go_together_is_refused_by_the_check(lab, tmp_path, model, given, problem):
    """With any number of processes: a config that is right on one is right on eight."""
    cfg = lab.load(lab.write(tmp_path, model=model), tmp_path)
    cfg.merge_from_dict(given)
    found = check_build(cfg)
    assert [key for key, _ in found] == ([] if problem is None else [problem[0]])
    assert problem is None or problem[1] in found[0][1]


def test_a_learned_task_takes_no_synchronised_norms(lab, tmp_path):
    model = {
        "type": "AutoMixClassification",
        "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1},
        "head": {"type": "ClsMixupHead", "num_classes": 10},
    }
    path = lab.write(tmp_path, model=model)
    with pytest.raises(UserError, match="sync_bn is not for this task: which networks AutoMixClassification runs"):
        lab.load(path, tmp_path, sync_bn="torch")


def test_a_run_that_cannot_be_divided_leaves_nothing_behind(lab, ranks, tmp_path):
    path = lab.write(tmp_path)
    cfg = {"work_dir": str(tmp_path / "run"), "model_wrapper_cfg.type": "FullyShard"}
    said = ranks(2, "refused", config=path, overrides=cfg)
    assert said[0] == said[1]
    assert "FullyShard is not for this task: its networks have BatchNorm" in said[0]
    assert not (tmp_path / "run").exists()


def test_the_default_is_data_parallel():
    assert wrapper_of({}) == wrapper_of({"model_wrapper_cfg": None}) == DistributedDataParallel(25.0, False)
    assert wrapper_of({"model_wrapper_cfg": {"type": "FullyShard"}}) == FullyShard(reshard_after_forward=True)
