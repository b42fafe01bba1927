"""FSDP2: what DistributedDataParallel computes, by processes that keep half of it all; checkpoints are anybody's."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from openmix.engine.sharding import blocks_of
from openmix.engine.wrapping import check_division
from openmix.errors import UserError
from openmix.registry import build_task

ON_CPUS = hasattr(torch.cpu.Stream, "record_event")
needs_cpus = pytest.mark.skipif(not ON_CPUS, reason="FSDP2 of this torch is for GPUs alone")
FULLY_SHARD = {"model_wrapper_cfg": {"type": "FullyShard"}}
VIT = {
    "type": "TimmBackbone",
    "name": "vit_tiny_patch16_224",
    "img_size": 8,
    "in_channels": 1,
    "model_args": {"patch_size": 4, "embed_dim": 12, "depth": 3, "num_heads": 3},
}
MODEL = {"backbone": VIT, "mix_mode": ["mixup", "cutmix", "transmix", "manifoldmix"], "mix_repeat": 2}
# 12 steps of 2 micro-batches a process; 30 images to validate on in batches of 7, so that processes have unequally many
RUN: dict[str, Any] = {
    "model": MODEL,
    "train_dataloader": {"batch_size": 2},
    "optim_wrapper": {
        "optimizer": {"type": "AdamW", "lr": 0.01, "eps": 1e-3},  # a key's bias has no gradient but of rounding
        "clip_grad": {"max_norm": 0.5},
        "accumulative_counts": 2,
    },
    "param_scheduler": {"type": "CosineAnnealingLR", "by_epoch": False},
    "custom_hooks": [{"type": "EMAHook", "momentum": 0.3}],
}


@pytest.fixture(scope="module")
def sharded(lab, ranks, tmp_path_factory):
    """A config, and the work dir of its run on 2 processes that each keep half."""
    folder = tmp_path_factory.mktemp("sharded")
    path = lab.write(folder, **RUN, **FULLY_SHARD)
    ranks(2, "train_config", config=path, overrides={"work_dir": str(folder / "run")})
    return path, folder / "run"


def assert_near(lab, one, other, tolerance: float = 1e-5) -> None:
    """Assert that two runs ended with about the same weights, averages, momenta and metrics, in the same form."""
    states = lab.state(one), lab.state(other)
    optimizers = [state["optimizer"] for state in states]
    # what is divided has no fused kernel with every optimizer, and is moved by torch's ordinary one
    groups = [[{**group, "fused": None} for group in optimizer["param_groups"]] for optimizer in optimizers]
    assert groups[0] == groups[1]
    pairs = [(states[0][key], states[1][key]) for key in ("model", "ema")]
    pairs += [(optimizers[0]["state"][i], optimizers[1]["state"][i]) for i in optimizers[0]["state"]]
    for a, b in pairs:
        assert list(a) == list(b)
        for name in a:
            assert type(a[name]) is type(b[name]) is torch.Tensor
            torch.testing.assert_close(a[name], b[name], rtol=tolerance, atol=tolerance)
    assert states[0]["metrics"] == pytest.approx(states[1]["metrics"], rel=1e-3)
    for a, b in zip(lab.records(one), lab.records(other), strict=True):
        assert a.pop("split") == b.pop("split")
        assert a == pytest.approx(b, rel=1e-3)


@needs_cpus
@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({}, 1e-5),
        ({"model_wrapper_cfg.reshard_after_forward": False, "optim_wrapper.clip_grad": None}, 1e-5),
        ({"optim_wrapper.amp": "bf16", "model.clean_pass": True, "train_cfg.max_epochs": 1}, 1e-3),
    ],
    ids=["reshard", "keep", "bf16"],
)
def test_two_that_share_the_weights_are_two_that_have_them_all(lab, ranks, sharded, tmp_path, changes, tolerance):
    """With mixing, within the network too, accumulation, clipping and an average of the weights."""
    path, whole = sharded
    if changes:
        whole = tmp_path / "sharded"
        ranks(2, "train_config", config=path, overrides={"work_dir": str(whole), **changes})
    data_parallel = {"model_wrapper_cfg": None, "work_dir": str(tmp_path / "parallel")}
    rest = {key: value for key, value in changes.items() if not key.startswith("model_wrapper_cfg")}
    ranks(2, "train_config", config=path, overrides={**data_parallel, **rest})
    assert_near(lab, whole, tmp_path / "parallel", tolerance)


@needs_cpus
def test_each_keeps_half_and_gradients_are_exchanged_once_a_step(ranks, sharded, tmp_path):
    """Of weights, averages and momenta; the exchange once for each of 3 blocks and the rest, for 4 micro-passes."""
    sgd = {"_delete_": True, "type": "SGD", "lr": 0.1, "momentum": 0.9}
    overrides = {"work_dir": str(tmp_path), "optim_wrapper.optimizer": sgd, "train_cfg.max_epochs": 1}
    overrides |= {"model.mix_mode": "mixup", "model.mix_repeat": 1}
    first, second = ranks(2, "sharded_training", config=sharded[0], overrides=overrides)
    for key, total in first["all"].items():
        assert first["kept"][key] + second["kept"][key] == total
        assert 0.45 * total < second["kept"][key] <= first["kept"][key] < 0.55 * total
    assert first["groups"] == 4
    assert first["exchanges"] == second["exchanges"] == 4 * 6


@needs_cpus
def test_a_stopped_run_resumes_to_the_same_bits(lab, ranks, sharded, tmp_path):
    path, whole = sharded
    overrides = {"work_dir": str(tmp_path)}
    halves = ranks(2, "train_config", config=path, overrides=overrides, stops={"1": 4})
    assert halves[0]["metrics"] is None
    ranks(2, "train_config", config=path, overrides=overrides, resume=True)
    lab.assert_same_run(whole, tmp_path)


@needs_cpus
@pytest.mark.parametrize("first", ["sharded", "alone", "parallel"])
def test_a_run_goes_on_under_another_wrapper(lab, ranks, sharded, tmp_path, first):
    """From half of everything each to one process that has it all, and back."""
    path, whole = sharded
    work_dir = {"work_dir": str(tmp_path)}
    parallel = {**work_dir, "model_wrapper_cfg": None}
    second = "alone" if first == "sharded" else "sharded"
    for kind, resume, stop in ((first, False, 5), (second, True, None)):
        if kind == "alone":
            accumulate = {"optim_wrapper__accumulative_counts": 4, "model_wrapper_cfg": None}
            lab.train(path, tmp_path, resume=resume, stop_after=stop, **accumulate)
        else:
            stops = {"0": stop, "1": stop} if stop else None
            overrides = work_dir if kind == "sharded" else parallel
            ranks(2, "train_config", config=path, overrides=overrides, resume=resume, stops=stops)
    state = lab.state(tmp_path)
    assert state["step"] == 12
    for key in ("model", "ema"):
        torch.testing.assert_close(dict(state[key]), dict(lab.state(whole)[key]), rtol=1e-4, atol=1e-5)


@needs_cpus
def test_a_checkpoint_is_tested_by_any_number_of_processes(lab, ranks, sharded):
    """To the figures of the run's own last validation, of the average of its weights."""
    path, work_dir = sharded
    checkpoint = str(work_dir / "checkpoints" / "last.pth")
    for size in (1, 3):
        found = ranks(size, "test_checkpoint", config=path, overrides={}, checkpoint=checkpoint)
        assert found == [lab.state(work_dir)["metrics"]] * size


@needs_cpus
@pytest.mark.parametrize("clip", [{"max_norm": 0.5}, None], ids=["clipped", "not clipped"])
def test_a_gradient_that_is_no_number_stops_all_processes_before_the_update(ranks, sharded, tmp_path, clip):
    """Where it is only in one process's part: nobody updates its weights, and nobody waits for ever."""
    overrides = {"work_dir": str(tmp_path), "optim_wrapper.clip_grad": clip}
    messages = ranks(2, "infinite_part", config=sharded[0], overrides=overrides)
    assert all("the gradient is not finite in epoch 1, step 3" in one["message"] for one in messages)
    assert all(one["same"] for one in messages)
    assert not (tmp_path / "checkpoints").exists()


@needs_cpus
def test_weights_that_are_no_numbers_are_not_saved(ranks, sharded, tmp_path):
    """Where they are in one process's part alone, too."""
    messages = ranks(2, "lost_part", config=sharded[0], overrides={"work_dir": str(tmp_path)})
    assert messages == ["the weights are not finite after step 6; they are not saved"] * 2


@pytest.mark.skipif(ON_CPUS, reason="this torch can")
def test_torch_that_cannot_on_cpus_is_told_so(lab, ranks, tmp_path):
    path = lab.write(tmp_path, **RUN, **FULLY_SHARD)
    said = ranks(2, "refused", config=path, overrides={"work_dir": str(tmp_path / "run")})
    assert all("FullyShard on CPUs needs a later torch" in text for text in said)


def test_one_process_is_left_as_it_is(lab, tmp_path):
    path = lab.write(tmp_path, **{**RUN, "train_cfg": {"max_epochs": 1}})
    lab.train(path, tmp_path / "plain")
    lab.train(path, tmp_path / "alone", **FULLY_SHARD)
    lab.assert_same_run(tmp_path / "plain", tmp_path / "alone")


@pytest.mark.parametrize(
    ("name", "blocks"), [("vit_tiny_patch16_224", 12), ("swin_tiny_patch4_window7_224", 12), ("resnet18", 8)]
)
def test_blocks_are_the_innermost_that_are_repeated(name, blocks):
    with torch.device("meta"):
        found = blocks_of(timm.create_model(name))
    assert len(found) == blocks
    assert len(set(map(id, found))) == blocks
    inner = {id(part) for block in found for part in block.modules() if part is not block}
    assert not inner & set(map(id, found))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({}, ""),
        ({"mix_mode": ["tla", "transmix", "smmix"]}, "smmix has a look of its own"),
        ({"mix_mode": ["tla", "transmix"]}, ""),
        ({"mix_mode": "puzzlemix"}, "puzzlemix has a look of its own"),
        ({"guide": {"type": "EMAGuide"}}, "its guide follows the network's whole weights"),
        ({"type": "AutoMixClassification"}, "AutoMixClassification moves networks of its own"),
        ({"backbone": {"type": "ResNet", "depth": 18, "in_channels": 1}}, "its networks have BatchNorm"),
    ],
)
def test_what_cannot_be_divided_is_refused(model, reason):
    head = {"type": "ClsMixupHead", "num_classes": 10}
    task = build_task({"type": "MixUpClassification", "backbone": VIT, "head": head, **model}, device="meta")
    if not reason:
        check_division(FULLY_SHARD, task)
        return
    with pytest.raises(UserError, match=f"FullyShard is not for this task: {reason}"):
        check_division(FULLY_SHARD, task)


def test_a_task_of_ones_own_that_follows_its_weights_is_refused():
    from openmix.models import ClsMixupHead, ConvNet
    from openmix.tasks import MixUpClassification

    class Following(MixUpClassification):
        """Does something after each step."""

        def after_step(self, context: Any) -> None:
            """Move something."""

    backbone = ConvNet([4, 8])
    for name, module in list(backbone.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent, _, child = name.rpartition(".")
            setattr(backbone.get_submodule(parent), child, nn.GroupNorm(1, module.num_features))
    with pytest.raises(UserError, match="Following moves networks of its own after each step"):
        check_division(FULLY_SHARD, Following(backbone, ClsMixupHead(10, 8)))
