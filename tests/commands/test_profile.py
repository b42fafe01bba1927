"""``openmix profile``: what it prints and leaves, and what it refuses."""

import gzip
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

SHORT = ("--steps", 2, "--warmup", 2)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Where temporary folders are made, of which none may be left in the end."""
    importlib.import_module("torch.distributed.nn.jit.instantiator")  # some torch makes one with it, for the process
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert [path for path in place.iterdir() if not path.name.startswith("torchinductor_")] == []


def test_a_table(run, lab, tmp_path, folders, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = lab.write(tmp_path, custom_hooks=[{"type": "EMAHook"}, {"type": "ProfilerHook"}])
    code, out, err = run("profile", path, *SHORT)
    assert (code, err) == (0, "")
    assert out.startswith("2 steps on ")
    table = out
    for row in ("waiting for data", "mixing: apply", "backward", "EMA", "the loop itself", "a step"):
        assert f"│ {row} " in table
    assert "images/s, 8 a step; the median step takes " in table
    assert "MB of the process's memory" in table
    assert "besides: record, 1 x " in table and "besides: checkpoint, 1 x " in table
    assert "validation" not in table
    operators = table[table.index("┃ operator") :].splitlines()
    assert sum(line.startswith("│ ") for line in operators) == 10 and "│ aten::convolution_backward " in table
    assert [p.name for p in tmp_path.iterdir() if p.name != "tmp"] == ["tiny.py"]  # nothing of a run


def test_files(run, lab, tmp_path, folders):
    """Of 2 + 2 + 1 + 2 steps; and one that comes after what is recorded."""
    code, out, _ = run("profile", lab.write(tmp_path), *SHORT, "--top", 3, "--out", tmp_path / "new" / "out")
    assert code == 0
    names = ["table_step_7.json", "table_step_7.txt", "trace_step_7.json.gz"]
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == names
    assert out.endswith(f"\nwrote {', '.join(names)} to {tmp_path / 'new' / 'out'}\n")
    assert out.count("│ aten::") <= 3
    table = json.loads((tmp_path / "new" / "out" / "table_step_7.json").read_text())
    assert (table["timed_steps"], table["traced_steps"]) == (2, [6, 7])
    assert f"{table['step_ms']:.3f}" in out


@pytest.mark.parametrize(("steps", "warmup"), [(3, 1), (2, 1), (5, 1), (1, 1), (6, 1)])
def test_nothing_is_saved_in_the_steps_that_are_traced(run, lab, tmp_path, folders, steps, warmup):
    """Records and checkpoints come once, while phases alone are timed, however few steps there are."""
    data = {"train_dataloader": {"dataset": {"length": 1000}}}  # an epoch's end would be recorded as well
    plan = ("--steps", steps, "--warmup", warmup)
    assert run("profile", lab.write(tmp_path, **data), *plan, "--out", tmp_path / "out")[0] == 0
    (table,) = (tmp_path / "out").glob("table_*.json")
    assert {row["what"]: row["times"] for row in json.loads(table.read_text())["besides"]} == {
        "record": 1,
        "checkpoint": 1,
    }
    (trace,) = (tmp_path / "out").glob("trace_*.json.gz")
    names = [event.get("name") for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]]
    assert names.count("optimizer") == min(steps, 5)
    assert "checkpoint" not in names and "record" not in names


def test_a_reader_that_stops(run, lab, tmp_path, folders, monkeypatch):
    """As 'head -1' does; what --out asks for is there all the same."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        said = run("profile", lab.write(tmp_path), *SHORT, "--out", tmp_path / "out")
    assert said == (0, "", "")
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_run_that_diverges(run, lab, tmp_path, folders):
    path = lab.write(tmp_path)
    code, out, err = run("profile", path, *SHORT, "--cfg-options", "optim_wrapper.optimizer.lr=1e30")
    assert (code, out) == (1, "")
    assert err.startswith("error: the ") and " in epoch 1, step " in err and len(err.splitlines()) == 1
    assert err.endswith(f"; 'openmix train {path}' would leave a key to replay its batch\n")
    assert "openmix-profile-" not in err


def test_options_of_the_config(run, lab, tmp_path, folders):
    options = ("--cfg-options", "train_dataloader.batch_size=4", "model.mix_mode=vanilla")
    code, out, _ = run("profile", lab.write(tmp_path), *SHORT, *options, "--seed", 3, "--amp", "bf16")
    assert code == 0
    assert "images/s, 4 a step" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--steps", 0], "error: --steps must be at least 1, got 0\n"),
        (["--warmup", -1], "error: --warmup must be at least 1, got -1\n"),
        (["--top", 0], "error: --top must be at least 1, got 0\n"),
        (["--top", 31], "error: --top must be at most 30, got 31\n"),
        (["--amp", "fp16"], "error: fp16 needs a GPU; on a CPU use --amp bf16, or leave --amp out\n"),
        (["--cfg-options", "train_cfg.max_epoch=1"], "did you mean 'max_epochs'?\n"),
    ],
)
def test_refused(run, lab, tmp_path, folders, options, said):
    code, out, err = run("profile", lab.write(tmp_path), *options)
    assert (code, out) == (2, "")
    assert err.endswith(said) and len(err.splitlines()) == 1


def test_missing_data(run, lab, tmp_path, folders):
    dataset = {"type": "CIFAR10", "data_root": str(tmp_path / "none")}
    colours = {"model": {"backbone": {"in_channels": 3}}, "data_preprocessor": {"mean": [0.5], "std": [0.2]}}
    loader = {"dataset": dataset, "pipeline": []}
    path = lab.write(tmp_path, train_dataloader=loader, val_dataloader=None, **colours)
    code, _, err = run("profile", path)
    assert code == 2
    assert str(tmp_path / "none") in err and "Traceback" not in err


def test_a_file_in_the_place_of_the_folder(run, lab, tmp_path, folders):
    Path(tmp_path / "file").touch()
    code, out, err = run("profile", lab.write(tmp_path), "--out", tmp_path / "file")
    assert (code, out) == (2, "")
    assert err == f"error: cannot write to --out {tmp_path / 'file'}: File exists\n"
