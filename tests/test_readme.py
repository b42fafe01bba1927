"""What the README says is true: its links lead somewhere, its code runs, its config trains."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_and_paths_exist(page):
    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("http") or (ROOT / page).parent.joinpath(link).exists(), link
    for path in re.findall(r"`((?:openmix|tools|scripts|configs|tests|docs|benchmarks|requirements)/[\w./]+)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path


def test_no_placeholder_is_left():
    assert "@@" not in README


def test_the_loop_runs():
    code = next(code for language, code in BLOCKS if language == "python" and "import openmix" in code)
    images, labels = torch.rand(6, 3, 8, 8), torch.arange(6) % 3
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3))
    names = {"loader": [(images, labels)], "model": model}
    exec(code, names)
    assert torch.isfinite(names["loss"])


def test_the_config_trains(tmp_path):
    from openmix.engine.config import load_config
    from openmix.engine.distributed import World
    from openmix.engine.run import dry_run

    code = next(code for language, code in BLOCKS if language == "python" and "_base_" in code)
    base = ROOT / "configs/classification/cifar10/mixups/basic/r18_mixups_CE_none.py"
    config = tmp_path / "mine.py"
    config.write_text(code.replace("./r18_mixups_CE_none.py", str(base)))
    cfg = load_config(str(config))
    assert cfg.model.mix_mode == ["mixup", "cutmix"] and cfg.model.mix_prob == [0.4, 0.6]
    dry_run(cfg, str(tmp_path / "run"), World())


def test_the_losses_and_hooks_of_the_page_are_right(tmp_path):
    from openmix.engine.config import load_config

    code = next(code for language, code in BLOCKS if language == "python" and "MixPreviewHook" in code)
    base = ROOT / "configs/classification/cifar10/mixups/basic/r18_mixups_CE_none.py"
    config = tmp_path / "mine.py"
    config.write_text(f"_base_ = {str(base)!r}\n{code}")
    cfg = load_config(str(config))
    assert cfg.model.head.loss.class_reduction == "sum" and cfg.custom_hooks[0].type == "MixPreviewHook"


def test_the_commands_exist():
    shell = "\n".join(code for language, code in BLOCKS if language == "bash")
    for script in re.findall(r"(?:bash|python) ((?:tools|scripts)/\S+)", shell):
        assert (ROOT / script).is_file(), script
    for command in re.findall(r"^openmix (\w+)", shell, re.MULTILINE):
        assert (ROOT / f"openmix/commands/{command}.py").is_file(), command
