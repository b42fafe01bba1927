"""Job arrays: every unfinished entry is one index of one array, whatever its name, and a preempted one goes on."""

import argparse
import json
import os
import runpy
import shlex
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from openmix.commands._grid_slurm import add_slurm_arguments, run_on_slurm
from openmix.errors import Reported, UserError
from openmix.registry import HOOKS
from openmix.results.grids.manifest import Entry, Manifest

STUB = Path(__file__).parents[2] / "tools" / "slurm_stub.py"
NAMES = ("r18_mixup_a0.2_s0", "two words", 'it\'s $HOME `x` "q"', "100%_#1", "-n", "ü;é")

# In Python's place: notes what it was called with; the run in `waits_for` is stopped once, and then goes on.
RECORDER = """
import json, os, signal, sys, time
from pathlib import Path
folder = Path({folder!r})
called = dict(argv=sys.argv[1:], cwd=os.getcwd(), index=os.environ["SLURM_ARRAY_TASK_ID"])
with open(folder / "calls.jsonl", "a") as file:
    file.write(json.dumps(called) + "\\n")
if "--only=" + {waits_for!r} in sys.argv and not (folder / "ready").exists():
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda *_: (time.sleep(0.3), sys.exit(75)))
    (folder / "ready").touch()
    time.sleep(60)
"""


@pytest.fixture
def study(tmp_path) -> Manifest:
    folder = tmp_path / "a study, 100% mine"
    folder.mkdir()
    entries = [Entry(n, f"configs/{i}.py", f"runs/{i}", {"i": i}, f"{i:016x}") for i, n in enumerate(NAMES)]
    return Manifest(folder, "base.py", tuple(entries))


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Any:
    """Put stubs on the PATH."""
    slurm = runpy.run_path(str(STUB))["Slurm"](tmp_path / "cluster")
    monkeypatch.setenv("PATH", f"{slurm.path}:/usr/bin:/bin")
    return slurm


@pytest.fixture
def python(tmp_path, monkeypatch) -> Any:
    """Let jobs start a recorder in Python's place, and return what reads its notes."""

    def record(waits_for: str = "") -> Any:
        (tmp_path / "recorder.py").write_text(RECORDER.format(folder=str(tmp_path), waits_for=waits_for))
        program = tmp_path / "python with spaces"
        program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(tmp_path / "recorder.py")])} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setattr("openmix.results.grids.slurm.sys.executable", str(program))
        return lambda: [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]

    return record


def names(calls: list[Any]) -> list[str]:
    return [call["argv"][-1].removeprefix("--only=") for call in calls]


def submitted(manifest: Manifest, *words: str, entries: Any = None, dry_run: bool = False, nproc: int = 1) -> int:
    parser = argparse.ArgumentParser()
    add_slurm_arguments(parser)
    arguments = parser.parse_args(["--slurm", *words])
    arguments.dry_run, arguments.nproc = dry_run, nproc
    return run_on_slurm(manifest, list(manifest.entries) if entries is None else entries, arguments)


def test_every_entry_is_one_index(study, slurm, python, tmp_path, monkeypatch, capsys):
    calls = python()
    monkeypatch.chdir(tmp_path)
    assert submitted(study) == 0
    (job,) = slurm.jobs()
    assert set(slurm.execute(job)) == set(range(len(NAMES)))
    assert names(calls()) == list(NAMES)
    assert [int(call["index"]) for call in calls()] == list(range(len(NAMES)))
    expected = ["-m", "openmix", "grid", "run", str(study.folder)]
    assert all(call["argv"][:-1] == expected and call["cwd"] == str(tmp_path) for call in calls())
    assert capsys.readouterr().out == f"job array 100000: 6 of 6 runs, by {study.folder}/slurm/array_1.sbatch\n"


def test_options(study, slurm, python):
    python()
    submitted(study, "--partition", "gpu", "--time", "1-0", "--sbatch=--gres=gpu:2 --comment='a b'", "--at-most", "2")
    (job,) = slurm.jobs()
    log = str(study.folder / "slurm").replace("%", "%%") + "/%A_%a.log"
    assert job["options"] == {
        "job-name": study.folder.name, "array": "0-5%2", "output": log, "open-mode": "append", "requeue": "",
        "signal": "B:USR1@120", "partition": "gpu", "time": "1-0", "gres": "gpu:2", "comment": "a b", "parsable": "",
    }  # fmt: skip


def test_processes_of_each_run(study, slurm, python):
    calls = python()
    submitted(study, nproc=4, entries=study.entries[:1])
    slurm.execute(slurm.jobs()[0])
    assert calls()[0]["argv"][-3:] == ["--only=" + NAMES[0], "--nproc", "4"]


def test_a_preempted_run_is_queued_again_and_goes_on(study, slurm, python, tmp_path):
    calls = python(waits_for=NAMES[2])
    submitted(study)
    codes = slurm.execute(slurm.jobs()[0], preempt={2: (tmp_path / "ready", signal.SIGUSR1)})
    assert codes == {i: [75, 0] if i == 2 else [0] for i in range(len(NAMES))}
    assert slurm.requeued() == ["100000_2"]
    assert Counter(names(calls())) == {name: 1 + (name == NAMES[2]) for name in NAMES}


def test_what_is_cancelled_saves_and_does_not_come_back(study, slurm, python, tmp_path):
    python(waits_for=NAMES[0])
    submitted(study, entries=study.entries[:1])
    assert slurm.execute(slurm.jobs()[0], preempt={0: (tmp_path / "ready", signal.SIGTERM)}) == {0: [75]}
    assert slurm.requeued() == []


def test_a_signal_before_there_is_a_run_is_not_lost(study, slurm, python, tmp_path):
    python()
    submitted(study, entries=study.entries[:1])
    (job,) = slurm.jobs()
    job["environment"]["BASH_FUNC_cd%%"] = f'() {{ touch {tmp_path}/ready; sleep 1; builtin cd "$@"; }}'
    assert slurm.execute(job, preempt={0: (tmp_path / "ready", signal.SIGUSR1)}) == {0: [138, 0]}


def test_finished_ones_are_left_out_and_a_growing_study_moves_nobody(study, slurm, python, capsys):
    calls = python()
    submitted(study)
    for entry, recorded in zip(study.entries[:3], ("done", "failed", "done"), strict=True):
        work_dir = study.work_dir(entry)
        work_dir.mkdir(parents=True)
        stale = entry.name == NAMES[2]
        hashed = "0" * 15 + "f" if stale else entry.config_hash
        (work_dir / "run.json").write_text(json.dumps({"status": recorded, "config_hash": hashed}))
    new = Entry("first of all", "configs/n.py", "runs/n", {}, "a" * 16)
    grown = Manifest(study.folder, study.base, (new, *study.entries))
    submitted(grown)
    assert "6 of 7 runs" in capsys.readouterr().out
    slurm.execute(slurm.jobs()[0])
    assert names(calls()) == list(NAMES)
    slurm.execute(slurm.jobs()[1])
    assert names(calls())[len(NAMES) :] == ["first of all", *NAMES[1:]]


def test_nothing_left(study, slurm, capsys):
    assert submitted(study, entries=[]) == 0
    assert "nothing is left" in capsys.readouterr().out
    assert slurm.jobs() == [] and not (study.folder / "slurm").exists()


def test_more_runs_than_an_array_holds(tmp_path, slurm, python):
    entries = [Entry(f"r{i}", f"configs/{i}.py", f"runs/{i}", {}, f"{i:016x}") for i in range(2345)]
    (tmp_path / "study").mkdir()
    python()
    submitted(Manifest(tmp_path / "study", "base.py", tuple(entries)), "--at-most", "7")
    jobs = slurm.jobs()
    assert [job["options"]["array"] for job in jobs] == ["0-999%2", "0-999%2", "0-344%2"]
    scripts = [Path(job["script"]).read_text() for job in jobs]
    frozen = [name for s in scripts for name in shlex.split(s.split("names=(\n")[1].split("\n)")[0])]
    assert frozen == [entry.name for entry in entries]


def test_a_dry_run_prints_the_script_alone(study, slurm, python, capsys):
    python()
    submitted(study, dry_run=True)
    said = capsys.readouterr().out
    assert slurm.jobs() == [] and not (study.folder / "slurm").exists()
    submitted(study)
    assert said == (study.folder / "slurm" / "array_1.sbatch").read_text() + "\n"


def test_without_slurm_the_script_is_there(study, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no sbatch on the PATH; .*array_1\.sbatch is written: submit it"):
        submitted(study)
    assert "#SBATCH --array=0-5" in (study.folder / "slurm" / "array_1.sbatch").read_text()


def test_what_slurm_says_is_passed_on(study, slurm):
    (slurm.path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    with pytest.raises(Reported, match=r"sbatch does not take .*array_1\.sbatch: sbatch: error: invalid partition"):
        submitted(study)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--at-most", "0"], "--at-most must be at least 1, got 0"),
        (["--sbatch", "gpu"], "takes options of sbatch"),
        (["--sbatch=--x 'y"], "No closing quotation"),
        (["--sbatch=--x\n#SBATCH --y"], "takes options of sbatch"),
        (["--sbatch=--array=0-3"], "the array is the study's"),
        (["--partition", "a\nb"], "--partition must be a word"),
        (["--partition", "gpu --array=0-1"], "--partition must be a word"),
        (["--time", "12:00:00 --array=0-3"], "--time must be a word"),
    ],
)
def test_refused(study, slurm, words, reason):
    with pytest.raises(UserError, match=reason):
        submitted(study, *words)
    assert slurm.jobs() == [] and not (study.folder / "slurm").exists()


@pytest.mark.slow
def test_real_runs_of_which_one_is_preempted(lab, slurm, tmp_path, monkeypatch):
    """Ends as the one that nobody disturbed."""
    from openmix.engine.config_hash import config_hash

    folder = tmp_path / "study"
    (folder / "configs").mkdir(parents=True)
    (tmp_path / "pause_hook.py").write_text(PAUSE.format(folder=str(tmp_path)))
    entries = []
    for name in ("disturbed", "left alone"):
        imports = {"imports": ["pause_hook"], "allow_failed_imports": False}
        hook = {"type": "Pause", "wanted": name == "disturbed"}
        path = lab.write(
            folder / "configs", name, custom_imports=imports, custom_hooks=[hook],
            work_dir="{{ fileDirname }}/../runs/{{ fileBasenameNoExtension }}",
        )  # fmt: skip
        monkeypatch.syspath_prepend(str(tmp_path))
        hashed = config_hash(lab.load(path, tmp_path))
        entries.append(Entry(name, f"configs/{name}.py", f"runs/{name}", {}, hashed))
    sys.modules.pop("pause_hook")
    HOOKS.module_dict.pop("Pause")
    study = Manifest(folder, "base.py", tuple(entries))
    (folder / "manifest.json").write_text(study.text())
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert submitted(study) == 0
    codes = slurm.execute(slurm.jobs()[0], preempt={0: (tmp_path / "ready", signal.SIGUSR1)})
    assert codes == {0: [75, 0], 1: [0]}
    runs = [study.work_dir(entry) for entry in entries]
    assert "resuming after step" in (runs[0] / "train.log").read_text()
    states = [lab.state(run) for run in runs]
    for state in states:
        state.pop("circumstances")  # the commit, should somebody commit meanwhile
    assert lab.differences(*states) == []
    assert lab.records(runs[0]) == lab.records(runs[1])


PAUSE = """
import time
from pathlib import Path
from mmengine.hooks import Hook
from openmix.registry import HOOKS

@HOOKS.register_module()
class Pause(Hook):
    def __init__(self, wanted: bool) -> None:
        self.wanted, self.ready = wanted, Path({folder!r}) / "ready"

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.wanted and runner.iter + 1 == 8 and not self.ready.exists():
            self.ready.touch()
            time.sleep(2)  # for the signal to come, by way of the queue
"""
