"""A work dir is one run's at a time, and keeps what was there."""

import json
import subprocess
import sys

import pytest

from openmix.commands import run_command
from openmix.engine.distributed import World
from openmix.engine.work_dir import held
from openmix.errors import UserError

HOLD = """
import sys
from pathlib import Path
from openmix.commands import run_command
from openmix.engine.distributed import World
from openmix.engine.work_dir import held
with held(Path(sys.argv[1]), None, World()):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_refused_until_the_first_ends(tmp_path):
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=rf"another run is writing to .* \(process {first.pid} on "),
            held(tmp_path, None, World()),
        ):
            pass
    finally:
        first.kill()  # the lock goes with the process, however it ends
        first.communicate()
    with held(tmp_path, None, World()):
        pass


def test_a_refused_run_leaves_the_other_ones_files(lab, tmp_path):
    path = lab.write(tmp_path)
    lab.train(path, tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with held(tmp_path / "run", 12, World()), pytest.raises(UserError, match="another run is writing"):
        lab.train(path, tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    assert not (tmp_path / "run" / "earlier").exists()


def test_somebodys_files_are_not_moved(lab, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.py").write_text("mine")
    with pytest.raises(UserError, match=r"holds config\.py, which no run of openmix left there"):
        lab.train(lab.write(tmp_path), tmp_path / "run")
    assert (tmp_path / "run" / "config.py").read_text() == "mine"


def test_resuming_an_older_checkpoint_sets_the_later_ones_aside(lab, tmp_path):
    path, run = lab.write(tmp_path, default_hooks={"checkpoint": {"save_best": None}}), tmp_path / "run"
    lab.train(path, run)
    later = (run / "checkpoints" / "epoch_2.pth").read_bytes()
    metrics = (run / "metrics.jsonl").read_text()
    lab.train(path, run, resume=str(run / "checkpoints" / "epoch_1.pth"), train_cfg__max_epochs=1)
    aside = run / "earlier" / "1"
    assert (aside / "epoch_2.pth").read_bytes() == (aside / "last.pth").read_bytes() == later
    assert (aside / "metrics.jsonl").read_text() == metrics
    assert lab.state(run)["step"] == 6, "last.pth is still the later run's"
    manifest = json.loads((run / "checkpoints" / "manifest.json").read_text())
    assert manifest["last.pth"] == manifest["epoch_1.pth"] and "epoch_2.pth" not in manifest


def test_resuming_with_another_config_is_said(lab, tmp_path):
    path, run = lab.write(tmp_path), tmp_path / "run"
    lab.train(path, run, train_cfg__max_epochs=1)
    lab.train(path, run, resume=True, model__mix_mode="mixup")
    assert "this config is not the checkpoint's: model, train_cfg differ" in (run / "train.log").read_text()
    lab.train(path, run, resume=True, model__mix_mode="mixup")
    log = (run / "train.log").read_text()
    assert log.count("this config is not") == 1
    assert "resuming after step 12; nothing is left to train" in log


def test_a_dry_run_says_what_the_work_dir_lacks(lab, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    path = lab.write(tmp_path, work_dir=str(tmp_path / "file" / "run"))
    assert run_command("check", [path, "--dry-run"]) == 0
    assert (
        f"work dir {tmp_path / 'file' / 'run'} cannot be made: {tmp_path / 'file'} is a file" in capsys.readouterr().out
    )
    path = lab.write(tmp_path, work_dir=str(tmp_path / "new" / "run"))
    assert run_command("check", [path, "--dry-run"]) == 0
    assert "work dir" not in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
