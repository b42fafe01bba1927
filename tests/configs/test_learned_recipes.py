"""The recipes of AutoMix, SAMix and AdAutoMix against what is known of their authors' configs."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from openmix.engine.config import load_config
from openmix.engine.optim import build_optimizer
from openmix.engine.settings import OptimWrapper
from openmix.registry import build_task

CLASSIFICATION = Path(__file__).parents[2] / "configs/classification"
KINDS = ("automix", "samix", "adautomix")

# epochs, images a step and process, optimizer's rate and decay, where the rates of student and mix block end, the mix
# block's rate and momentum, the momentum encoder's last momentum, the share of the run before it moves
CIFAR = (400, 100, 0.1, 1e-4, 0.05, 0.05, 0.1, 0.9, 0.999999, 0.1)
WRN = (400, 100, 0.03, 1e-3, 1e-3, 1e-3, 0.03, 0.0, 0.999999, 0.1)
TINY = (400, 100, 0.2, 1e-4, 0.05, 1e-3, 0.1, 0.9, 0.999999, 0.1)
IMAGENET = (100, 64, 0.1, 1e-4, 0.0, 1e-3, 0.1, 0.9, 0.99999, 0.1)
RECIPES: dict[str, tuple[Any, ...]] = {
    "cifar10*/*automix/r*50_*": CIFAR,
    "cifar10*/*automix/r18_*": CIFAR,
    "cifar10*/samix/r*": CIFAR,
    "cifar10*/automix/wrn28_8_*": WRN,
    "cifar10*/samix/wrn28_8_*": WRN,
    "cifar10*/adautomix/wrn28_8_*": (*WRN[:7], 0.9, *WRN[8:]),
    "tiny_imagenet/automix/*": TINY,
    "tiny_imagenet/samix/*": TINY,
    "tiny_imagenet/adautomix/r18_*": (*TINY[:4], 0.0, 0.0, *TINY[6:]),
    "tiny_imagenet/adautomix/rx50_*": TINY,
    "imagenet/*automix/r50_*": IMAGENET,
    "imagenet/samix/r50_*": IMAGENET,
    "cifar100/automix/deit_s_*": (200, 100, 5e-4, 0.05, 1e-4, 1e-4, 1e-3, None, 0.99996, 0.25),
    "cifar100/adautomix/deit_s_*": (200, 100, 5e-4, 0.05, 1e-4, 1e-4, 1e-3, None, 0.99996, 0.25),
    "cifar100/samix/deit_s_*": (200, 100, 7.5e-4, 0.05, 1e-4, 1e-4, 7.5e-4, None, 0.99996, 0.25),
    "imagenet/automix/deit_s_*": (300, 128, 1e-3, 0.05, 1e-5, 1e-4, 1e-3, None, 0.99999, 0.25),
}
BLOCKS: dict[str, dict[str, Any]] = {
    "cifar10*/automix/[rw]*_near_L1_*": {"lam_concat": False},
    "cifar100/automix/r18_*_lam_cat_*": {"lam_concat": True},
    "imagenet/automix/*": {"lam_concat": True},
    "cifar10*/samix/[rw]*": {
        "lam_mul": True,
        "lam_mul_k": 0.25,
        "qk_concat": True,
        "value_layers": 2,
        "value_dropout": 0.0,
    },
    "tiny_imagenet/samix/*": {"lam_mul_k": -1.0, "value_dropout": 0.0, "upsampling": "bilinear"},
    "imagenet/samix/*": {"lam_mul_k": -1.0, "value_dropout": 0.1, "upsampling": "bilinear", "lam_before_norm": True},
    "cifar100/samix/deit_s_*": {
        "lam_mul_k": -1.0,
        "value_dropout": 0.1,
        "upsampling": "nearest",
        "lam_before_norm": True,
    },
    "cifar100/automix/deit_s_*": {"lam_concat": True},
    "cifar100/adautomix/deit_s_*": {"lam_concat": True, "upsampling": "nearest"},
    "tiny_imagenet/automix/*": {"lam_concat": False},
    "tiny_imagenet/adautomix/*": {"lam_concat": False, "upsampling": "bilinear"},
    "imagenet/adautomix/*": {"lam_concat": True, "upsampling": "bilinear"},
    "cifar10*/adautomix/[rw]*": {"lam_concat": False, "upsampling": "bilinear"},
}
TASKS: dict[str, dict[str, Any]] = {
    "*/automix/*": {"alpha": 2.0, "lam_margin": 0.08, "mask_loss": 0.1, "mask_margin": 0.1, "momentum": 0.999},
    "*/samix/*": {"alpha": 2.0, "lam_margin": 0.08, "mask_loss": 0.1, "mask_variance": 2.0, "momentum": 0.999},
    "*/adautomix/*": {"alpha": 1.0, "lam_margin": 0.03, "mixup_ratio": 0.5, "adv_interval": 2, "momentum": 0.999},
    "*/*/deit_s_*": {"mask_layer": 1},
    "imagenet/*automix/r50_*": {"mask_layer": -2},
    "imagenet/automix/*": {"mask_loss_end": 0.0},
    "imagenet/samix/*": {"mask_loss_end": 0.0, "preset": "openmixup"},
    "imagenet/automix/deit_s_*": {"k_prob": 0.8, "head_one_mix": True},
    "cifar10*/automix/[rw]*": {"mask_loss_end": None, "k_prob": None, "preset": None, "mask_layer": -2},
    "cifar10*/samix/[rw]*": {"mask_loss_end": None, "eta": 0.5, "preset": None, "mask_layer": -2},
    "cifar100/automix/deit_s_*": {"mask_loss_end": 0.0, "k_prob": None, "preset": None},
    "cifar100/samix/deit_s_*": {"mask_loss_end": 0.0, "preset": "openmixup"},
    "*/adautomix/[rwd]*": {"preset": None},
    "imagenet/adautomix/*": {"mix_samples": 2, "beta": 0.1},
    "tiny_imagenet/adautomix/*": {"mix_samples": 3, "beta": 0.4},
    "cifar10*/adautomix/*": {"mix_samples": 3, "beta": 0.3},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "cifar10*/*/r18_*": {"type": "ResNet_CIFAR", "depth": 18},
    "tiny_imagenet/*/r18_*": {"type": "ResNet_CIFAR", "depth": 18},
    "cifar10*/*/rx50_*": {"type": "ResNeXt_CIFAR", "depth": 50},
    "tiny_imagenet/*/rx50_*": {"type": "ResNeXt_CIFAR", "depth": 50},
    "cifar10*/*/wrn28_8_*": {"type": "WideResNet", "depth": 28, "widen_factor": 8, "variant": "openmixup"},
    "imagenet/*/r50_*": {"type": "ResNet", "depth": 50, "zero_init_residual": True},
    "*/*/deit_s_*": {"type": "TimmBackbone", "name": "deit_small_patch16_224", "drop_path_rate": 0.1},
}
CIFAR_STATS = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
IMAGENET_STATS = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CROP = {"type": "RandomCrop", "size": 32, "padding": 4}
FLIP = {"type": "RandomHorizontalFlip"}
LARGE = {"type": "RandomResizedCrop", "size": 224, "scale": [0.8, 1.0], "interpolation": 3}
RANDAUGMENT = {"type": "TimmAutoAugment", "policy": "rand-m7-mstd0.5-inc1", "mean": CIFAR_STATS[0]}
# what is done to training images, and to those that it is validated on, if anything
IMAGES: dict[str, tuple[Any, ...]] = {
    "cifar10/*/[rw]*": (CIFAR_STATS, [CROP, FLIP], []),
    "cifar100/*/[rw]*": (CIFAR_STATS, [{**CROP, "padding_mode": "reflect"}, FLIP], []),
    "cifar100/*/deit_s_*": (
        CIFAR_STATS, [LARGE, FLIP, RANDAUGMENT], [{"type": "Resize", "size": 224, "interpolation": 3}],
    ),
    "tiny_imagenet/*/*": (IMAGENET_STATS, [{"type": "RandomResizedCrop", "size": 64, "interpolation": 3}, FLIP], []),
    "imagenet/*/r50_*": (
        IMAGENET_STATS,
        [{"type": "RandomResizedCrop", "size": 224, "interpolation": 3}, FLIP],
        [{"type": "Resize", "size": 256, "interpolation": 3}, {"type": "CenterCrop", "size": 224}],
    ),
}  # fmt: skip


def configs(pattern: str) -> list[Any]:
    """The resolved configs of a pattern, of learned mixing alone."""
    found = sorted(path for path in CLASSIFICATION.glob(f"{pattern}.py") if path.parent.name in KINDS)
    assert found, pattern
    return [Config.fromfile(str(path), lazy_import=False) for path in found]


def end_of(cfg: Any, group: str) -> float:
    """Where a group's rate ends."""
    spans = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
    (last,) = [s for s in spans if s["type"] == "CosineAnnealingLR" and s.get("group", group) == group]
    return last["eta_min"]


@pytest.mark.parametrize("pattern", RECIPES)
def test_training(pattern):
    epochs, batch, rate, decay, end, block_end, block_rate, block_momentum, last, constant = RECIPES[pattern]
    for cfg in configs(pattern):
        optimizer = cfg.optim_wrapper.optimizer
        own = ((cfg.optim_wrapper.get("paramwise_cfg") or {}).get("custom_keys") or {}).get("mix_block", {})
        assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (epochs, batch), cfg.filename
        assert (optimizer.lr, optimizer.weight_decay) == (rate, decay)
        assert optimizer.lr * own.get("lr_mult", 1.0) == pytest.approx(block_rate)
        assert own.get("momentum", optimizer.get("momentum")) == block_momentum
        assert (end_of(cfg, "student"), end_of(cfg, "mix_block")) == (end, block_end)
        assert (cfg.model.momentum_end, cfg.model.momentum_start) == (last, constant)


@pytest.mark.parametrize("pattern", BLOCKS)
def test_mix_blocks(pattern):
    for cfg in configs(pattern):
        assert {key: cfg.model.mix_block.get(key) for key in BLOCKS[pattern]} == BLOCKS[pattern], cfg.filename


@pytest.mark.parametrize("pattern", TASKS)
def test_tasks(pattern):
    for cfg in configs(pattern):
        assert {key: cfg.model.get(key) for key in TASKS[pattern]} == TASKS[pattern], cfg.filename


def test_both_classifiers_tell_the_data_sets_classes_apart():
    classes = {"cifar10": 10, "cifar100": 100, "tiny_imagenet": 200, "imagenet": 1000}
    for kind in KINDS:
        for cfg in configs(f"*/{kind}/*"):
            expected = classes[Path(cfg.filename).relative_to(CLASSIFICATION).parts[0]]
            assert cfg.model.head.num_classes == expected
            assert cfg.model.get("head_one", {"num_classes": expected})["num_classes"] == expected


@pytest.mark.parametrize("pattern", NETWORKS)
def test_networks(pattern):
    for cfg in configs(pattern):
        assert cfg.model.backbone == NETWORKS[pattern], cfg.filename
        assert cfg.model.head.get("label_smoothing", 0) == (0.1 if "deit" in pattern else 0)


@pytest.mark.parametrize("pattern", IMAGES)
def test_images(pattern):
    (mean, std), train, val = IMAGES[pattern]
    for cfg in configs(pattern):
        assert cfg.data_preprocessor == {"mean": mean, "std": std}, cfg.filename
        assert cfg.train_dataloader.pipeline == train
        assert cfg.val_dataloader.get("pipeline", []) == val


@pytest.mark.parametrize(
    ("pattern", "warm_up", "norm"),
    [
        ("cifar100/automix/deit_s_*", 5, 10.0),
        ("cifar100/adautomix/deit_s_*", 5, 10.0),
        ("cifar100/samix/deit_s_*", 20, 20.0),
        ("imagenet/automix/deit_s_*", 5, 5.0),
    ],
)
def test_transformers_warm_up_and_are_clipped(pattern, warm_up, norm):
    for cfg in configs(pattern):
        first, *rest = cfg.param_scheduler
        assert first == {"type": "LinearLR", "start_factor": 1e-5, "end": warm_up, "convert_to_iter_based": True}
        assert all((item["begin"], item["convert_to_iter_based"]) == (warm_up, True) for item in rest)
        assert cfg.optim_wrapper.optimizer.type == "AdamW" and cfg.optim_wrapper.clip_grad == {"max_norm": norm}


@pytest.mark.parametrize("kind", KINDS)
def test_of_transformers_norms_biases_and_tokens_do_not_decay(kind):
    """In the mix block neither, whose own rate must not bring their decay back."""
    (cfg,) = configs(f"cifar100/{kind}/deit_s_*")
    task = build_task(load_config(cfg.filename).model, device="meta")
    optimizer = build_optimizer(OptimWrapper(**cfg.optim_wrapper), task)
    names = {id(p): name for name, p in task.named_parameters()}
    rates = {"student": cfg.optim_wrapper.optimizer.lr, "mix_block": 7.5e-4 if kind == "samix" else 1e-3}
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(rates[group["name"]])
        for p in group["params"]:
            spared = p.ndim == 1 or names[id(p)].endswith(("cls_token", "pos_embed"))
            assert group["weight_decay"] == (0.0 if spared else 0.05), names[id(p)]
