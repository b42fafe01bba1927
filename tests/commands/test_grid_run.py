"""``openmix grid run`` on the command line: what it refuses, and what it would do."""

import json
import os

import pytest
import torch

from openmix.commands import run_command
from openmix.results.grids.manifest import Entry, Manifest
from openmix.results.grids.outcomes import Outcome
from openmix.results.grids.run_command import run_command as line_of
from openmix.results.grids.stopping import StopRequest

NAMES = ("mixup_s0", "mixup_s1", "cutmix_s0")


@pytest.fixture
def study(tmp_path):
    entries = tuple(Entry(name, f"configs/{name}.py", f"runs/{name}", {}, "a" * 16) for name in NAMES)
    (tmp_path / "manifest.json").write_text(Manifest(tmp_path, "base.py", entries).text())
    return tmp_path


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """One GPU and 8 cores, of which the user says nothing."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr("openmix.commands._parallel.cpus", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def dry(capsys, study, *options):
    code = run_command("grid", ["run", str(study), "--dry-run", *options])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def slots_of(capsys, study, *options):
    code, printed = dry(capsys, study, *options)
    assert code == 0, printed
    return printed.splitlines()[-1]


def test_slots(capsys, study, monkeypatch):
    assert slots_of(capsys, study) == "1 at a time, 8 threads a process: gpu 0"
    assert slots_of(capsys, study, "--per-gpu", "2") == "2 at a time, 4 threads a process: gpu 0, gpu 0 #2"
    assert slots_of(capsys, study, "--slots", "2") == "2 at a time, 4 threads a process: cpu 0, cpu 1"
    assert slots_of(capsys, study, "--slots", "1", "--nproc", "2") == "1 at a time, 4 threads a process: cpu 0"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert slots_of(capsys, study) == "1 at a time, 8 threads a process: cpu 0"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert slots_of(capsys, study) == "2 at a time, 3 threads a process: cpu 0, cpu 1"


def test_gpus_are_counted_among_the_visible_ones(capsys, study, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert slots_of(capsys, study).endswith(": gpu 3, gpu 5")
    assert slots_of(capsys, study, "--gpus", "1").endswith(": gpu 5")
    assert slots_of(capsys, study, "--gpus", "all", "--nproc", "2").endswith(": gpu 3,5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus", "9"], "--gpus 9: this machine has 1 GPU, numbered from 0"),
        (["--gpus", "²"], "--gpus ²: this machine has 1 GPU"),
        (["--gpus", "0", "0"], "--gpus names a GPU twice"),
        (["--gpus", "none"], "--gpus none: this machine has 1 GPU"),
        (["--per-gpu", "0"], "--per-gpu must be a whole number from 1 up, got 0"),
        (["--slots", "-1"], "--slots must be a whole number from 1 up, got -1"),
        (["--slots", "2", "--per-gpu", "2"], "--per-gpu is for GPUs"),
        (["--nproc", "2"], "--nproc 2 takes 2 GPUs a run, and 1 cannot be divided so"),
        (["--slurm", "--nproc", "0"], "--nproc must be a whole number from 1 up, got 0"),
        (["--time", "1:00:00"], "--time: it is for --slurm"),
        (["--slurm", "--gpus", "0"], "--gpus: Slurm says where a run goes"),
        (["--only", "mixup_s3"], "--only mixup_s3: the study has no such run; did you mean 'mixup_s0'?"),
    ],
)
def test_options_that_cannot_be(capsys, study, options, message):
    code, printed = dry(capsys, study, *options)
    assert code == 2
    assert message in printed


def test_no_gpu(capsys, study, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    code, printed = dry(capsys, study, "--gpus", "all")
    assert (code, "this machine has no GPU; see --slots" in printed) == (2, True)


@pytest.mark.parametrize("text", [None, "{", '{"schema": 7}', '{"schema": 1, "base": "", "entries": [{"name": "x"}]}'])
def test_a_study_that_is_none(capsys, study, text):
    manifest = study / "manifest.json"
    manifest.unlink() if text is None else manifest.write_text(text)
    code, printed = dry(capsys, study)
    assert code == 2
    assert "manifest.json" in printed
    assert run_command("grid", ["run", str(study)]) == 2
    assert "manifest.json" in capsys.readouterr().err


def test_a_dry_run_tells_what_there_is_and_writes_nothing(capsys, study):
    assert run_command("grid", ["run", str(study), "--dry-run", "--slots", "1"]) == 0
    assert [line.split(None, 1) for line in capsys.readouterr().out.splitlines()[:-1]] == [
        [name, "to start"] for name in NAMES
    ]
    assert [path.name for path in study.iterdir()] == ["manifest.json"]
    records = {
        "mixup_s0": {"status": "done"},
        "mixup_s1": {"status": "running"},
        "cutmix_s0": {"config_hash": "b" * 16},
    }
    for name, record in records.items():
        checkpoints = study / "runs" / name / "checkpoints"
        checkpoints.mkdir(parents=True)
        (checkpoints / "epoch_3.pth").touch()
        (study / "runs" / name / "run.json").write_text(json.dumps({"config_hash": "a" * 16, **record}))
    (study / "runs" / "mixup_s1" / "metrics.jsonl").write_text('{"split": "val", "epoch": 5, "step": 15}\n')
    (study / "queue").mkdir()
    outcome = {"status": "failed", "attempts": 2, "exit_code": 1, "message": "RuntimeError: boom"}
    (study / "queue" / "mixup_s1.json").write_text(json.dumps(outcome))
    there = sorted(study.rglob("*"))
    code, printed = dry(capsys, study)
    assert code == 0
    assert sorted(study.rglob("*")) == there
    assert [line.split(None, 1)[1] for line in printed.splitlines()[:-1]] == [
        "done",
        "to resume from epoch 3; failed last time: exit code 1: RuntimeError: boom",
        "to start afresh: what is there is of another config",
    ]


def test_an_entry_whose_config_is_gone_fails_and_is_reported(capsys, study):
    """The whole way once: the run's own message arrives, and its exit code decides."""
    assert run_command("grid", ["run", str(study), "--slots", "1", "--only", "mixup_s1"]) == 2
    printed = capsys.readouterr()
    assert "0/1 started mixup_s1 on cpu 0" in printed.out
    assert "1 of 1 runs failed" in printed.err
    assert "mixup_s1.py" in printed.err
    assert json.loads((study / "queue" / "mixup_s1.json").read_text())["exit_code"] == 2


def test_several_processes_are_started_by_the_launcher(study, monkeypatch):
    manifest = Manifest.read(study)
    one, two = (line_of(manifest, nproc)(manifest.entries[0], True) for nproc in (1, 2))
    assert line_of(manifest, 1)(manifest.entries[0], False) == one[:-1]
    train = [
        "-m",
        "openmix",
        "train",
        f"{study}/configs/mixup_s0.py",
        "--work-dir",
        f"{study}/runs/mixup_s0",
        "--config-hash",
        "a" * 16,
        "--resume",
    ]
    assert one[1:] == train
    assert os.path.basename(two[1]) == "launch.py"
    assert two[2:] == ["2", *train, "--launcher", "pytorch"]
    monkeypatch.setattr("openmix.results.grids.run_command.LAUNCHER", study / "launch.py")
    with pytest.raises(ValueError, match="which this installation lacks"):
        line_of(manifest, 2)


def test_slurm_is_handed_what_was_chosen(capsys, study):
    code, printed = dry(capsys, study, "--slurm", "--only", "cutmix_s0")
    assert code == 0
    assert "#SBATCH --array=0-0\n" in printed
    assert "cutmix_s0" in printed and "mixup_s1" not in printed


def test_the_default_base_is_the_repositorys(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command("grid", ["make", "--mix-mode", "mixup", "--out", "study"]) == 2
    assert "name a BASE: the default one, configs/" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_failures_are_told_when_the_queue_is_stopped(capsys, study, monkeypatch):
    def run(queue):
        queue.ended["mixup_s0"] = Outcome("failed", exit_code=1, message="RuntimeError: boom")
        stop = StopRequest()
        stop.name = "SIGTERM"
        return stop

    monkeypatch.setattr("openmix.results.grids.queue.Queue.run", run)
    assert run_command("grid", ["run", str(study)]) == 75
    printed = capsys.readouterr().err
    assert "failed: mixup_s0, exit code 1: RuntimeError: boom" in printed
    assert "stopped by SIGTERM: 2 of 3 runs are left" in printed
