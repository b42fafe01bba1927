"""What a run finds in place of its records and files: damage is set aside and said, what is no file is refused."""

import json
import os
from pathlib import Path

import pytest

from openmix.commands import run_command


@pytest.fixture
def stopped(lab, tmp_path):
    """A config, and the work dir of its run that was stopped after step 8 of 12."""
    path = lab.write(tmp_path)
    assert lab.train(path, tmp_path / "run", stop_after=8) is None
    return path, tmp_path / "run"


@pytest.mark.parametrize(
    "bad",
    ["[]", "null", "NaN", '{"loss": 1}', '{"step": "4"}', "[" * 100_000, "{", "\udcff\udcfe", '{"step": true}'],
    ids=["list", "null", "nan", "no step", "text", "deep", "cut", "binary", "bool"],
)
def test_a_line_that_is_no_record_costs_no_other(lab, stopped, tmp_path, bad):
    path, run = stopped
    lab.train(path, tmp_path / "whole")
    metrics = run / "metrics.jsonl"
    first, *rest = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join([first, bad + "\n", "\n", *rest]), errors="surrogateescape")
    damaged = metrics.read_bytes()
    lab.train(path, run, resume=True)
    lab.assert_same_run(tmp_path / "whole", run)
    assert (run / "earlier" / "1" / "metrics.jsonl").read_bytes() == damaged
    assert (run / "train.log").read_text().count(f"{metrics} had a line that is no record") == 1


def test_a_last_line_that_a_kill_cut_off_is_no_damage(lab, stopped, tmp_path):
    path, run = stopped
    lab.train(path, tmp_path / "whole")
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"split": "tra')
    lab.train(path, run, resume=True)
    lab.assert_same_run(tmp_path / "whole", run)
    assert not (run / "earlier").exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "config.py", "run.json", "train.log", ".owner", ".lock", "checkpoints"]
)
@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "other"])
def test_what_is_no_file_is_refused_and_named(stopped, capsys, name, kind):
    path, run = stopped
    place = run / name
    if place.is_dir():
        place.rename(run / "moved")
    else:
        place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "other" and name == "checkpoints":
        place.write_text("")
    elif kind == "other":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero" if kind == "device" else place)
    assert run_command("train", [path, "--work-dir", str(run), "--resume"]) == 2
    said = capsys.readouterr().err
    if name == "checkpoints":
        assert str(place) in said
    else:
        assert said == f"error: {place} is no file, and a run would have one there; name another with --work-dir\n"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "binary", "deep", "gone"])
def test_a_manifest_that_is_none_leaves_the_sums_inside(lab, stopped, tmp_path, kind):
    path, run = stopped
    lab.train(path, tmp_path / "whole")
    place = run / "checkpoints" / "manifest.json"
    place.unlink()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    elif kind != "gone":
        place.write_bytes({"binary": b"\xff\xfe", "deep": b"[" * 100_000}[kind])
    lab.train(path, run, resume=True)
    lab.assert_same_run(tmp_path / "whole", run)
    entries = json.loads(Path(place).read_text())
    assert {"last.pth", "epoch_2.pth"} <= entries.keys()


@pytest.mark.parametrize("name", ["w\udcff", "a\nb", "\x1b[2J"])
def test_a_work_dir_that_cannot_be_written_down_is_refused(lab, tmp_path, capsys, name):
    assert run_command("train", [lab.write(tmp_path), "--work-dir", str(tmp_path / name)]) == 2
    assert "work_dir: a name of printable characters, not" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["resume", "load_from", "test", "replay", "export", "check", "static"])
def test_a_path_that_is_too_long_is_refused(lab, tmp_path, capsys, command):
    path, long = lab.write(tmp_path), str(tmp_path / ("x" * 300))
    arguments = {
        "resume": ["train", path, "--work-dir", str(tmp_path / "run"), "--resume", long],
        "load_from": ["train", path, "--work-dir", str(tmp_path / "run"), "--cfg-options", f"load_from={long}"],
        "test": ["test", path, long],
        "replay": ["replay", long],
        "export": ["ckpt", "export", long, str(tmp_path / "o.safetensors")],
        "check": ["check", long],
        "static": ["check", "--static", long + ".py"],
    }[command]
    assert run_command(arguments[0], arguments[1:]) == 2
    assert "x" * 20 in "".join(capsys.readouterr())
