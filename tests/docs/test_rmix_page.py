"""What docs/rmix.md shows runs, and what it says of files and of the one to copy is so."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from openmix.mixers.rmix import rmix

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/rmix.md").read_text()


def blocks() -> list:
    """Return each Python block, named by its heading and its place under it."""
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        codes = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        found += [pytest.param(code, id=f"{section.splitlines()[0]} {i}") for i, code in enumerate(codes)]
    return found


@pytest.fixture
def names() -> dict:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 30 * 30, 10))
    images, labels = torch.rand(5, 3, 32, 32), torch.tensor([0, 3, 9, 3, 5])
    return {
        "loader": [(images, labels), (images[:2], labels[:2])],
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
    }


@pytest.mark.parametrize("code", blocks())
def test_blocks_run(code, names):
    before = [p.detach().clone() for p in names["model"].parameters()]
    exec(compile(code, "docs/rmix.md", "exec"), names)
    if "loss" in names:
        assert torch.isfinite(names["loss"])
    if "optimizer.step" in code:
        assert len([line for line in code.splitlines() if line]) <= 10
        assert not all(torch.equal(a, b) for a, b in zip(before, names["model"].parameters(), strict=True))


def test_tasks_in_blocks_can_be_built():
    from openmix.registry import build_task

    found = [p.values[0] for p in blocks() if "type=" in p.values[0]]
    assert len(found) == 2
    for code in found:
        names: dict = {}
        exec(code, names)
        parts = {"backbone": {"type": "ConvNet", "widths": [4, 8]}, "head": {"type": "ClsMixupHead", "num_classes": 10}}
        build_task({**parts, **names["model"]})


def test_every_section_of_the_contents_exists():
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings]
    assert re.findall(r"\]\(#([^)]+)\)", PAGE) == anchors


def test_configs_of_the_table_are_there():
    named = re.findall(r"`((?:cifar10|imagenet)[\w/*{},]*\.py)`", PAGE)
    assert len(named) >= 9
    for name in named:
        braces = re.search(r"\{(.*?)\}", name)
        for each in braces[1].split(",") if braces else [""]:
            pattern = re.sub(r"\{.*?\}", each, name)
            assert list((ROOT / "configs/classification").glob(pattern)), pattern


def test_figures_of_the_table_are_the_published_ones():
    rows = re.findall(r"^\| `(cifar100/rmix/\w+|imagenet/rmix/\w+)\.py` \| ([\d.]+)", PAGE, re.MULTILINE)
    assert len(rows) == 7
    text = (ROOT / "openmix/results/published/rmix.csv").read_text()
    for path, figure in rows:
        network = Path(path).name.rsplit("_rmix", 1)[0].rsplit("_rlmix", 1)[0].replace("wrn16_8", "wrn16-8")
        network = network.replace("wrn28_10", "wrn28-10").replace("resnext29_4_24", "resnext29-4-24")
        method = "rlmix" if "rlmix" in path else "rmix"
        assert re.search(rf"^\w+,{network},[\w-]*,{method},.*,{figure},", text, re.MULTILINE), path


def test_the_file_can_be_copied():
    """Without the decorator it is torch and openmix.ops alone, and does the same."""
    source = (ROOT / "openmix/mixers/rmix.py").read_text()
    bare = source.replace("from openmix.mixers.catalog import mixer\n", "")
    bare = re.sub(r"^@mixer\(\n.*?^\)\n", "", bare, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"^(?:from|import) (\w+(?:\.ops)?)", bare, re.MULTILINE)) == {
        "collections",
        "openmix.ops",
        "torch",
    }
    names: dict = {"__name__": "copied"}
    exec(compile(bare, "copied.py", "exec"), names)
    images, labels, saliency = torch.rand(6, 3, 16, 16), torch.arange(6), torch.rand(6, 16, 16)
    one, other = (
        function(images, labels, saliency=saliency, generator=torch.Generator().manual_seed(0))
        for function in (names["rmix"], rmix)
    )
    assert torch.equal(one.images, other.images) and torch.equal(one.target.weights, other.target.weights)
