"""Each recipe's fields against a table copied from the teardowns of the seeds' code, and rows against each other."""

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from openmix.commands.check import find_configs

CLASSIFICATION = Path(__file__).parents[2] / "configs/classification"

CIFAR_STATS = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
CIFAR100_OWN = ([129.3 / 255, 124.1 / 255, 112.4 / 255], [68.2 / 255, 65.4 / 255, 70.4 / 255])
CROPMIX_STATS = ([125.3 / 255, 123.0 / 255, 113.9 / 255], [63.0 / 255, 62.1 / 255, 66.7 / 255])
IMAGENET_STATS = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

# epochs, images a step on the stated processes, lr, momentum, weight decay, nesterov, mean and std
RECIPES: dict[str, tuple[Any, ...]] = {
    "cifar10/mixups/basic/r18_*": (200, 100, 0.1, 0.9, 1e-4, False, CIFAR_STATS),
    "cifar10/mixups/basic/rx50_*": (200, 100, 0.1, 0.9, 1e-4, False, CIFAR_STATS),
    "cifar100/mixups/basic/r18_*": (200, 100, 0.1, 0.9, 1e-4, False, CIFAR_STATS),
    "cifar100/mixups/basic/wrn28_8_*": (400, 100, 0.03, 0.9, 1e-3, False, CIFAR_STATS),
    "cifar10/resizemix/wrn28_10_*": (200, 256, 0.2, 0.9, 5e-4, False, CIFAR_STATS),
    "cifar100/resizemix/wrn28_10_*": (200, 256, 0.2, 0.9, 5e-4, False, CIFAR_STATS),
    "cifar10/resizemix/ss26_2x96d_*": (1800, 256, 0.04, 0.9, 1e-4, False, CIFAR_STATS),
    "cifar100/resizemix/ss26_2x96d_*": (1800, 256, 0.04, 0.9, 1e-4, False, CIFAR_STATS),
    "cifar100/rmix/*": (300, 100, 0.2, 0.9, 1e-4, True, CIFAR100_OWN),
    "cifar100/comixup/*": (300, 100, 0.2, 0.9, 1e-4, True, CIFAR100_OWN),
    "cifar100/puzzlemix/preactresnet18_puzzlemix.py": (1200, 100, 0.1, 0.9, 1e-4, True, CIFAR100_OWN),
    "cifar100/puzzlemix/preactresnet18_puzzlemix_600.py": (600, 100, 0.2, 0.9, 1e-4, True, CIFAR100_OWN),
    "cifar100/puzzlemix/wrn28_10_puzzlemix.py": (400, 100, 0.1, 0.9, 1e-4, True, CIFAR100_OWN),
    "cifar100/puzzlemix/wrn28_10_puzzlemix_200.py": (200, 100, 0.2, 0.9, 1e-4, True, CIFAR100_OWN),
    "cifar*/cropmix/*": (300, 100, 0.1, 0.9, 1e-4, False, CROPMIX_STATS),
    "imagenet/resizemix/*": (300, 512 // 8, 0.5, 0.9, 4e-5, False, IMAGENET_STATS),
    "imagenet/mixups/basic/r50_mixups_CE_none.py": (100, 256 // 4, 0.1, 0.9, 1e-4, False, IMAGENET_STATS),
    "imagenet/mixups/basic/r50_mixups_CE_none_ep300.py": (300, 256 // 4, 0.1, 0.9, 1e-4, False, IMAGENET_STATS),
    "imagenet/mixups/basic/r50_vanilla_step_90e.py": (90, 256 // 4, 0.1, 0.9, 1e-4, False, IMAGENET_STATS),
    "imagenet/cropmix/*": (300, 256, 0.1, 0.9, 1e-4, False, IMAGENET_STATS),
}

CROP4, CROP2 = {"type": "RandomCrop", "size": 32, "padding": 4}, {"type": "RandomCrop", "size": 32, "padding": 2}
FLIP = {"type": "RandomHorizontalFlip"}
CROPMIX = {"type": "CropMix", "mix_ratio": 0.4, "operation": 0, "inter_aug": True}


def files(pattern: str) -> list[Path]:
    found = sorted(CLASSIFICATION.glob(pattern))
    assert found, pattern
    return found


@functools.cache
def load(path: Path | str) -> dict[str, Any]:
    return Config.fromfile(str(CLASSIFICATION / path), lazy_import=False).to_dict()  # test_configs.py checks them


@pytest.mark.parametrize("pattern", RECIPES)
def test_fields_are_the_notes(pattern):
    epochs, batch, lr, momentum, decay, nesterov, (mean, std) = RECIPES[pattern]
    for path in files(pattern):
        cfg = load(path)
        optimizer = cfg["optim_wrapper"]["optimizer"]
        assert cfg["train_cfg"]["max_epochs"] == epochs, path
        assert cfg["train_dataloader"]["batch_size"] == batch
        assert optimizer["type"] == "SGD" and optimizer.get("nesterov", False) is nesterov
        assert (optimizer["lr"], optimizer["momentum"], optimizer["weight_decay"]) == (lr, momentum, decay)
        assert cfg["data_preprocessor"] == {"mean": pytest.approx(mean), "std": pytest.approx(std)}
        assert cfg["optim_wrapper"].get("paramwise_cfg") is None, "all parameters decay"
        dataset = cfg["val_dataloader"]["dataset"]
        assert dataset.get("split") in ("test", "val") or Path(dataset["path"]).stem == "val"


@pytest.mark.parametrize(
    ("pattern", "milestones"),
    [
        ("cifar100/comixup/*", [100, 200]),
        ("cifar100/puzzlemix/preactresnet18_puzzlemix.py", [400, 800]),
        ("cifar100/puzzlemix/preactresnet18_puzzlemix_600.py", [350, 500]),
        ("cifar100/puzzlemix/wrn28_10_puzzlemix.py", [200, 300]),
        ("cifar100/puzzlemix/wrn28_10_puzzlemix_200.py", [120, 170]),
    ],
)
def test_rates_fall_to_a_tenth_at(pattern, milestones):
    for path in files(pattern):
        schedule = load(path)["param_scheduler"]
        assert (schedule["type"], schedule["milestones"]) == ("MultiStepLR", milestones)
        assert schedule.get("gamma", 0.1) == 0.1
        assert load(path)["model"]["head"]["loss"] == {"type": "MixSoftmaxBinaryCrossEntropy"}
        assert load(path)["model"].get("clean_weight", 0) == (0.02 if "comixup" in pattern else 0)


@pytest.mark.parametrize(
    ("file", "pipeline"),
    [
        ("cifar10/resizemix/wrn28_10_baseline.py", [CROP4, FLIP]),
        ("cifar100/resizemix/ss26_2x96d_resizemix.py", [CROP4, FLIP]),
        ("cifar100/rmix/preactresnet18_cutmixplus.py", [FLIP, CROP2]),
        ("cifar10/mixups/basic/rx50_mixups_CE_none.py", [CROP4, FLIP]),
        ("cifar100/cropmix/r18_baseline.py", [CROP4, FLIP]),
        ("cifar10/cropmix/r18_cropmix.py", [{**CROPMIX, "scale": 0.5, "number": 2, "size": 32}, FLIP]),
        ("cifar100/cropmix/r18_cropmix.py", [{**CROPMIX, "scale": 0.5, "number": 2, "size": 32}, FLIP]),
        ("imagenet/cropmix/r50_cropmix.py", [{**CROPMIX, "scale": 0.01, "number": 234, "size": 224}, FLIP]),
        ("cifar100/mixups/basic/r18_mixups_CE_none.py", [{**CROP4, "padding_mode": "reflect"}, FLIP]),
    ],
)
def test_augmentation_in_its_order(file, pipeline):
    assert load(file)["train_dataloader"]["pipeline"] == pipeline


BACKBONES: dict[str, dict[str, Any]] = {
    "cifar*/resizemix/wrn28_10_*": {"type": "WideResNet", "depth": 28, "widen_factor": 10, "variant": "faa"},
    "cifar*/resizemix/ss26_2x96d_*": {"type": "ShakeShake", "depth": 26, "width": 96},
    "cifar100/rmix/wrn28_10_*": {"type": "WideResNet", "depth": 28, "widen_factor": 10, "variant": "rmix"},
    "cifar100/rmix/wrn16_8_*": {"type": "WideResNet", "depth": 16, "widen_factor": 8, "variant": "rmix"},
    "cifar100/rmix/preactresnet18_*": {"type": "PreActResNet", "depth": 18},
    "cifar100/rmix/resnext29_4_24_*": {"type": "ResNeXt29_4_24"},
    "cifar10/mixups/basic/r18_*": {"type": "ResNet_CIFAR", "depth": 18},
    "cifar*/cropmix/r18_*": {"type": "ResNet_CIFAR", "depth": 18},
    "cifar*/mixups/basic/rx50_*": {"type": "ResNeXt_CIFAR", "depth": 50},
    "cifar100/mixups/basic/wrn28_8_*": {
        "type": "WideResNet", "depth": 28, "widen_factor": 8, "variant": "openmixup",
    },
    "imagenet/resizemix/r50_*": {"type": "ResNet", "depth": 50},
    "imagenet/resizemix/r101_*": {"type": "ResNet", "depth": 101},
    "imagenet/mixups/basic/r50_mixups_*": {"type": "ResNet", "depth": 50, "zero_init_residual": True},
}  # fmt: skip
CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}


@pytest.mark.parametrize("pattern", BACKBONES)
def test_networks_are_the_rows(pattern):
    for path in files(pattern):
        model = load(path)["model"]
        assert model["backbone"] == BACKBONES[pattern], path
        assert model["head"]["num_classes"] == CLASSES[path.relative_to(CLASSIFICATION).parts[0]]


ROWS = ("baseline", "cutout", "cutmix", "resizemix", "resizemixplus", "randaugment", "autoaugment")
MODES = {
    "baseline": "vanilla", "cutout": "cutout", "cutmix": ["cutmix", "vanilla"], "resizemix": "resizemix",
    "resizemixplus": "resizemixplus", "randaugment": "vanilla", "autoaugment": "vanilla",
}  # fmt: skip


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
@pytest.mark.parametrize("network", ["wrn28_10", "ss26_2x96d"])
def test_resizemix_has_every_row_whose_method_exists(data, network):
    for row in ROWS:
        cfg = load(f"{data}/resizemix/{network}_{row}.py")
        assert cfg["model"]["mix_mode"] == MODES[row]
        names = [step["type"] for step in cfg["train_dataloader"]["pipeline"]]
        assert ("RandAugment" in names, "AutoAugment" in names) == (row == "randaugment", row == "autoaugment")
    lengths = {"cifar10": 16, "cifar100": 8}
    assert load(f"{data}/resizemix/{network}_cutout.py")["model"]["mix_args"] == {"cutout": {"length": lengths[data]}}


def test_warm_up_and_cosine_of_resizemix():
    for pattern, peak in (("cifar10/resizemix/wrn*", 0.2), ("cifar100/resizemix/ss*", 0.04)):
        for path in files(pattern):
            warm, cosine = load(path)["param_scheduler"]
            assert (warm["type"], warm["end"], warm["convert_to_iter_based"]) == ("LinearLR", 5, True)
            assert warm["start_factor"] * peak == pytest.approx(1e-5)
            assert cosine == {
                "type": "CosineAnnealingLR", "eta_min": 1e-5, "begin": 5, "convert_to_iter_based": True,
            }  # fmt: skip


def test_steps_of_cropmix():
    for pattern, every in (("cifar*/cropmix/*", 100), ("imagenet/cropmix/*", 75)):
        for path in files(pattern):
            assert load(path)["param_scheduler"] == {"type": "StepLR", "step_size": every, "gamma": 0.1}
            assert load(path)["model"]["mix_mode"] == "vanilla"


def test_one_cycle_of_rmix():
    assert load("cifar100/rmix/wrn28_10_cutmixplus.py")["param_scheduler"] == {
        "type": "OneCycleLR", "max_lr": 0.29947526988779305, "pct_start": 0.3, "div_factor": 100,
        "final_div_factor": 10000, "by_epoch": False,
    }  # fmt: skip
    multistep = load("cifar100/rmix/preactresnet18_cutmixplus_multistep.py")["param_scheduler"]
    assert multistep == {"type": "MultiStepLR", "milestones": [150, 225], "gamma": 0.1}


def test_phases_of_rmix():
    cfg = load("imagenet/rmix/r50_baseline_phases.py")
    loader = cfg["train_dataloader"]
    assert (loader["type"], loader["begins"], cfg["train_cfg"]["max_epochs"]) == ("PhasedLoader", [0, 15], 100)
    small, large = loader["loaders"]
    for phase, total, crop, scale, side, workers in (
        (small, 1024, 128, 0.08, 160, 12),
        (large, 448, 224, 0.087, 352, 10),
    ):
        assert (phase["batch_size"] * 4, phase["num_workers"]) == (total, workers)
        assert phase["pipeline"] == [{"type": "RandomResizedCrop", "size": crop, "scale": [scale, 1.0]}, FLIP]
        assert phase["dataset"]["data_root"] == f"data/size{side}"
    knots = [tuple(knot) for knot in cfg["param_scheduler"]["knots"]]
    assert knots == [
        (0, 0.5), (8, 1.0), (15, 0.125), (15, 0.2), (40, 0.02), (40, 0.02), (65, 0.002), (90, 0.0002), (100, 0.00002),
    ]  # fmt: skip
    optimizer = cfg["optim_wrapper"]["optimizer"]
    assert (optimizer["momentum"], optimizer["weight_decay"], optimizer["nesterov"]) == (0.9, 1e-4, True)
    assert cfg["optim_wrapper"]["paramwise_cfg"] == {"norm_decay_mult": 0.0}, "fc's bias decays"


def test_resnet_strikes_back_a3():
    cfg = load("imagenet/mixups/basic/r50_rsb_a3.py")
    optimizer = cfg["optim_wrapper"]["optimizer"]
    assert (optimizer["type"], optimizer["lr"], optimizer["weight_decay"]) == ("Lamb", 0.008, 0.02)
    paramwise = cfg["optim_wrapper"]["paramwise_cfg"]
    assert paramwise["norm_decay_mult"] == paramwise["bias_decay_mult"] == 0
    assert cfg["train_dataloader"]["batch_size"] * 4 == 2048 and cfg["train_cfg"]["max_epochs"] == 100
    crop, _, augment = cfg["train_dataloader"]["pipeline"]
    assert (crop["size"], augment["policy"]) == (160, "rand-m6-mstd0.5-inc1")
    assert [step["size"] for step in cfg["val_dataloader"]["pipeline"]] == [236, 224]
    assert (cfg["model"]["mix_mode"], cfg["model"]["alpha"]) == (["mixup", "cutmix"], [0.1, 1.0])
    assert cfg["model"]["head"]["loss"]["type"] == "MixBinaryCrossEntropy"
    warm, cosine = cfg["param_scheduler"]
    assert (warm["end"], cosine["eta_min"]) == (5, 1e-6)


def test_deit():
    cfg = load("imagenet/mixups/basic/deit_small_deit.py")
    optimizer = cfg["optim_wrapper"]["optimizer"]
    assert (optimizer["type"], optimizer["lr"], optimizer["weight_decay"]) == ("AdamW", 1e-3, 0.05)
    assert cfg["optim_wrapper"]["clip_grad"] == {"max_norm": 5.0}
    assert cfg["train_dataloader"]["batch_size"] * 8 == 1024 and cfg["train_cfg"]["max_epochs"] == 300
    assert cfg["model"]["head"]["label_smoothing"] == 0.1
    assert (cfg["model"]["mix_mode"], cfg["model"]["alpha"]) == (["mixup", "cutmix"], [0.8, 1.0])
    policies = [step.get("policy") for step in cfg["train_dataloader"]["pipeline"]]
    assert "rand-m9-mstd0.5-inc1" in policies
    warm, cosine = cfg["param_scheduler"]
    assert (warm["end"], cosine["eta_min"], cosine["convert_to_iter_based"]) == (5, 1e-5, True)
    assert cfg["model"]["backbone"]["drop_path_rate"] == 0.1
    assert load("imagenet/cropmix/r50_baseline.py")["model"]["backbone"]["zero_init_residual"], "as timm begins"


def test_resizemix_on_imagenet():
    rows = {path.stem: load(path) for path in files("imagenet/resizemix/*")}
    assert set(rows) == {
        *(f"r50_{row}" for row in ("baseline", "cutmix", "resizemix", "resizemix_dali", "randaugment", "autoaugment")),
        *(f"r101_{row}" for row in ("baseline", "cutmix", "resizemix")),
    }
    for name, cfg in rows.items():
        modes = {"cutmix": "cutmix", "resizemix": "resizemix"}
        assert cfg["model"]["mix_mode"] == modes.get(name.split("_")[1], "vanilla")
        assert cfg["train_dataloader"]["pipeline"][0] == {"type": "RandomResizedCrop", "size": 224}


def test_the_row_through_dali_differs_in_its_loaders_alone():
    one, other = (load(CLASSIFICATION / f"imagenet/resizemix/r50_resizemix{name}.py") for name in ("", "_dali"))
    assert {key for key in one | other if one.get(key) != other.get(key)} == {"train_dataloader", "val_dataloader"}
    for key in ("train_dataloader", "val_dataloader"):
        assert one[key]["pipeline"] == other[key]["pipeline"]


def test_no_two_configs_are_the_same():
    resolved = {path: json.dumps(load(path), sort_keys=True) for path in find_configs([str(CLASSIFICATION)])}
    assert len(resolved) > 90
    same = [(a, b) for a, b in itertools.combinations(resolved, 2) if resolved[a] == resolved[b]]
    assert same == []


def test_every_base_is_used():
    bases = {path.name for path in (CLASSIFICATION.parent / "_base_").glob("*/*.py")}
    used = "".join(Path(path).read_text() for path in find_configs([str(CLASSIFICATION.parent)]))
    assert [name for name in sorted(bases) if f"/{name}" not in used] == []
