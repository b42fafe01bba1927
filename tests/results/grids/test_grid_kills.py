"""A study of real runs: killed again and again, or its base changed meanwhile, it has the results that it should."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openmix.commands import run_command
from openmix.results.grids.manifest import Entry, Manifest

ROOT = Path(__file__).parents[3]
AXES = ["--mix-mode", "mixup", "cutmix", "resizemix", "--alpha", "0.2", "1.0", "--seed", "0", "1"]
BASE = """\"\"\"Digits for seconds.\"\"\"
_base_ = {base!r}
train_cfg = dict(max_epochs=40, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=1))
vis_backends = []
"""
CRASHES = """\"\"\"A hook that raises in the second epoch: always, or once.\"\"\"
from pathlib import Path

from mmengine.hooks import Hook

from openmix.registry import HOOKS


@HOOKS.register_module(force=True)
class Crash(Hook):
    def __init__(self, once: str = ""):
        self.once = once

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 8 and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            raise RuntimeError("boom")
"""


def start(study, *options, path=""):
    """Start a queue over a study on 2 CPU slots."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), path])}
    environment["GIT_DIR"] = "/none"  # a commit that somebody makes meanwhile would be a difference
    command = [sys.executable, "-m", "openmix", "grid", "run", str(study), "--slots", "2", *options]
    with open(study / "printed", "ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)


def records(study):
    """Return how many records all runs have written so far, to whatever they were moved since."""
    return sum(path.read_bytes().count(b"\n") for path in study.glob("runs/*/metrics.jsonl"))


def children(queue):
    """Return the numbers of a queue's runs."""
    return [int(pid) for pid in Path(f"/proc/{queue.pid}/task/{queue.pid}/children").read_text().split()]


def kill(queue, with_its_runs):
    """End a queue at once; its runs with it, before they can see that it is gone."""
    queue.send_signal(signal.SIGSTOP)
    runs = children(queue)
    for run in runs if with_its_runs else ():
        with contextlib.suppress(ProcessLookupError):  # its session has not begun
            os.killpg(run, signal.SIGKILL)
    queue.kill()
    queue.wait()
    return len(runs)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_grid_of_twelve_runs_killed_five_times(lab, tmp_path, record_property):
    base = tmp_path / "digits.py"
    base.write_text(BASE.format(base=str(ROOT / "configs/quickstart/digits_vanilla.py")))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for study in (killed, whole):
        assert run_command("grid", ["make", str(base), *AXES, "--out", str(study)]) == 0
    draw, hits = random.Random(8), []
    for with_its_runs in (True, False, True, False, True):
        due, queue = records(killed) + draw.choice([1, 10, 25, 40]), start(killed)
        deadline = time.monotonic() + 120
        while records(killed) < due or not children(queue):
            assert queue.poll() is None and time.monotonic() < deadline, (killed / "printed").read_text()[-3000:]
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 1))
        running = kill(queue, with_its_runs)
        hits.append(f"{running} running, {'all' if with_its_runs else 'the queue alone'}, at record {records(killed)}")
    assert start(killed).wait(400) == 0, (killed / "printed").read_text()[-3000:]
    assert start(whole).wait(400) == 0, (whole / "printed").read_text()[-3000:]
    manifest = Manifest.read(killed)
    assert len(manifest.entries) == 12
    attempts, resumed = 0, 0
    for entry in manifest.entries:
        lab.assert_same_run(whole / entry.work_dir, manifest.work_dir(entry))
        record = json.loads((manifest.work_dir(entry) / "run.json").read_text())
        assert (record["status"], record["config_hash"]) == ("done", entry.config_hash)
        attempts += json.loads((killed / "queue" / f"{entry.name}.json").read_text())["attempts"]
        resumed += record["resumed_at"] is not None
    record_property("kills", "; ".join(hits))
    print(f"{attempts} attempts for 12 runs, {resumed} of which ended resumed; kills: {'; '.join(hits)}")  # by -rP
    assert attempts >= 15
    assert resumed >= 2


@pytest.mark.slow
def test_a_crash_and_a_wrong_config_are_told_and_stop_nothing(lab, tmp_path, monkeypatch):
    from openmix.engine.config_hash import config_hash

    (tmp_path / "crashes.py").write_text(CRASHES)
    monkeypatch.syspath_prepend(tmp_path)
    study = tmp_path / "study"
    (study / "configs").mkdir(parents=True)
    imports = {"imports": ["crashes"], "allow_failed_imports": False}
    here, there = ({"type": "Crash", "once": str(tmp_path / name)} for name in ("boom", "there"))
    (tmp_path / "there").touch()
    hooks = {"crash": [{"type": "Crash"}], "once": [here], "good": [there]}
    entries = []
    for name in ("crash", "wrong", "once", "good"):
        path = lab.write(study / "configs", name, custom_imports=imports, custom_hooks=hooks.get(name, []))
        digest = config_hash(lab.load(path, study / "runs" / name))
        entries.append(Entry(name, f"configs/{name}.py", f"runs/{name}", {}, digest))
    with open(study / "configs" / "wrong.py", "a") as file:
        file.write("modle = 3\n")
    (study / "manifest.json").write_text(Manifest(study, "", tuple(entries)).text())
    assert start(study, path=str(tmp_path)).wait(200) == 1
    printed = (study / "printed").read_text()
    statuses = {e.name: json.loads((study / "queue" / f"{e.name}.json").read_text()) for e in entries}
    assert {name: (s["status"], s["exit_code"], s["attempts"]) for name, s in statuses.items()} == {
        "crash": ("failed", 1, 2), "wrong": ("failed", 2, 1), "once": ("done", 0, 2), "good": ("done", 0, 1)
    }  # fmt: skip
    assert "failed: crash, exit code 1: RuntimeError: boom" in printed
    assert "failed: wrong, exit code 2: " in printed and "did you mean 'model'" in printed
    assert "2 of 4 runs failed" in printed
    assert (tmp_path / "boom").exists()
    lab.assert_same_run(study / "runs" / "good", study / "runs" / "once")


@pytest.mark.slow
def test_a_work_dir_holds_one_recipe_whatever_becomes_of_the_base(lab, tmp_path):
    """The base is changed while a run is half done, changed back, and changed for good."""
    base, study = lab.write(tmp_path, "tiny_mixups"), tmp_path / "study"
    make = ["make", base, "--mix-mode", "mixup", "--out", str(study)]
    run = ["run", str(study), "--slots", "1"]
    assert run_command("grid", make) == 0
    manifest = Manifest.read(study)
    entry = manifest.entries[0]
    work_dir = manifest.work_dir(entry)
    lab.train(str(manifest.config(entry)), work_dir, stop_after=6)
    before = {path: path.read_bytes() for path in work_dir.rglob("*") if path.is_file()}
    was = Path(base).read_text()
    lab.write(tmp_path, "tiny_mixups", optim_wrapper={"optimizer": {"weight_decay": 0.01}})
    assert run_command("grid", run) == 2
    outcome = json.loads((study / "queue" / f"{entry.name}.json").read_text())
    assert "is not the config that was asked for" in outcome["message"]
    assert {path: path.read_bytes() for path in work_dir.rglob("*") if path.is_file()} == before
    Path(base).write_text(was)
    assert run_command("grid", run) == 0
    record = json.loads((work_dir / "run.json").read_text())
    assert (record["status"], record["config_hash"], record["resumed_at"]) == ("done", entry.config_hash, 6)
    lab.write(tmp_path, "tiny_mixups", optim_wrapper={"optimizer": {"weight_decay": 0.01}})
    assert run_command("grid", make) == 0
    assert run_command("grid", run) == 0
    anew = json.loads((work_dir / "run.json").read_text())
    assert (anew["status"], anew["resumed_at"]) == ("done", None)
    assert anew["config_hash"] == Manifest.read(study).entries[0].config_hash != entry.config_hash
    assert json.loads((work_dir / "earlier" / "1" / "run.json").read_text()) == record
