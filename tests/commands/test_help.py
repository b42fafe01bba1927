"""``--help`` answers at once: it imports nothing that takes long to import."""

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openmix import commands
from openmix.commands._choices import FILTERS, MODES

ROOT = Path(__file__).parents[2]
HEAVY = {
    "torch",
    "numpy",
    "mmengine",
    "mmcv",
    "torchvision",
    "timm",
    "PIL",
    "rich",
    "yaml",
    "matplotlib",
    "safetensors",
}
NAMES = [module.name for module in pkgutil.iter_modules(commands.__path__) if not module.name.startswith("_")]
ACTIONS = [("data", "cache"), ("data", "verify"), ("grid", "make"), ("grid", "run"), ("rec", "make"), ("rec", "ls")]


def imported(*command: str) -> set[str]:
    """Return the packages that a fresh interpreter imports to print a help."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "--help"], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
    return {name.partition(".")[0] for name in re.findall(r"\|\s+([\w.]+)$", done.stderr, re.MULTILINE)}


def test_the_list_of_imports_is_seen():
    assert {"argparse", "openmix"} <= imported("-m", "openmix", "train")


@pytest.mark.parametrize("command", [(), *((name,) for name in NAMES), *ACTIONS], ids=" ".join)
def test_the_command(command):
    assert not imported("-m", "openmix", *command) & HEAVY


@pytest.mark.parametrize("tool", ["train.py", "test.py", "preview_batch.py", "probe.py", "resize_dataset.py"])
def test_the_tools(tool):
    assert not imported(f"tools/{tool}") & HEAVY


def test_the_choices_are_those_of_the_modules_that_take_them():
    from openmix.data import caching, resizing

    assert (FILTERS, MODES) == (resizing.FILTERS, caching.MODES)
