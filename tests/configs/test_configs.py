"""Every config that is shipped is right, states its claim, and says what its recipe says."""

from pathlib import Path

import pytest
from mmengine.config import Config

import openmix
from openmix.commands import run_command
from openmix.commands.check import find_configs
from openmix.engine.config import load_config
from openmix.mixers.catalog import get_method
from openmix.registry import TASKS

ROOT = Path(__file__).parents[2]
CONFIGS = find_configs([str(ROOT / "configs")])
BASIC = ROOT / "configs/classification/cifar10/mixups/basic"


def test_all_are_right_and_state_their_claim(capsys):
    assert len(CONFIGS) >= 7
    assert run_command("check", [str(ROOT / "configs")]) == 0
    out = capsys.readouterr().out
    assert f"{len(CONFIGS)} of {len(CONFIGS)} config files are right" in out
    assert "has no docstring" not in out
    grids = list((ROOT / "configs/grids").glob("*.py"))
    assert f"{len(grids)} of {len(grids)} grid files are right" in out


def small_configs() -> list[Path]:
    """The configs of CIFAR-10 that a CPU trains."""
    folders = [BASIC, *(ROOT / "configs/classification/cifar10" / name for name in ("automix", "samix", "adautomix"))]
    folders += [ROOT / "configs/selfsup" / name for name in ("moco", "simsiam", "simclr", "mae")]
    return [path for folder in folders for kind in ("convnet_*", "vit_micro_*") for path in folder.glob(f"{kind}.py")]


def parts_of(path: str) -> set[str]:
    """What a dry run tries of a config: its task, network, methods, guide and loaders."""
    cfg = Config.fromfile(path, lazy_import=False)  # unchecked: a wrong one is the first test's to report
    model, loader = cfg.model, cfg.train_dataloader
    kinds = [part["type"] for part in loader.get("loaders", [loader])]
    parts = (model.type, model.backbone, model.get("mix_mode"), model.get("guide"), loader.type, kinds)
    return {f"{i}: {part}" for i, part in enumerate(parts)}


def first_of_each() -> set[str]:
    """Configs of which each has a part that those before have not; the rest combine them otherwise.

    Those of masked autoencoders of 86 M parameters are not among them: each takes a minute.
    """
    found, tried = set(), set()
    for path in CONFIGS:
        if not parts_of(path) <= tried and "vit_base_imagenet" not in path:
            found.add(path)
            tried |= parts_of(path)
    return found


FIRST = first_of_each()


@pytest.mark.parametrize(
    "path",
    [path if path in FIRST else pytest.param(path, marks=pytest.mark.slow) for path in CONFIGS],
    ids=lambda path: str(Path(path).relative_to(ROOT / "configs").with_suffix("")),
)
def test_dry_run(path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)  # where data/ is looked for
    assert run_command("check", [path, "--dry-run"]) == 0, capsys.readouterr().out


def test_cifar10_benchmark_is_openmixups_recipe():
    """Batch 100, SGD 0.1, momentum 0.9, weight decay 1e-4, no Nesterov, cosine to 0 by epoch, 200 epochs."""
    cfg = load_config(str(BASIC / "r18_mixups_CE_none.py"))
    assert cfg.optim_wrapper.optimizer == {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
    assert cfg.param_scheduler == {"type": "CosineAnnealingLR", "eta_min": 0.0, "by_epoch": True}
    assert cfg.train_cfg.max_epochs == 200
    assert cfg.train_dataloader.batch_size == 100
    crop, flip = cfg.train_dataloader.pipeline
    assert crop == {"type": "RandomCrop", "size": 32, "padding": 4}
    assert flip == {"type": "RandomHorizontalFlip"}
    assert cfg.model.backbone == {"type": "ResNet_CIFAR", "depth": 18}
    assert cfg.val_dataloader.dataset.split == "test"


def test_snippet_of_two_modes_is_as_published():
    cfg = load_config(str(BASIC / "r18_mixup_cutmix_CE_none.py"))
    model = cfg.model
    assert (model.alpha, model.mix_mode, model.mix_prob) == ([0.1, 1], ["mixup", "cutmix"], [0.4, 0.6])
    assert model.mix_repeat == 1


def test_quickstart_configs_differ_in_their_mode_alone():
    cfgs = {}
    for mode in ("vanilla", "mixup", "cutmix", "resizemix"):
        cfg = load_config(str(ROOT / f"configs/quickstart/digits_{mode}.py")).to_dict()
        assert cfg["model"].pop("mix_mode") == mode
        cfg.pop("work_dir")
        for key in ("alpha", "mix_args"):
            cfg["model"].pop(key, None)
        cfgs[mode] = cfg
    assert all(cfg == cfgs["vanilla"] for cfg in cfgs.values())


def test_every_method_has_a_config_that_trains_it():
    """Those that are learned have a task of their own, as what learns without labels has, and folders of their own."""
    named, tasks = set(), set()
    for path in small_configs():
        model = load_config(str(path)).model
        named |= {model.mix_mode} if path.parent == BASIC and "mix_mode" in model else set()
        tasks |= {model.type}
    learned = {name for name in openmix.list_mixers() if openmix.build_mixer(name).kind == "learned"}
    assert named == set(openmix.list_mixers()) - learned
    assert {f"{get_method(name).title}Classification" for name in learned} <= tasks
    assert tasks == set(TASKS.module_dict) - {"Classification"}


def test_rows_that_came_from_defective_code_exist_twice():
    """As the correct method, and as what was published; each says which is which."""
    for method in ("smoothmix", "gridmix", "resizemix", "saliencymix"):
        right, port = (BASIC / f"r18_{method}_CE_none{suffix}.py" for suffix in ("", "_openmixup"))
        assert "mix_args" not in load_config(str(right)).model or not load_config(str(right)).model.mix_args
        assert load_config(str(port)).model.mix_args[method]["preset"] == "openmixup"
        assert port.name in right.read_text() and "Published top-1 for" not in right.read_text()
        assert "published top-1" in port.read_text()
