"""docs/guided.md: its code runs, and its table says what the catalogue says."""

import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import openmix
from openmix.registry import MODELS, lookup
from openmix.tasks import MixUpClassification

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "guided.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def names():
    torch.manual_seed(0)
    images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 3, 9, 3])
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    return {"loader": [(images, labels)], "model": model}


@pytest.mark.parametrize("code", [b for b in BLOCKS if "loader" in b])
def test_loops_run(code, names):
    exec(compile(code, "docs/guided.md", "exec"), names)
    names["loss"].backward()
    assert names["loss"].isfinite()


@pytest.mark.parametrize("code", [b for b in BLOCKS if "loader" not in b])
def test_configs_name_what_there_is(code):
    names: dict = {}
    exec(compile(code, "docs/guided.md", "exec"), names)
    if "model" in names:
        assert names["model"].keys() - {"type"} <= inspect.signature(MixUpClassification).parameters.keys()
    for match in re.finditer(r"guide=?\s*=?\s*dict\(type=\"(\w+)\"", code):
        assert lookup(match[1], MODELS)


def test_the_table_names_every_guided_method_by_its_needs():
    written: dict[str, set[str]] = {}
    for need, methods in re.findall(r"^\| `(\w+)` \| .*? \| (.*) \|$", PAGE, re.M):
        written[need] = set(re.findall(r"`(\w+)`", methods))
    real: dict[str, set[str]] = {}
    for name in openmix.list_mixers():
        for need in openmix.build_mixer(name).needs:
            real.setdefault(need.removeprefix("clean_"), set()).add(name)
    assert written == real


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)\s#]+)", PAGE):
        assert (DOCS / target).is_file(), target
    for path in re.findall(r"`(tests/[\w/]+\.py)`", PAGE):
        assert (DOCS.parent / path).is_file(), path
