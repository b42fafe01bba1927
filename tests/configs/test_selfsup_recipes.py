"""The recipes of learning without labels against what is known of their authors' code."""

from pathlib import Path
from typing import Any

import pytest

from openmix.engine.config_files import read_config
from openmix.engine.optim import build_optimizer
from openmix.engine.settings import OptimWrapper
from openmix.registry import build_task

SELFSUP = Path(__file__).parents[2] / "configs/selfsup"

# epochs, images a step on how many processes, the optimizer's type, rate and decay
TRAINING: dict[str, tuple[Any, ...]] = {
    "moco/r18_cifar10_moco*": (200, 512, 1, "SGD", 0.06, 5e-4),
    "simsiam/r18_cifar10_*": (800, 512, 1, "SGD", 0.06, 5e-4),
    "simclr/r18_cifar10_*": (200, 128, 1, "SGD", 0.06, 5e-4),
    "moco/r18_cifar10_mocov3": (1000, 256, 1, "Lars", 0.3, 1e-6),
    "moco/r50_imagenet_moco*": (100, 256, 8, "SGD", 0.03, 1e-4),
    "moco/r50_imagenet_linear": (90, 4096, 8, "Lars", 1.6, 0.0),
    "mae/vit_base_imagenet_mae*": (200, 4096, 8, "AdamW", 2.4e-3, 0.05),
    "mae/vit_base_imagenet_finetune": (100, 4096, 8, "AdamW", 8e-3, 0.05),
    "mae/vit_base_imagenet_linear": (90, 16384, 8, "LARS", 6.4, 0.0),
    "mae/vit_tiny_cifar10_mae*": (2000, 4096, 1, "AdamW", 2.4e-3, 0.05),
    "mae/vit_tiny_cifar10_[fs]*": (100, 128, 1, "AdamW", 5e-4, 0.05),
}
DEMO = {"queue_size": 4096, "momentum": 0.99, "temperature": 0.1, "splits": 8}
DEMO_LAYER = {"type": "ProjectionMLP", "channels": [128]}
TASKS: dict[str, dict[str, Any]] = {
    "moco/r18_cifar10_moco*": {"type": "MoCo", **DEMO, "projector": DEMO_LAYER},
    "moco/r18_cifar10_moco_symmetric": {"symmetric": True, "key_splits": None},
    "moco/r18_cifar10_moco_asymbn": {"symmetric": None, "key_splits": 1},
    "moco/r18_cifar10_moco_meanenc": {"symmetric": None, "key_splits": None},
    "moco/r18_cifar10_mocov3": {"type": "MoCoV3", "momentum": 0.99, "momentum_end": 1.0, "temperature": 0.2},
    "moco/r50_imagenet_moco*": {
        "type": "MoCo",
        "queue_size": 65536,
        "momentum": 0.999,
        "momentum_end": None,
        "temperature": 0.2,
        "projector": {"type": "ProjectionMLP", "channels": [2048, 2048, 128], "norm": "first"},
    },
    "simclr/r18_cifar10_simclr": {"temperature": 0.5, "projector": {"type": "ProjectionMLP", "channels": [512, 128]}},
    "simsiam/r18_cifar10_simsiam": {
        "projector": {"type": "ProjectionMLP", "channels": [2048, 2048], "norm": "all"},
        "predictor": {"type": "ProjectionMLP", "channels": [512, 2048]},
    },
    "mae/vit_base_imagenet_mae*": {
        "mask_ratio": None,
        "norm_pix_loss": None,
        "decoder": {"type": "MAEDecoder", "embed_dim": 512, "depth": 8, "num_heads": 16},
    },
    "mae/vit_tiny_cifar10_mae*": {"decoder": {"type": "MAEDecoder", "embed_dim": 192, "depth": 4, "num_heads": 3}},
}
NETWORKS = {"r18_cifar10": {"type": "ResNet_CIFAR", "depth": 18}, "r50_imagenet": {"type": "ResNet", "depth": 50}}
FLIP = {"type": "RandomHorizontalFlip"}
JITTER = {
    "type": "RandomApply",
    "transforms": [{"type": "ColorJitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}],
    "p": 0.8,
}
GREY = {"type": "RandomGrayscale", "p": 0.2}
BLUR = {
    "type": "RandomApply",
    "transforms": [{"type": "GaussianBlur", "kernel_size": 23, "sigma": [0.1, 2.0]}],
    "p": 0.5,
}


def crop(size: int, low: float) -> dict[str, Any]:
    return {"type": "RandomResizedCrop", "size": size, "scale": [low, 1.0]}


COLOURS = [FLIP, JITTER, GREY]
SMALL, DEMO_VIEW = [crop(32, 0.2), *COLOURS], [crop(32, 0.08), *COLOURS]
MOCO_V2_COLOURS = [JITTER, GREY, BLUR, FLIP]
MOCO_V2 = [crop(224, 0.2), *MOCO_V2_COLOURS]
VIEWS: dict[str, list[Any]] = {
    "moco/convnet_cifar10_moco": [SMALL, SMALL],
    "moco/convnet_cifar10_mocov3": [SMALL, SMALL],
    "simsiam/convnet_cifar10_simsiam": [SMALL, SMALL],
    "*/convnet_cifar10_*_cropmix": [[{"type": "CropMixPair", "size": 32, "pipeline": COLOURS}], SMALL],
    "moco/convnet_cifar10_*_scalemix": [[{"type": "ScaleMix", "size": 32, "pipeline": COLOURS}], SMALL],
    "simsiam/r18_cifar10_simsiam": [SMALL, SMALL],
    "simclr/convnet_cifar10_simclr": [SMALL, SMALL],
    "simclr/r18_cifar10_simclr": [DEMO_VIEW, DEMO_VIEW],
    "moco/r18_cifar10_moco": [DEMO_VIEW, DEMO_VIEW],
    "moco/r18_cifar10_moco_symmetric": [DEMO_VIEW, DEMO_VIEW],
    "moco/r18_cifar10_moco_asymbn": [DEMO_VIEW, DEMO_VIEW],
    "moco/r18_cifar10_moco_meanenc": [DEMO_VIEW, DEMO_VIEW, DEMO_VIEW],
    "moco/r18_cifar10_moco_asymaug": [
        [*DEMO_VIEW, {"type": "TimmAutoAugment", "policy": "rand-m10-n2-mstd0.5"}],
        [{"type": "RandomResizedCrop", "size": 32}, FLIP],
    ],
    "moco/r18_cifar10_moco_scalemix": [
        [{"type": "ScaleMix", "size": 32, "scale": [0.08, 1.0], "pipeline": COLOURS}],
        DEMO_VIEW,
    ],
    "moco/r18_cifar10_moco_cropmix": [[{"type": "CropMixPair", "size": 32, "pipeline": COLOURS}], DEMO_VIEW],
    "moco/r50_imagenet_moco": [MOCO_V2, MOCO_V2],
    "moco/r50_imagenet_moco_scalemix": [[{"type": "ScaleMix", "size": 224, "pipeline": MOCO_V2_COLOURS}], MOCO_V2],
    "moco/r50_imagenet_moco_cropmix": [[{"type": "CropMixPair", "size": 224, "pipeline": MOCO_V2_COLOURS}], MOCO_V2],
}
# figures that a docstring states, as published
CLAIMS = {
    "moco/r18_cifar10_moco": ("82.6", "86.3", "88.7"),
    "moco/r18_cifar10_moco_symmetric": ("85.3", "88.5", "89.7", "90.7"),
    "moco/r18_cifar10_mocov3": ("93.10", "about 90"),
    "moco/r50_imagenet_moco": ("65.8", "57.3", "14.6"),
    "moco/r50_imagenet_moco_scalemix": ("67.2", "67.6"),
    "moco/r50_imagenet_moco_cropmix": ("67.8", "58.9", "18.7"),
    "simsiam/r18_cifar10_simsiam": ("90.3", "90.83"),
    "simclr/r18_cifar10_simclr": ("84.7",),
    "mae/vit_base_imagenet_finetune": ("82.4", "82.3", "82.5"),
    "mae/vit_tiny_cifar10_finetune": ("89.77", "74.13"),
}


def configs(pattern: str) -> list[Any]:
    """The resolved configs of a pattern; whether they are right is another test's to report."""
    found = sorted(path for path in SELFSUP.glob(f"{pattern}.py"))
    if pattern.endswith("_moco*"):  # MoCo v3 is another recipe
        found = [path for path in found if "mocov3" not in path.stem]
    assert found, pattern
    return [read_config(str(path)) for path in found]


@pytest.mark.parametrize("pattern", TRAINING)
def test_training(pattern):
    epochs, images, processes, kind, rate, decay = TRAINING[pattern]
    for cfg in configs(pattern):
        wrapper, optimizer = cfg.optim_wrapper, cfg.optim_wrapper.optimizer
        step = cfg.train_dataloader.batch_size * wrapper.get("accumulative_counts", 1) * processes
        assert (cfg.train_cfg.max_epochs, step) == (epochs, images), cfg.filename
        assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == (kind, rate, decay), cfg.filename
        assert optimizer.get("momentum", 0.9) == 0.9
        schedules = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
        assert all(s.eta_min == 0.0 for s in schedules if s.type == "CosineAnnealingLR")


@pytest.mark.parametrize("pattern", TASKS)
def test_tasks(pattern):
    for cfg in configs(pattern):
        assert {key: cfg.model.get(key) for key in TASKS[pattern]} == TASKS[pattern], cfg.filename


@pytest.mark.parametrize("stem", NETWORKS)
def test_networks(stem):
    for cfg in configs(f"*/{stem}_*"):
        assert cfg.model.backbone == NETWORKS[stem], cfg.filename


@pytest.mark.parametrize("pattern", VIEWS)
def test_views(pattern):
    for cfg in configs(pattern):
        assert cfg.train_dataloader.pipeline == [{"type": "Views", "views": VIEWS[pattern]}], cfg.filename
        assert cfg.val_dataloader.dataset.split in ("test", "val")


def test_all_contrastive_configs_have_their_views_told_here():
    told = {cfg.filename for pattern in VIEWS for cfg in configs(pattern)}
    contrastive = {str(path) for kind in ("moco", "simsiam", "simclr") for path in (SELFSUP / kind).glob("*.py")}
    others = {str(SELFSUP / "moco" / f"{name}.py") for name in ("r50_imagenet_linear", "r18_cifar10_mocov3")}
    assert told == contrastive - others


def test_mocov3s_views_differ_in_solarising_alone():
    (cfg,) = configs("moco/r18_cifar10_mocov3")
    first, second = cfg.train_dataloader.pipeline[0].views
    assert [t for t in second if t not in first] == [{"type": "RandomSolarize", "threshold": 128, "p": 0.2}]
    assert [t for t in second if t in first] == first
    (jitter,) = first[1].transforms
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (0.4, 0.4, 0.2, 0.1)


@pytest.mark.parametrize("pattern", CLAIMS)
def test_claims(pattern):
    text = (SELFSUP / f"{pattern}.py").read_text()
    assert "openmix has not" in text and all(figure in text for figure in CLAIMS[pattern])


def test_the_last_weights_are_the_result():
    """A pre-training run chooses none of its checkpoints by the test set."""
    for cfg in [cfg for pattern in (*VIEWS, "mae/*_mae*") for cfg in configs(pattern)]:
        assert cfg.default_hooks.checkpoint.save_best is None, cfg.filename


@pytest.mark.parametrize(
    "pattern", ["moco/r18_cifar10_moco", "moco/convnet_cifar10_moco", "moco/r50_imagenet_moco", "moco/r18_*_mocov3"]
)
def test_the_probe_has_its_own_rate_and_does_not_decay(pattern):
    for cfg in configs(pattern):
        task = build_task(cfg.model, device="meta")
        optimizer = build_optimizer(OptimWrapper(**cfg.optim_wrapper), task)
        probe = [group for group in optimizer.param_groups if group["name"] == "probe"]
        assert [group["lr"] for group in probe] == pytest.approx([0.3] * len(probe))
        assert all(group["weight_decay"] == 0 for group in probe)
        assert sum(p.numel() for group in probe for p in group["params"]) == sum(
            p.numel() for p in task.probe.parameters()
        )
        assert max(group["weight_decay"] for group in optimizer.param_groups if group["name"] == "encoder") > 0


def test_simsiams_predictor_keeps_its_rate():
    (cfg,) = configs("simsiam/r18_cifar10_simsiam")
    assert {schedule.group for schedule in cfg.param_scheduler} == {"encoder", "probe"}
    names = {group["name"] for group in build_task(cfg.model, device="meta").parameter_groups()}
    assert names == {"encoder", "predictor", "probe"}


def test_cropmix_and_scalemix_are_on_one_side():
    """What is compared differs in the first view alone."""
    for stem in ("moco/convnet_cifar10_moco", "moco/r18_cifar10_moco", "moco/r50_imagenet_moco"):
        plain, *others = (configs(f"{stem}{kind}")[0].to_dict() for kind in ("", "_scalemix", "_cropmix"))
        for cfg in others:
            views = cfg["train_dataloader"]["pipeline"][0]["views"]
            views[0] = plain["train_dataloader"]["pipeline"][0]["views"][0]
            assert cfg == plain
