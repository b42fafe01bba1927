"""Which published figures stand beside a config: the repository's own configs name theirs in their docstrings."""

import ast
import re
from pathlib import Path

import pytest

from openmix.engine.config_files import read_config
from openmix.results.naming import label
from openmix.results.published.matching import doubts, published_like

CONFIGS = Path("configs/classification")


def published(path: str, **model):
    config = read_config(str(CONFIGS / path)).to_dict()
    config["model"] |= model
    return published_like(config, label(config))


@pytest.mark.parametrize(
    ("path", "printed"),
    [
        ("cifar10/mixups/basic/r18_vanilla_CE_none.py", ["94.87"]),
        ("cifar10/mixups/basic/r18_mixups_CE_none.py", ["95.70"]),
        ("cifar10/mixups/basic/r18_cutmix_CE_none.py", ["96.11"]),
        ("cifar10/mixups/basic/r18_resizemix_CE_none.py", []),
        ("cifar10/mixups/basic/r18_resizemix_CE_none_openmixup.py", ["96.16"]),
        ("cifar10/mixups/basic/r18_mixup_cutmix_CE_none.py", []),
        ("cifar10/resizemix/wrn28_10_resizemix.py", ["97.60"]),
        ("cifar10/resizemix/wrn28_10_cutmix.py", ["97.10"]),
        ("cifar10/resizemix/wrn28_10_autoaugment.py", ["97.32"]),
        ("cifar10/resizemix/wrn28_10_baseline.py", ["96.13"]),
        ("cifar100/rmix/preactresnet18_cutmixplus.py", ["81.62"]),
        ("imagenet/mixups/basic/r50_mixups_CE_none.py", ["77.12"]),
        ("imagenet/mixups/basic/r50_rsb_a3.py", ["78.08"]),
    ],
)
def test_the_rows_that_configs_are_of(path, printed):
    assert [figure.printed for figure in published(path)] == printed
    said = ast.get_docstring(ast.parse((CONFIGS / path).read_text()))
    assert all(figure in re.sub(r"\s+", " ", said or "") for figure in printed) or "r50" in path


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.5},
        {"mix_args": {"mixup": {"per_sample": True}}},
        {"mix_repeat": 2},
        {"mix_sample_prob": 0.5},
        {"mix_epochs": [0, 100]},
        {"mix_mode": ["mixup", "vanilla"]},
        {"mix_mode": "sumix"},
        {"backbone": {"type": "ResNet", "depth": 18}},
        {"backbone": {"type": "ResNet_CIFAR", "depth": 18, "width": 32}},
    ],
)
def test_near_misses_are_not_the_same(change):
    assert published("cifar10/mixups/basic/r18_mixups_CE_none.py", **change) == []


def test_what_is_not_stated_is_said():
    (figure,) = published("cifar10/resizemix/wrn28_10_cutmix.py")
    config = read_config(str(CONFIGS / "cifar10/resizemix/wrn28_10_cutmix.py")).to_dict()
    assert doubts(figure, label(config)) == ["its epochs are not stated", "its alpha is not stated"]


def test_the_order_of_two_methods_does_not_matter():
    path = "imagenet/mixups/basic/r50_rsb_a3.py"
    assert published(path, mix_mode=["cutmix", "mixup"], alpha=[1.0, 0.1]) == published(path)
    assert published(path, mix_mode=["cutmix", "mixup"], alpha=[0.1, 1.0]) == []
