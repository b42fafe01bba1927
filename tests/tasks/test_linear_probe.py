"""A linear probe: the head learns, and the trunk stays as it is to the last bit."""

from typing import Any

import pytest
import torch

from openmix.data.batch import Batch
from openmix.errors import UserError
from openmix.models import AttentionPooling, ClsHead, ConvNet
from openmix.tasks import LinearProbe

PROBE: dict[str, Any] = {
    "type": "LinearProbe",
    "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1},
    "head": {"type": "ClsHead", "num_classes": 10},
    "norm": True,
}


def make(norm: bool = False, neck: torch.nn.Module | None = None) -> LinearProbe:
    torch.manual_seed(0)
    return LinearProbe(ConvNet([4, 8]), ClsHead(5, 8), neck, norm)


@pytest.mark.parametrize("mode", [True, False])
def test_the_backbone_is_in_mode_eval_whatever_the_task_is_in(mode):
    task = make(norm=True).train(not mode).train(mode)
    assert not any(m.training for m in task.backbone.modules())
    assert task.norm.training is task.head.training is task.training is mode
    assert not any(m.training for m in make().backbone.modules())


def test_the_head_alone_has_gradients(make_batch, at):
    task = make(norm=True)
    task(make_batch(), at())["loss"].backward()
    assert {n for n, p in task.named_parameters() if p.grad is not None} == {"head.fc.weight", "head.fc.bias"}
    (group,) = task.parameter_groups()
    assert {id(p) for p in group["params"]} == {id(p) for p in task.head.parameters()}


def test_a_neck_with_weights_is_trained_with_the_head(make_batch, at):
    task = make(neck=AttentionPooling(8, num_heads=2))
    task(make_batch(), at())["loss"].backward()
    trained = {n.partition(".")[0] for n, p in task.named_parameters() if p.grad is not None}
    assert trained == {"neck", "head"}
    (group,) = task.parameter_groups()
    assert len(group["params"]) == len([*task.neck.parameters(), *task.head.parameters()])


def test_norm_is_that_of_each_channel_over_the_batch():
    task, images = make(norm=True).train(), torch.rand(6, 3, 8, 8)
    assert not list(task.norm.parameters())
    features = task.neck(task.backbone(images))
    wanted = (features - features.mean(0)) / (features.var(0, unbiased=False) + 1e-6).sqrt()
    assert torch.allclose(task.predict(images), task.head(wanted), atol=1e-5)


def test_without_norm_it_is_a_linear_layer_on_the_features():
    task, images = make().train(), torch.rand(6, 3, 8, 8)
    assert torch.equal(task.predict(images), task.head.fc(task.backbone(images)[-1].mean((2, 3))))


def trunk_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if key.startswith("backbone.")}


@pytest.fixture(scope="module")
def trained(lab, tmp_path_factory):
    """A classifier, and the config of its probe, with an average of the weights."""
    folder = tmp_path_factory.mktemp("probe")
    lab.train(lab.write(folder), folder / "trunk")
    path = lab.write(
        folder,
        "probe",
        model=PROBE,
        custom_hooks=[{"type": "EMAHook", "momentum": 0.2}],
        load_from=str(folder / "trunk/checkpoints/last.pth"),
    )
    return path, folder


def test_the_trunk_is_unchanged_by_a_run_and_so_is_its_average(lab, trained, tmp_path):
    path, folder = trained
    lab.train(path, tmp_path / "run")
    before, state = lab.state(folder / "trunk")["model"], lab.state(tmp_path / "run")
    assert lab.differences(trunk_of(before), trunk_of(state["model"])) == []
    average = {key.removeprefix("module."): value for key, value in state["ema"].items()}
    assert lab.differences(trunk_of(before), trunk_of(average)) == []
    assert not torch.equal(before["head.fc.weight"], state["model"]["head.fc.weight"])
    assert len(state["optimizer"]["state"]) == 2


def test_two_processes_leave_it_unchanged_and_resumed_is_the_same_run(lab, ranks, trained, tmp_path):
    path, folder = trained
    lab.train(path, tmp_path / "whole")
    assert lab.train(path, tmp_path / "parts", stop_after=5) is None
    lab.train(path, tmp_path / "parts", resume=True)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "parts")
    half = {"train_dataloader.batch_size": 4}
    ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / "two"), **half})
    two = lab.state(tmp_path / "two")["model"]
    assert lab.differences(trunk_of(lab.state(folder / "trunk")["model"]), trunk_of(two)) == []


def test_a_step_leaves_no_trace_of_the_trunk_for_the_gradient(make_batch, at):
    """Were the features computed with a graph, a probe would cost a backward pass that nothing takes."""
    task = make()
    batch: Batch = make_batch()
    images = batch.images.clone().requires_grad_()
    task.predict(images).sum().backward()
    assert images.grad is None


def test_pooling_that_the_file_has_not_must_not_stay_as_it_was_drawn(lab, tmp_path):
    """timm's attention pooling is a part of the trunk, which a probe does not train."""

    def vit(**net: Any) -> dict[str, Any]:
        args = {"patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2, **net}
        name = "vit_tiny_patch16_224"
        return {"type": "TimmBackbone", "name": name, "in_channels": 1, "img_size": 8, "model_args": args}

    lab.train(lab.write(tmp_path, "trunk", model={"backbone": vit()}), tmp_path / "trunk")
    start = {"load_from": str(tmp_path / "trunk/checkpoints/last.pth")}
    pooled = lab.write(tmp_path, "pooled", model={**PROBE, "backbone": vit(global_pool="map")}, **start)
    message = r"no weights of backbone\.net\.attn_pool, and LinearProbe does not train it"
    with pytest.raises(UserError, match=message):
        lab.train(pooled, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    tuned = lab.write(tmp_path, "tuned", model={"backbone": vit(global_pool="map")}, **start)
    assert lab.train(tuned, tmp_path / "tuned", train_cfg__max_epochs=1), "where it is trained it may be new"
    assert "no backbone.net.attn_pool that fits" in (tmp_path / "tuned/train.log").read_text()
