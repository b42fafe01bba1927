"""Registries: mmengine's own, filled; building inner dicts first; names of the nearest known thing."""

from typing import Any

import pytest
import torch
from mmengine.registry import Registry
from torch import nn

from openmix import registry
from openmix.errors import UserError, did_you_mean
from openmix.registry import DATASETS, HOOKS, LOADERS, MODELS, OPTIMIZERS, PARAM_SCHEDULERS, TASKS, TRANSFORMS


def test_they_are_mmengines():
    assert all(isinstance(r, Registry) for r in (MODELS, DATASETS, TRANSFORMS, LOADERS, TASKS, HOOKS))


def test_what_they_hold():
    assert {"ConvNet", "ResNet_CIFAR", "ClsHead", "ClsMixupHead", "GlobalAveragePooling"} == set(MODELS.module_dict)
    assert {"Classification", "MixUpClassification"} == set(TASKS.module_dict)
    assert {"CIFAR10", "CIFAR100", "Digits", "Synthetic"} <= set(DATASETS.module_dict)
    assert {"ResidentLoader", "TorchLoader"} == set(LOADERS.module_dict)
    assert {"RandomCrop", "RandomHorizontalFlip", "Cutout"} <= set(TRANSFORMS.module_dict)
    assert {"SGD", "AdamW"} <= set(OPTIMIZERS.module_dict)
    assert {"CosineAnnealingLR", "LinearLR", "OneCycleLR"} <= set(PARAM_SCHEDULERS.module_dict)
    assert not {"ReduceLROnPlateau", "SequentialLR", "LRScheduler"} & set(PARAM_SCHEDULERS.module_dict)


def test_a_backbone_by_its_registry():
    """As the contract says: no classifier; a tuple of feature maps, the last one last."""
    for cfg in ({"type": "ConvNet", "widths": [4, 8]}, {"type": "ResNet_CIFAR", "depth": 18}):
        backbone = MODELS.build(dict(cfg))
        features = backbone(torch.rand(2, 3, 16, 16))
        assert isinstance(features, tuple)
        assert [f.shape[1] for f in features] == list(backbone.out_channels)


def test_a_task_by_its_registry():
    """A head without in_channels gets the backbone's."""
    cfg = {
        "type": "MixUpClassification",
        "backbone": {"type": "ConvNet", "widths": [4, 8]},
        "head": {"type": "ClsMixupHead", "num_classes": 3},
        "mix_mode": "cutmix",
    }
    task = TASKS.build(cfg)
    assert task.head.fc.in_features == 8
    assert task.predict(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    assert "in_channels" not in cfg["head"], "the config is not changed"
    own = TASKS.build({**cfg, "head": {"type": "ClsHead", "num_classes": 3, "in_channels": 5}})
    assert own.head.fc.in_features == 5


def test_loaders_and_pipelines_are_built_from_the_inside():
    loader = LOADERS.build(
        {
            "type": "TorchLoader",
            "batch_size": 4,
            "dataset": {"type": "Synthetic", "num_classes": 3, "image_shape": [3, 8, 8], "length": 9},
            "pipeline": [{"type": "RandomCrop", "size": 4}, lambda image: image.flip(-1)],
        }
    )
    (_, batch), _ = loader.epoch(0)
    assert batch.images.shape == (4, 3, 4, 4)


class TestChannels:
    """Who says how many channels the head takes."""

    @pytest.fixture
    def build(self):
        class Users(nn.Module):
            def __init__(self, channels: Any = None) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 6, 1)
                if channels is not None:
                    self.out_channels = channels

            def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
                return (self.conv(x),)

        class NoChannels(nn.Module):
            num_classes = 3

        for cls in (Users, NoChannels):
            MODELS.register_module(module=cls)

        def build(backbone: dict[str, Any], **head: Any) -> Any:
            head = {"type": "ClsHead", "num_classes": 3, **head}
            return TASKS.build({"type": "Classification", "backbone": {"type": "Users", **backbone}, "head": head})

        yield build
        for cls in (Users, NoChannels):
            MODELS.module_dict.pop(cls.__name__)

    @pytest.mark.parametrize("channels", [6, [2, 6], (6,)])
    def test_the_backbone(self, build, channels):
        assert build({"channels": channels}).head.fc.in_features == 6

    def test_the_config(self, build):
        assert build({"channels": 6}, in_channels=7).head.fc.in_features == 7
        assert build({}, in_channels=6).head.fc.in_features == 6

    def test_nobody(self, build):
        with pytest.raises(UserError, match=r"Users has no out_channels, .* write head\.in_channels"):
            build({})

    def test_a_head_that_does_not_ask(self, build):
        cfg = {"type": "Users", "channels": 6}
        task = TASKS.build({"type": "Classification", "backbone": cfg, "head": {"type": "NoChannels"}})
        assert task.num_classes == 3


class TestErrors:
    def test_unknown_type(self):
        with pytest.raises(UserError, match="unknown model type 'ConvNett'; did you mean 'ConvNet'"):
            MODELS.build({"type": "ConvNett"})

    def test_no_type(self):
        with pytest.raises(UserError, match="a task needs a 'type'; known: Classification, MixUpClassification"):
            TASKS.build({"mix_mode": "mixup"})

    def test_refused_value(self):
        with pytest.raises(UserError, match="ResNet_CIFAR: depth must be one of 18, 34, 50, got 19"):
            MODELS.build({"type": "ResNet_CIFAR", "depth": 19})

    def test_unknown_argument(self):
        with pytest.raises(UserError, match=r"ConvNet: .*unexpected keyword argument 'width'"):
            MODELS.build({"type": "ConvNet", "width": 3})

    def test_nearest_name(self):
        assert did_you_mean("MIXUP", ["mixup", "cutmix"]) == "; did you mean 'mixup'?"
        assert did_you_mean("zzz", ["mixup", "cutmix"]) == "; known: cutmix, mixup"
        assert did_you_mean("zzz", []) == ""


def test_the_object_itself_may_stand_for_its_name():
    assert isinstance(registry.build({"type": nn.ReLU}, MODELS), nn.ReLU)


def test_mmengines_own_hooks_are_found():
    from openmix.engine.ema import EMAHook

    assert HOOKS.get("EmptyCacheHook").__module__.startswith("mmengine")
    assert HOOKS.get("EMAHook") is EMAHook, "ours goes before mmengine's of this name"


def test_names_that_torch_has_are_torchs_and_others_timms():
    assert registry.lookup("AdamW", OPTIMIZERS) is torch.optim.AdamW
    assert registry.lookup("Lamb", OPTIMIZERS).__module__.startswith("timm")
