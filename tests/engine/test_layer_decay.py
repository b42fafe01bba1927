"""Learning rates that shrink towards the images: the rule of MAE's code, written out, and stages by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from openmix.data.timeline import Timeline
from openmix.engine.layer_decay import layer_scales
from openmix.engine.optim import Schedule, build_optimizer
from openmix.engine.settings import OptimWrapper, ParamwiseCfg
from openmix.errors import UserError
from openmix.models import ClsHead, ConvNet, PreActResNet, ResNet, TimmBackbone
from openmix.tasks import Classification, Task


def vit(**net: Any) -> Classification:
    args = {"patch_size": 4, "embed_dim": 8, "depth": 3, "num_heads": 2, **net}
    return Classification(TimmBackbone("vit_tiny_patch16_224", img_size=16, model_args=args), ClsHead(3, 8))


def layer_of_vit(name: str, depth: int) -> int:
    """As MAE's code numbers the parameters of a ViT."""
    if name in ("cls_token", "pos_embed") or name.startswith("patch_embed"):
        return 0
    if name.startswith("blocks"):
        return int(name.split(".")[1]) + 1
    return depth + 1


@pytest.mark.parametrize("net", [{}, {"global_pool": "avg"}, {"global_pool": "map"}, {"depth": 12}])
def test_a_vit_is_maes_rule(net):
    task, depth = vit(**net), net.get("depth", 3)
    scales = layer_scales(task, 0.65)
    wanted = {
        f"backbone.net.{name}": 0.65 ** (depth + 1 - layer_of_vit(name, depth))
        for name, _ in task.backbone.net.named_parameters()
    }
    assert scales == wanted
    assert any("norm.weight" in name and scale == 1 for name, scale in scales.items())


def test_all_embeddings_of_a_vit_are_its_first_layer():
    """Registers and the norm before the blocks too, which timm's patterns leave out."""
    task = vit(reg_tokens=2, pre_norm=True, depth=2)
    scales = layer_scales(task, 0.5)
    first = {scales[f"backbone.net.{name}"] for name in ("cls_token", "reg_token", "pos_embed", "norm_pre.weight")}
    assert first == {0.5**3}


def test_stages_by_hand():
    cases = {
        ResNet(18): {"conv1": 0, "bn1": 0, **{f"layer{k}": k for k in (1, 2, 3, 4)}},
        PreActResNet(18): {"conv1": 0, **{f"layer{k}": k for k in (1, 2, 3, 4)}},
        ConvNet([4, 8]): {"layer1": 1, "layer2": 2},
    }
    for backbone, layers in cases.items():
        task = Classification(backbone, ClsHead(3, backbone.out_channels[-1]))
        last = len(backbone.stage_names) + 1
        for name, scale in layer_scales(task, 0.5).items():
            layer = layers.get(name.split(".")[1], last)
            assert scale == 0.5 ** (last - layer), name


@pytest.mark.parametrize("name", ["convnext_atto", "swin_s3_tiny_224", "resnet10t", "densenet121", "efficientnet_b0"])
def test_other_networks_of_timm_rise_towards_the_head(name):
    """Stem first, the last norm or convolution with the head, and nothing from the middle there."""
    with torch.device("meta"):
        task = Classification(TimmBackbone(name), ClsHead(3, 8))
    found = layer_scales(task, 0.5)
    scales = [found[f"backbone.{key}"] for key, _ in task.backbone.named_parameters()]
    assert min(scales) == scales[0] and max(scales) in (0.5, 1)
    at_the_end = [i for i, scale in enumerate(scales) if scale == 1]
    assert at_the_end == list(range(len(scales) - len(at_the_end), len(scales)))


def test_together_with_decay_and_own_factors():
    cfg = {
        "layer_decay": 0.5,
        "norm_decay_mult": 0.0,
        "bias_decay_mult": 0.0,
        "custom_keys": {"blocks.1.mlp": {"lr_mult": 3.0}, "pos_embed": {"decay_mult": 0.0}},
    }
    task = vit()
    optimizer = build_optimizer(OptimWrapper({"type": "AdamW", "lr": 1.0, "weight_decay": 0.1}, cfg), task)
    names = {id(p): name.removeprefix("backbone.net.") for name, p in task.named_parameters()}
    seen = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert seen["head.fc.weight"] == (1.0, 0.1)
    assert seen["head.fc.bias"] == seen["norm.weight"] == (1.0, 0.0)
    assert seen["blocks.2.attn.qkv.weight"] == (0.5, 0.1)
    assert seen["blocks.2.norm1.weight"] == seen["blocks.2.attn.qkv.bias"] == (0.5, 0.0)
    assert seen["blocks.1.mlp.fc1.weight"] == (0.75, 0.1)
    assert seen["pos_embed"] == (0.0625, 0.0)
    assert seen["patch_embed.proj.weight"] == (0.0625, 0.1)


@pytest.mark.parametrize(
    "scheduler",
    [
        {"type": "CosineAnnealingLR"},
        {"type": "OneCycleLR", "max_lr": 2.0, "by_epoch": False},
        {"type": "PiecewiseLinearLR", "knots": [(0, 0.5), (4, 2.0)], "by_epoch": False},
    ],
)
def test_schedules_keep_the_layers_apart(scheduler):
    """Those with rates of their own, too."""
    task = vit()
    optimizer = build_optimizer(OptimWrapper({"type": "SGD", "lr": 1.0}, {"layer_decay": 0.5}), task)
    schedule = Schedule(scheduler, optimizer, Timeline(((0, 4),)), 4, 16)
    for step in range(3):
        rates = {round(g["lr"] / g["lr_mult"], 9) for g in optimizer.param_groups}
        assert len(rates) == 1 and len(optimizer.param_groups) == 5
        optimizer.step()
        schedule.after_step(step + 1)


class Bare(Task):
    def __init__(self, backbone: nn.Module | None = None) -> None:
        super().__init__()
        if backbone is not None:
            self.backbone = backbone
        self.head = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("task", "message"),
    [(Bare(), "Bare has no backbone"), (Bare(nn.Linear(2, 2)), r"Linear does not name its stages \(stage_names\)")],
)
def test_networks_without_layers(task, message):
    with pytest.raises(UserError, match=f"layer_decay: {message}"):
        build_optimizer(OptimWrapper({"type": "SGD", "lr": 1.0}, {"layer_decay": 0.5}), task)
    build_optimizer(OptimWrapper({"type": "SGD", "lr": 1.0}, {"layer_decay": 1.0}), task)


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.1, float("nan")])
def test_out_of_range(decay):
    with pytest.raises(ValueError, match="layer_decay must be above 0 and at most 1, got"):
        ParamwiseCfg(layer_decay=decay)
