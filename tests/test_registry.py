"""Registries: mmengine's own, filled; building inner dicts first; names of the nearest known thing."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import mmengine
import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from openmix import models, registry, tasks
from openmix.data.batch import Batch
from openmix.errors import UserError, did_you_mean
from openmix.registry import (
    DATASETS,
    HOOKS,
    LOADERS,
    MODELS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TASKS,
    TRANSFORMS,
    build_task,
    lookup,
)

# as users are shown it
EXAMPLE = {
    "type": "MixUpClassification",
    "backbone": {"type": "ResNet_CIFAR", "depth": 18},
    "head": {"type": "ClsMixupHead", "num_classes": 10},
    "alpha": [0.1, 1],
    "mix_mode": ["mixup", "cutmix"],
    "mix_prob": [0.4, 0.6],
    "mix_repeat": 1,
}

HEAD = {"type": "ClsMixupHead", "num_classes": 4}


@pytest.fixture
def register() -> Iterator[Callable[[mmengine.Registry], Callable[[type], type]]]:
    """``@register(REGISTRY)``, undone after the test."""
    entered = []

    def enter(where: mmengine.Registry) -> Callable[[type], type]:
        def decorate(module: type) -> type:
            entered.append((where, module.__name__))
            return where.register_module()(module)

        return decorate

    yield enter
    for where, name in entered:
        del where.module_dict[name]


@pytest.mark.parametrize("name", ["MODELS", "DATASETS", "TRANSFORMS", "LOADERS", "TASKS", "HOOKS"])
def test_they_are_mmengines(name):
    assert isinstance(getattr(registry, name), mmengine.Registry)
    assert name in registry.__all__


def test_what_they_hold():
    assert set(models.__all__) <= set(MODELS.module_dict)
    assert {"ConvNet", "ResNet_CIFAR", "ClsHead", "ClsMixupHead", "GlobalAveragePooling"} <= set(MODELS.module_dict)
    assert {"Classification", "MixUpClassification"} <= set(TASKS.module_dict)
    assert {"CIFAR10", "CIFAR100", "Digits", "Synthetic"} <= set(DATASETS.module_dict)
    assert {"ResidentLoader", "TorchLoader"} <= set(LOADERS.module_dict)
    assert {"RandomCrop", "RandomHorizontalFlip", "Cutout"} <= set(TRANSFORMS.module_dict)
    assert {"SGD", "AdamW"} <= set(OPTIMIZERS.module_dict)
    assert {"CosineAnnealingLR", "LinearLR", "OneCycleLR"} <= set(PARAM_SCHEDULERS.module_dict)
    assert not {"ReduceLROnPlateau", "SequentialLR", "LRScheduler"} & set(PARAM_SCHEDULERS.module_dict)


def test_the_example():
    given = copy.deepcopy(EXAMPLE)
    task = TASKS.build(given)
    assert given == EXAMPLE, "a config is not changed by building it"
    assert isinstance(task, tasks.MixUpClassification)
    assert isinstance(task.backbone, models.ResNet_CIFAR) and isinstance(task.head, models.ClsMixupHead)
    assert sum(p.numel() for p in task.parameters()) == 11_173_962
    assert [(m.name, m.hyper) for m in task.mixers] == [("mixup", {"alpha": 0.1}), ("cutmix", {"alpha": 1})]
    assert task.policy.probs.tolist() == [0.4, 0.6]
    batch = Batch((torch.rand(2, 3, 32, 32),), torch.tensor([1, 2]), torch.arange(2))
    loss = task(batch, tasks.StepContext(0, 0, 0, 0, 0.0))["loss"]
    loss.backward()
    assert torch.isfinite(loss)


def test_a_backbone_yields_a_tuple_of_maps():
    network = MODELS.build({"type": "ResNet_CIFAR", "depth": 18})
    features = network(torch.rand(1, 3, 32, 32))
    assert isinstance(features, tuple)
    assert [tuple(f.shape) for f in features] == [(1, 64, 32, 32), (1, 128, 16, 16), (1, 256, 8, 8), (1, 512, 4, 4)]


def test_mmengines_own_config_builds():
    config = mmengine.Config({"model": {"type": "Classification", "backbone": {"type": "ConvNet"}, "head": HEAD}})
    assert isinstance(TASKS.build(config.model), tasks.Classification)


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


def test_the_type_may_be_the_object_itself():
    assert isinstance(MODELS.build({"type": nn.ReLU}), nn.ReLU)


def test_building_on_meta_makes_no_tensors():
    task = build_task(EXAMPLE, device="meta")
    assert {p.device.type for p in task.parameters()} == {"meta"}


class TestErrors:
    @pytest.mark.parametrize(
        ("where", "given", "nearest"),
        [
            (MODELS, "ResNet_CIFR", "ResNet_CIFAR"),
            (MODELS, "resnet_cifar", "ResNet_CIFAR"),
            (TASKS, "MixupClassification", "MixUpClassification"),
            (DATASETS, "CIFAR1O", "CIFAR10"),
            (TRANSFORMS, "RandomHorizontlFlip", "RandomHorizontalFlip"),
            (LOADERS, "ResidentLoder", "ResidentLoader"),
            (HOOKS, "CheckpointHok", "CheckpointHook"),
            (OPTIMIZERS, "AdmW", "AdamW"),
            (PARAM_SCHEDULERS, "CosineAnealingLR", "CosineAnnealingLR"),
        ],
    )
    def test_unknown_type(self, where, given, nearest):
        with pytest.raises(UserError, match=f"unknown {where.name} type '{given}'; did you mean '{nearest}'"):
            where.build({"type": given})

    def test_unknown_type_inside_a_task(self):
        with pytest.raises(UserError, match="unknown model type 'ConvNt'; did you mean 'ConvNet'"):
            TASKS.build({**EXAMPLE, "backbone": {"type": "ConvNt"}})
        with pytest.raises(UserError, match="unknown model type 'ClsMixupHed'; did you mean 'ClsMixupHead'"):
            TASKS.build({**EXAMPLE, "head": {"type": "ClsMixupHed", "num_classes": 10}})

    def test_nothing_like_it(self):
        with pytest.raises(UserError, match=r"unknown task type 'Zzz'; known: .*MixUpClassification"):
            TASKS.build({"type": "Zzz"})

    def test_no_type(self):
        with pytest.raises(UserError, match=r"a model needs a 'type'; known: .*ConvNet.*ResNet_CIFAR"):
            MODELS.build({"depth": 18})

    @pytest.mark.parametrize(
        ("cfg", "said"),
        [
            ({"type": "ResNet_CIFAR", "depth": 19}, "ResNet_CIFAR: depth must be one of 18, 34, 50, .* got 19"),
            ({"type": "ConvNet", "width": 3}, "ConvNet: .*unexpected keyword argument 'width'"),
            ({"type": "ClsHead", "num_classes": 3}, "ClsHead: .*in_channels"),
        ],
    )
    def test_refused_value(self, cfg, said):
        with pytest.raises(UserError, match=said):
            MODELS.build(cfg)

    def test_nearest_name(self):
        assert did_you_mean("MIXUP", ["mixup", "cutmix"]) == "; did you mean 'mixup'?"
        assert did_you_mean("zzz", ["mixup", "cutmix"]) == "; known: cutmix, mixup"
        assert did_you_mean("zzz", []) == ""


class TestUsersModules:
    def test_a_backbone(self, register):
        @register(MODELS)
        class Patches(nn.Module):
            def __init__(self, width: int) -> None:
                super().__init__()
                self.out_channels = (width,)
                self.embed = nn.Conv2d(3, width, 4, stride=4)

            def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
                return (self.embed(images),)

        task = TASKS.build({"type": "Classification", "backbone": {"type": "Patches", "width": 12}, "head": HEAD})
        assert task.head.fc.in_features == 12
        assert task.predict(torch.rand(2, 3, 8, 8)).shape == (2, 4)

    def test_a_hook(self, register):
        @register(HOOKS)
        class Greeter(Hook):
            pass

        assert isinstance(HOOKS.build({"type": "Greeter"}), Greeter)

    def test_they_are_gone_after_the_test(self):
        assert MODELS.get("Patches") is None and "Greeter" not in HOOKS.module_dict

    def test_a_name_that_is_taken(self):
        class ConvNet(nn.Module):
            pass

        with pytest.raises(KeyError, match="ConvNet is already registered"):
            MODELS.register_module()(ConvNet)


class TestChannels:
    """Who says how many channels the head takes."""

    @pytest.mark.parametrize(
        ("backbone", "channels"),
        [
            ({"type": "ResNet_CIFAR", "depth": 18}, 512),
            ({"type": "ResNet_CIFAR", "depth": 50}, 2048),
            ({"type": "ConvNet"}, 128),
            ({"type": "ConvNet", "widths": [4, 6]}, 6),
        ],
    )
    def test_the_backbone(self, backbone, channels):
        task = build_task({"type": "Classification", "backbone": backbone, "head": HEAD}, device="meta")
        assert task.head.fc.in_features == channels

    @pytest.mark.parametrize("out_channels", [9, (3, 9), [3, 9]])
    def test_as_libraries_write_them(self, register, out_channels):
        @register(MODELS)
        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.out_channels = out_channels

        task = TASKS.build({"type": "Classification", "backbone": {"type": "Network"}, "head": HEAD})
        assert task.head.fc.in_features == 9

    def test_the_config_first(self):
        cfg = {"type": "Classification", "backbone": {"type": "ConvNet"}, "head": {**HEAD, "in_channels": 7}}
        assert TASKS.build(cfg).head.fc.in_features == 7

    def test_nobody(self, register):
        @register(MODELS)
        class Silent(nn.Module):
            pass

        cfg = {"type": "Classification", "backbone": {"type": "Silent"}, "head": HEAD}
        with pytest.raises(UserError, match=r"Silent has no out_channels.*write head\.in_channels"):
            TASKS.build(cfg)
        assert TASKS.build({**cfg, "head": {**HEAD, "in_channels": 5}}).head.fc.in_features == 5

    def test_a_head_that_does_not_ask(self, register):
        @register(MODELS)
        class NoChannels(nn.Module):
            num_classes = 3

        task = TASKS.build({"type": "Classification", "backbone": {"type": "ConvNet"}, "head": {"type": "NoChannels"}})
        assert task.num_classes == 3


def test_mmengines_own_hooks_are_found():
    from openmix.engine.ema import EMAHook

    assert HOOKS.get("EmptyCacheHook").__module__.startswith("mmengine")
    assert HOOKS.get("EMAHook") is EMAHook, "ours goes before mmengine's of this name"


def test_a_name_of_both_is_known_once():
    import openmix.engine.build  # noqa: F401  registers openmix's hooks

    known = registry.known_types(registry.HOOKS)
    assert known.count("EMAHook") == known.count("ProfilerHook") == 1
    assert len(known) == len(set(known)) and {"MixPreviewHook", "EmptyCacheHook"} <= {*known}


def test_torchs_optimizers_are_torchs():
    for name in ("SGD", "Adam", "AdamW", "RMSprop"):
        assert lookup(name, OPTIMIZERS) is getattr(torch.optim, name)


def test_timms_optimizers_are_found_late():
    """Importing timm takes seconds, so that it waits for a name that torch does not know."""
    code = """
import json, sys
from openmix.registry import OPTIMIZERS, lookup
lookup("SGD", OPTIMIZERS)
before = "timm" in sys.modules
lamb = lookup("Lamb", OPTIMIZERS)
after = [lookup(name, OPTIMIZERS).__module__.split(".")[0] for name in ("SGD", "RAdam", "Adafactor", "Lamb", "Lion")]
print(json.dumps([before, lamb.__module__, *after]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    before, module, *after = json.loads(done.stdout.splitlines()[-1])
    assert before is False
    assert module == "timm.optim.lamb"
    assert after == ["torch", "torch", "torch", "timm", "timm"], "where both have a name, torch's stays"
