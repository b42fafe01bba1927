"""docs/grids.md: its grid file makes what it says, its config is the one that is written, its table has every axis."""

import re
from pathlib import Path

from openmix.commands import run_command
from openmix.commands._grid_make import OPTIONS
from openmix.results.grids.axes import AXES
from openmix.results.grids.manifest import Manifest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "grids.md").read_text()
CONFIG, GRID = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_grid_file(tmp_path, capsys):
    (tmp_path / "grid.py").write_text(GRID.replace("../quickstart", str(ROOT / "configs/quickstart")))
    assert run_command("grid", ["make", str(tmp_path / "grid.py"), "--out", str(tmp_path / "study")]) == 0
    assert capsys.readouterr().out.startswith(
        "9 runs = 5 (mix_mode, alpha) x 1 optim_wrapper.optimizer.momentum x 2 seed"
    )
    names = [entry.name for entry in Manifest.read(tmp_path / "study").entries]
    assert "digits_mixup-cutmix_a0.1-1_momentum0.9_s1" in names
    assert "digits_vanilla_momentum0.9_s0" in names
    assert "digits_cutmix_a1_momentum0.9_s1" not in names


def test_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    axes = ["--mix-mode", "mixup", "--alpha", "0.2", "--max-epochs", "200", "--seed", "0"]
    assert run_command("grid", ["make", *axes, "--out", str(tmp_path)]) == 0
    (config,) = (tmp_path / "configs").iterdir()
    assert re.sub(r'"[./\w]*/configs/', '"../../../configs/', config.read_text()) == CONFIG


def test_every_axis_is_an_option_and_in_the_table():
    assert OPTIONS.keys() == AXES.keys()
    for axis in AXES.values():
        assert f"`--{axis.name.replace('_', '-')}" in PAGE
        assert axis.key in PAGE or axis.name == "weight_decay"
