"""The recipes of AutoMix, SAMix and AdAutoMix against what is known of their authors' configs."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

CLASSIFICATION = Path(__file__).parents[2] / "configs/classification"

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
    "cifar100/samix/deit_s_*": {"lam_mul_k": -1.0, "value_dropout": 0.1, "upsampling": "nearest"},
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
    "imagenet/adautomix/*": {"mix_samples": 2, "beta": 0.1},
    "tiny_imagenet/adautomix/*": {"mix_samples": 3, "beta": 0.4},
    "cifar10*/adautomix/*": {"mix_samples": 3, "beta": 0.3},
}


def configs(pattern: str) -> list[Any]:
    """The resolved configs of a pattern."""
    found = sorted(CLASSIFICATION.glob(f"{pattern}.py"))
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
    for kind in ("automix", "samix", "adautomix"):
        for cfg in configs(f"*/{kind}/*"):
            expected = classes[Path(cfg.filename).relative_to(CLASSIFICATION).parts[0]]
            assert cfg.model.head.num_classes == expected
            assert cfg.model.get("head_one", {"num_classes": expected})["num_classes"] == expected
