"""``--cfg-options``: what is no KEY=VALUE, and what fits no config."""

import argparse

import pytest
from mmengine.config import DictAction

from openmix.commands import run_command
from openmix.commands._options import Overrides


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


@pytest.mark.parametrize(
    "words",
    [
        ["a=1", "b.c=1e-3", "d=True", "e=None", "f=text"],
        ["a=1,2,3", "b=[1,2]", "c=(1,2)", "d=[(1,2),[a,b]]", "e=[]", "f=()", "g=1,"],
        ["a='quoted'", "b= x y ", "c==", "d=", "e=x=y", "f=true", "g=-0", "h=1_000", "i=nan"],
        ["a=1", "--cfg-options", "b=2", "a=3"],
    ],
)
def test_values_are_read_as_mmengine_reads_them(words):
    """mmengine's action is the oracle: values, their types and their order."""
    read: list[str] = []
    for action in (DictAction, Overrides):
        parser, default = argparse.ArgumentParser(), {"before": 1}
        parser.add_argument("--cfg-options", nargs="+", action=action, default=default)
        read.append(repr(parser.parse_args(["--cfg-options", *words]).cfg_options))
        assert default == {"before": 1}
    assert read[0] == read[1]
