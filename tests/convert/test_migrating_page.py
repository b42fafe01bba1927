"""What docs/migrating.md shows is what happens."""

import re
from pathlib import Path
from typing import get_args

import torch

from openmix.convert.config import convert_config
from openmix.convert.report import Verdict
from openmix.models import ClsHead, PreActResNet, backbones
from openmix.tasks import Classification

PAGE = (Path(__file__).parents[2] / "docs/migrating.md").read_text()


def test_the_report_of_the_page_is_a_report(old):
    _, report = convert_config(old())
    lines = {" ".join(line.split()) for line in report.lines()}
    (block,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    shown = [" ".join(line.split()) for line in block.splitlines()]
    assert len(shown) > 3 and set(shown) <= lines


def test_every_verdict_is_explained():
    (table,) = re.findall(r"\| Verdict .*?\n\n", PAGE, re.DOTALL)
    assert set(re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE)) == set(get_args(Verdict))


def test_the_networks_exist():
    (table,) = re.findall(r"\| From \| File .*?\n\n", PAGE, re.DOTALL)
    named = set(re.findall(r"`([A-Z]\w+)`", table)) - {"VisionTransformer"}
    assert named and named <= set(backbones.__all__)


def test_the_python_runs(tmp_path, monkeypatch):
    torch.manual_seed(0)
    task = Classification(PreActResNet(18), ClsHead(10, 512))
    names = {key: key.removeprefix("backbone.").replace("head.fc", "linear") for key in task.state_dict()}
    state = {f"module.{names[key]}": value for key, value in task.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "preactresnet18.pth.tar")
    monkeypatch.chdir(tmp_path)
    scope = {"task": Classification(PreActResNet(18), ClsHead(10, 512))}
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, scope)
    assert torch.equal(scope["task"].backbone.conv1.weight, task.backbone.conv1.weight)
