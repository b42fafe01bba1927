"""``--cfg-options``: what is no KEY=VALUE, and what fits no config."""

import pytest

from openmix.commands import run_command


@pytest.mark.parametrize("option", ["x", "", "a=[(]", "a=[1,(2]", "a=" + "[" * 3000 + "]" * 3000, "a=" + "1," * 20_000])
def test_what_is_no_value_is_told_of(lab, tmp_path, capsys, option):
    with pytest.raises(SystemExit) as stop:
        run_command("train", [lab.write(tmp_path), "--cfg-options", option])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "argument --cfg-options: takes" in said and "Traceback" not in said


@pytest.mark.parametrize(
    "option", ["data_preprocessor.std.0=1", "model.mix_mode.7=cutmix", "model.mix_mode.x=cutmix", "=1"]
)
def test_what_fits_nothing_is_told_of(lab, tmp_path, capsys, option):
    assert run_command("train", [lab.write(tmp_path), "--cfg-options", option]) == 2
    assert "error: --cfg-options" in capsys.readouterr().err
