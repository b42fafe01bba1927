"""``openmix bench startup``: both sides do the same up to the first step, and the bars are as measured."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from openmix.bench import bare_start
from openmix.bench.report import Options, markdown
from openmix.bench.startup import (
    BARE,
    HELP,
    OPENMIX,
    PYTHON,
    TORCH,
    first_steps,
    imported,
    process,
    random_cifar10,
    report,
)
from openmix.data.sources import CIFAR10
from openmix.errors import Reported
from openmix.models import ResNet_CIFAR

OPTIONS = Options(torch.device("cpu"), quick=True)


def test_both_read_the_random_files(tmp_path):
    data = random_cifar10(tmp_path, 7)
    for split, length in (("train", 35), ("test", 7)):
        own, script = CIFAR10(str(data), split), bare_start.CIFAR10(str(data), train=split == "train")
        assert own.labels.tolist() == script.targets
        assert torch.equal(own.images.permute(0, 2, 3, 1), torch.from_numpy(script.data))
        assert len(own) == length


def test_both_networks_compute_the_same():
    torch.manual_seed(0)
    own, script = ResNet_CIFAR(18).eval(), bare_start.resnet18().eval()
    weights = own.state_dict()
    missing, unexpected = script.load_state_dict(weights, strict=False)
    assert missing == ["fc.weight", "fc.bias"] and unexpected == []
    script.fc = torch.nn.Identity()  # type: ignore[assignment]
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(own(images)[-1].mean((2, 3)), script(images))


def test_the_config_is_right(tmp_path):
    from openmix.engine.config import load_config

    data = random_cifar10(tmp_path, 20)
    first_steps(tmp_path, data, "cpu")
    cfg = load_config(str(tmp_path / "first_step.py"))
    assert cfg.train_dataloader.dataset.data_root == str(data)
    assert [hook["type"] for hook in cfg.custom_hooks] == ["FirstStep"]


@pytest.mark.slow
def test_both_come_to_their_first_step(tmp_path):
    for step in first_steps(tmp_path, random_cifar10(tmp_path, 100), "cpu").values():
        said = step()
        assert 1.5 < float(said.rsplit("loss ", 1)[1]) < 4  # of 10 classes that nobody knows yet
    assert not list((tmp_path / "run").glob("checkpoints/*"))


@pytest.mark.parametrize("code", ["print('no')", "print('yes'); raise SystemExit(3)"])
def test_a_process_that_fails_is_no_measurement(code):
    assert process(sys.executable, "-c", "print('yes')", says="yes")() == "yes\n"
    with pytest.raises(Reported, match="exit code"):
        process(sys.executable, "-c", code, says="yes")()


def test_processes_keep_compiled_modules(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert process(sys.executable, "-c", "import sys; print(sys.dont_write_bytecode)")() == "False\n"


def test_what_a_process_imports_is_seen():
    assert "wave" in imported(sys.executable, "-c", "import wave")
    assert "wave" not in imported(sys.executable, "-c", "pass")


@pytest.mark.parametrize(
    ("help_seconds", "own", "packages", "met"),
    [
        (0.9, 12.5, {"argparse"}, [True, True, True]),
        (1.0, 12.5, {"argparse"}, [False, True, True]),
        (0.9, 12.5, {"argparse", "torch"}, [True, False, True]),
        (0.9, 12.6, {"argparse"}, [True, True, False]),
    ],
)
def test_bars(help_seconds, own, packages, met):
    helps = {HELP: [help_seconds] * 7, PYTHON: [0.1] * 7, TORCH: [1.0] * 7}
    section = report(helps, {OPENMIX: [own] * 7, BARE: [10.0] * 7}, packages, OPTIONS)
    assert [bar.met for bar in section.bars] == met
    rows: dict[str, Any] = {row["process"]: row for row in section.rows}
    assert rows[OPENMIX]["ratio"] == own / 10
    assert "ratio" not in rows[BARE]
    assert f"| {OPENMIX} | {own:.2f} |" in markdown(section)


def test_ratios_are_of_a_round():
    """A machine that is slow for both for a while makes neither look slow."""
    helps = {HELP: [0.1] * 7, PYTHON: [0.1] * 7, TORCH: [1.0] * 7}
    pace = [1, 9, 1, 9, 1, 1, 9]
    section = report(helps, {OPENMIX: [11.0 * p for p in pace], BARE: [10.0 * p for p in pace]}, set(), OPTIONS)
    assert {row["process"]: row for row in section.rows}[OPENMIX]["ratio"] == pytest.approx(1.1)


def test_the_script_imports_nothing_of_openmix():
    source = Path(bare_start.__file__).read_text().split('"""', 2)[2]
    assert "openmix" not in source and "mmengine" not in source
