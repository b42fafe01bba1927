"""preview: a picture of what the network will see."""

import matplotlib.image
import pytest

from openmix.commands import run_command
from openmix.commands.preview import mixed_rows


def test_picture_is_written(lab, tmp_path, capsys):
    out = tmp_path / "new" / "mixed.png"
    assert run_command("preview", [lab.write(tmp_path), "--out", str(out), "--images", "3"]) == 0
    assert matplotlib.image.imread(out).shape[2] == 4
    assert f"wrote {out}" in capsys.readouterr().out


def test_every_mode_has_a_row_of_different_draws(lab, tmp_path):
    rows, classes = mixed_rows(lab.write(tmp_path, model={"mix_mode": ["mixup", "cutmix", "vanilla"]}), columns=4)
    assert [name for name, _ in rows] == ["mixup", "cutmix", "vanilla"]
    assert all(len(mixes) == 4 for _, mixes in rows)
    shares = {float(mixed.target.weights[0, 0]) for mixed in rows[0][1]}
    assert len(shares) == 4
    assert len(classes) == 10
    assert float(rows[2][1][0].images.max()) <= 1 and float(rows[2][1][0].images.min()) >= 0


def test_more_columns_than_images(lab, tmp_path):
    rows, _ = mixed_rows(lab.write(tmp_path), columns=100)
    assert len(rows[0][1]) == 8


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"model": {"mix_mode": "manifoldmix"}}, [], "mixes inside a network"),
        ({}, ["--images", "0"], "--images must be at least 1, got 0"),
        ({}, ["--out", "/dev/null/p.png"], "cannot write /dev/null/p.png"),
    ],
)
def test_wrong_input(lab, tmp_path, capsys, changes, options, message):
    assert run_command("preview", [lab.write(tmp_path, **changes), "--out", str(tmp_path / "p.png"), *options]) == 2
    assert message in capsys.readouterr().err
