"""Stop signals at any time, log lines that survive a crash, one run at a time in a work dir."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# A user's module that is imported while the config is read, and a hook that ends the process after a step.
MODULE = """
import os, signal, time
from pathlib import Path
from mmengine.hooks import Hook
from openmix.registry import HOOKS

if os.environ.get("SIGNAL_ON_IMPORT"):
    os.kill(os.getpid(), int(os.environ["SIGNAL_ON_IMPORT"]))

@HOOKS.register_module()
class Ends(Hook):
    def __init__(self, step: int) -> None:
        self.step = step

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def after_run(self, runner) -> None:
        if os.environ.get("SIGNAL_AT_END"):
            os.kill(os.getpid(), int(os.environ["SIGNAL_AT_END"]))
"""


@pytest.fixture
def train(lab, tmp_path):
    """Run tools/train.py on a tiny config with a user's module."""
    (tmp_path / "ends_hook.py").write_text(MODULE)
    imports = {"imports": ["ends_hook"], "allow_failed_imports": False}

    def train(step: int = -1, environment: Any = None, options: Any = (), **changes: Any) -> Any:
        path = lab.write(tmp_path, custom_hooks=[{"type": "Ends", "step": step}], custom_imports=imports, **changes)
        command = [sys.executable, ROOT / "tools" / "train.py", path, "--work-dir", tmp_path / "run", *options]
        own = {
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            "CUDA_VISIBLE_DEVICES": "",
            **(environment or {}),
        }
        return subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=120)

    return train


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)])
def test_a_signal_before_the_first_step_has_the_code_of_a_stop(train, tmp_path, number):
    done = train(environment={"SIGNAL_ON_IMPORT": str(int(number))})
    assert done.returncode == 75
    assert done.stderr == f"stopped by {number.name} before the first step\n"
    assert not (tmp_path / "run").exists()


def test_after_a_crash_the_log_is_there_and_the_lock_is_free(train, lab, tmp_path):
    """Every line that was printed is in the file, every record is whole, and TensorBoard has the last one, too."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = train(step=7, default_hooks={"logger": {"interval": 2}}, vis_backends=[{"type": "TensorboardVisBackend"}])
    assert done.returncode == -signal.SIGKILL
    run = tmp_path / "run"
    printed = [line.split(" ", 1)[1] for line in done.stdout.splitlines()]
    logged = [line.split(" INFO ", 1)[1] for line in (run / "train.log").read_text().splitlines()]
    assert printed == logged and any("step 6/12" in line for line in logged)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(r["split"], r["step"]) for r in records] == [("train", 2), ("train", 4), ("train", 6), ("val", 6)]
    events = EventAccumulator(str(run / "vis_data"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4, 6]
    assert (run / ".owner").exists(), "what the dead run left"
    done = train(options=["--resume"])
    assert done.returncode == 0, done.stderr
    assert not (run / ".owner").exists()
    assert lab.state(run)["step"] == 12


def test_a_second_signal_does_not_change_the_code_of_a_stop(lab, tmp_path):
    """Schedulers send theirs again; the interpreter takes its time to end, and torch's libraries theirs."""
    path = lab.write(tmp_path, train_cfg={"max_epochs": 10_000})
    command = [sys.executable, ROOT / "tools" / "train.py", path, "--work-dir", tmp_path / "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if ", step " in line:
                process.send_signal(signal.SIGTERM)
                break
        for line in process.stdout:
            if "stopped after step" in line:
                break
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 75


@pytest.mark.slow
def test_a_signal_after_the_last_step(train, lab, tmp_path):
    """The run is whole by then; resumed, it has nothing left to do."""
    done = train(environment={"SIGNAL_AT_END": str(int(signal.SIGTERM))})
    assert done.returncode in (0, 75)
    assert lab.state(tmp_path / "run")["step"] == 12
    assert train(options=["--resume"]).returncode == 0


def test_a_process_that_goes_on_has_its_handlers_back(lab, tmp_path):
    from openmix.commands import run_command

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    assert run_command("train", [lab.write(tmp_path), "--work-dir", str(tmp_path / "run")]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before
