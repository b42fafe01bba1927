"""train.sh and test.sh of a study as processes: which runs, in which order, what becomes of failures and of signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openmix.engine.records import write_json
from openmix.results.grids.manifest import Entry
from openmix.results.grids.scripts import script

NAMES = ["r18_mixup_s0", "r18_cutmix_s0", "r18_vanilla_s0"]
HASHES = [f"{i:016x}" for i in range(3)]
ENTRIES = [Entry(name, f"configs/{name}.py", f"runs/{name}", {}, h) for name, h in zip(NAMES, HASHES, strict=True)]

# stands for dist_train.sh: notes its arguments, and ends with the exit code that a file beside it names
STUB = """
echo "$(basename "$1" .py) ${@:2}" >> "$(dirname "${BASH_SOURCE[0]}")/calls"
exit $(cat "$(dirname "${BASH_SOURCE[0]}")/$(basename "$1" .py)" 2>/dev/null || echo 0)
"""
# the same, but it waits for a signal, which it answers as a run does: saves and says so
WAITING = """
trap 'echo saved >> "$0.signals"; exit 75' TERM USR1
trap 'echo interrupted >> "$0.signals"; exit 130' INT
touch "$0.ready"
for _ in $(seq 400); do sleep 0.05; done  # not for ever, should no signal arrive
"""


@pytest.fixture
def study(tmp_path):
    """A study's scripts, and tools that only say what they were asked for."""
    folder, tools = tmp_path / "a study", tmp_path / "tools"
    folder.mkdir()
    tools.mkdir()
    for name in ("train.sh", "test.sh"):
        (folder / name).write_text(script(name, folder, ENTRIES, nproc=2))
    for name in ("dist_train.sh", "dist_test.sh"):
        (tools / name).write_text(STUB)
    return folder


def environment(study: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "OPENMIX_TOOLS": str(study.parent / "tools"), **more}


def run(study: Path, file: str, *words: str, **more: str) -> tuple[int, str, str]:
    command = ["bash", str(study / file), *words]
    done = subprocess.run(command, env=environment(study, **more), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def calls(study: Path) -> list[str]:
    return (study.parent / "tools/calls").read_text().splitlines()


def test_all_in_their_order(study):
    code, out, err = run(study, "train.sh")
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"[{i} of 3] {name}" for i, name in enumerate(NAMES, 1)]
    assert calls(study) == [f"{name} 2 --config-hash {h}" for name, h in zip(NAMES, HASHES, strict=True)]


def test_only_what_is_of_the_same_config_is_resumed(study):
    for name, there in zip(NAMES, (HASHES[0], HASHES[0], None), strict=True):
        (study / "runs" / name).mkdir(parents=True)
        if there:
            write_json(study / "runs" / name / "run.json", {"config_hash": there, "status": "running"})
    assert run(study, "train.sh")[0] == 0
    assert [call.split()[-1] for call in calls(study)] == ["--resume", HASHES[1], HASHES[2]]


def test_some_by_name_and_by_number(study):
    assert run(study, "train.sh", "3", NAMES[0], NPROC="4")[0] == 0
    assert calls(study) == [f"{NAMES[i]} 4 --config-hash {HASHES[i]}" for i in (2, 0)]


@pytest.mark.parametrize("word", ["4", "0", "01", "-1", "r18", "r18_mixup_s", "", "$(touch x)", "99999999999999999999"])
def test_a_run_that_there_is_not(study, word):
    code, _, err = run(study, "train.sh", "1", word)
    assert code == 2
    assert f"this study has no run '{word}'; it has 3" in err
    assert not (study.parent / "tools/calls").exists()


def test_it_goes_on_after_a_failure(study):
    (study.parent / "tools" / NAMES[0]).write_text("1")
    code, _, err = run(study, "train.sh")
    assert code == 1
    assert err.splitlines() == [f"{NAMES[0]} failed (exit code 1)", f"1 of 3 failed: {NAMES[0]}"]
    assert len(calls(study)) == 3


@pytest.mark.parametrize("stopped", [75, 130])
def test_it_stops_where_a_run_was_stopped(study, stopped):
    (study.parent / "tools" / NAMES[1]).write_text(str(stopped))
    code, _, err = run(study, "train.sh")
    assert code == stopped
    assert err == f"{NAMES[1]} was stopped (exit code {stopped}); start this again to continue\n"
    assert len(calls(study)) == 2


def test_checkpoints_are_evaluated_where_there_are_any(study):
    last = study / "runs" / NAMES[1] / "checkpoints/last.pth"
    last.parent.mkdir(parents=True)
    last.touch()
    code, _, err = run(study, "test.sh")
    assert code == 1
    assert f"error: {NAMES[0]} has no checkpoint yet" in err and "2 of 3 failed" in err
    assert calls(study) == [f"{NAMES[1]} 2 {last} --out {study}/runs/{NAMES[1]}/test.json"]


def test_tools_that_are_not_there(study):
    code, _, err = run(study, "train.sh", OPENMIX_TOOLS="/nowhere")
    assert code == 2
    assert err == "error: no dist_train.sh in /nowhere; set OPENMIX_TOOLS to openmix's folder tools\n"


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGTERM, 75, "saved"), (signal.SIGUSR1, 75, "saved"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_to_the_script_alone_reaches_the_run_once(study, number, code, said):
    tool = study.parent / "tools/dist_train.sh"
    tool.write_text(WAITING)
    command = ["bash", str(study / "train.sh")]
    process = subprocess.Popen(command, env=environment(study), stderr=subprocess.PIPE, text=True)
    ready, deadline = Path(f"{tool}.ready"), time.monotonic() + 60
    while not ready.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"{NAMES[0]} was stopped (exit code {code})" in err
    assert Path(f"{tool}.signals").read_text().split() == [said]


@pytest.mark.slow
def test_a_study_trains_and_tests_by_its_scripts(lab, tmp_path):
    """Through the tools of this repository, which the scripts find by themselves."""
    from openmix.results.grids.making import make_study
    from openmix.results.grids.spec import grid_of

    base = lab.write(tmp_path, "tiny_mixups")
    study = tmp_path / "study"
    manifest = make_study(grid_of(base, {"mix_mode": ["mixup"]}), study).manifest
    on_cpu = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    on_cpu.pop("OPENMIX_TOOLS", None)
    for file in ("train.sh", "train.sh", "test.sh"):
        done = subprocess.run(["bash", str(study / file)], env=on_cpu, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
    for entry in manifest.entries:
        work_dir = manifest.work_dir(entry)
        assert json.loads((work_dir / "run.json").read_text())["status"] == "done"
        assert json.loads((work_dir / "test.json").read_text()) == lab.state(work_dir)["metrics"]
        assert not (work_dir / "earlier").exists()
