"""The scripts of tools/ as processes: exit codes, signals, and several processes over gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ON_CPU = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
Process = subprocess.Popen[str]

# A user's module: a hook that waits after some step until it is told to go on, or ends its process.
HOOK = """
import os, signal, time
from pathlib import Path
from mmengine.hooks import Hook
from openmix.registry import HOOKS

@HOOKS.register_module()
class Pause(Hook):
    def __init__(self, folder: str, step: int, kill_rank: int | None = None) -> None:
        self.folder, self.step, self.kill_rank = Path(folder), step, kill_rank

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 != self.step:
            return
        if runner.rank == self.kill_rank:
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / f"ready{runner.rank}").touch()
        while not (self.folder / "go").exists():
            time.sleep(0.01)
"""


@pytest.fixture
def start(tmp_path) -> Callable[..., Process]:
    """Start a script of tools/ on CPUs, with a user's modules beside the configs."""

    def start(script: str, *arguments: Any, **environment: str) -> Process:
        program = ["bash"] if script.endswith(".sh") else [sys.executable]
        env = {k: v for k, v in os.environ.items() if k not in ("PORT", "NNODES", "NODE_RANK")}
        env |= {
            "PYTHON": sys.executable,
            "PYTHONPATH": str(tmp_path),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        }
        command = [*program, str(ROOT / "tools" / script), *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=env | environment, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path)

    return start


@pytest.fixture
def paused(lab, tmp_path) -> Callable[..., str]:
    """Write a config whose run pauses after a step until a signal has been sent."""

    def paused(step: int, **options: Any) -> str:
        (tmp_path / "users_hook.py").write_text(HOOK)
        hook = {"type": "Pause", "folder": str(tmp_path), "step": step, **options}
        imports = {"imports": ["users_hook"], "allow_failed_imports": False}
        return lab.write(tmp_path, "paused", custom_hooks=[hook, {"type": "EMAHook"}], custom_imports=imports)

    return paused


def finish(process: Process, within: float = 120) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=within)
    return process.returncode, out, err


def signal_when_ready(process: Process, folder: Path, number: int, ranks: int = 1) -> None:
    """Send a signal while every process pauses, and let them go on."""
    deadline = time.monotonic() + 120
    while not all((folder / f"ready{rank}").exists() for rank in range(ranks)):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    time.sleep(0.3)  # the launcher hands it on
    (folder / "go").touch()


class TestArguments:
    """Found by the shell, before Python starts."""

    @pytest.mark.parametrize("script", ["dist_train.sh", "dist_test.sh"])
    @pytest.mark.parametrize("nproc", ["0", "-1", "abc", "1.5", "", "01"])
    def test_number_of_processes(self, start, script, nproc):
        code, _, err = finish(start(script, "config.py", nproc, "checkpoint.pth"))
        assert code == 2
        assert err == f"error: NPROC, the number of processes, must be a whole number from 1 up, got '{nproc}'\n"

    @pytest.mark.parametrize(
        ("script", "arguments"),
        [("dist_train.sh", []), ("dist_train.sh", ["c.py"]), ("dist_test.sh", []), ("dist_test.sh", ["c.py", "1"])],
    )
    def test_too_few(self, start, script, arguments):
        code, _, err = finish(start(script, *arguments))
        assert code == 2
        assert f"bash tools/{script} CONFIG NPROC" in err
        assert "Environment: PORT, NNODES" in err


def test_sigterm_in_the_middle_of_an_epoch_and_resume(start, paused, lab, tmp_path):
    """With one process, dist_train.sh starts no launcher; the resumed run is the uninterrupted one."""
    path = paused(step=8)
    process = start("dist_train.sh", path, 1, "--work-dir", "run")
    signal_when_ready(process, tmp_path, signal.SIGTERM)
    code, out, err = finish(process)
    assert code == 75
    assert set(err.splitlines()) <= {"stopped after step 8 of 12"}
    assert "stopped after step 8 of 12; --resume continues from there" in out
    assert (tmp_path / "run" / "checkpoints" / "iter_8.pth").exists()
    assert finish(start("train.py", path, "--work-dir", "run", "--resume"))[0] == 0
    sys.path.insert(0, str(tmp_path))
    try:
        lab.train(path, tmp_path / "whole")
    finally:
        sys.path.remove(str(tmp_path))
        from openmix.registry import HOOKS

        HOOKS.module_dict.pop("Pause")
        sys.modules.pop("users_hook")
    lab.assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_two_processes_evaluate_as_one(start, lab, tmp_path):
    path = lab.write(tmp_path)
    lab.train(path, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.pth"
    said = []
    for nproc in (1, 2):
        code, out, err = finish(start("dist_test.sh", path, nproc, last, "--out", f"{nproc}.json"))
        assert (code, err) == (0, "")
        said.append((out, json.loads((tmp_path / f"{nproc}.json").read_text())))
    assert said[0] == said[1]
    assert said[0][0].startswith("top1 ")
    assert said[0][1] == lab.state(tmp_path / "run")["metrics"]


def test_two_processes_refuse_a_wrong_config_with_one_message(start, lab, tmp_path):
    path = lab.write(tmp_path, train_cfg={"max_epoch": 1})
    code, out, err = finish(start("dist_train.sh", path, 2, "--work-dir", "run"))
    assert (code, out) == (2, "")
    assert err.count("did you mean 'max_epochs'?") == 1
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
class TestTwoProcesses:
    def test_train_and_resume(self, start, lab, tmp_path):
        """2 epochs are 1, stopped, and 1."""
        path = lab.write(tmp_path, custom_hooks=[{"type": "EMAHook", "momentum": 0.3}])
        assert finish(start("dist_train.sh", path, 2, "--work-dir", "whole"))[0] == 0
        assert (
            finish(start("dist_train.sh", path, 2, "--work-dir", "run", "--cfg-options", "train_cfg.max_epochs=1"))[0]
            == 0
        )
        assert finish(start("dist_train.sh", path, 2, "--work-dir", "run", "--resume"))[0] == 0
        lab.assert_same_run(tmp_path / "whole", tmp_path / "run")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
    def test_signal_to_the_launcher(self, start, paused, lab, tmp_path, number):
        path = paused(step=4)
        process = start("dist_train.sh", path, 2, "--work-dir", "run")
        signal_when_ready(process, tmp_path, number, ranks=2)
        code, out, err = finish(process)
        assert code == 75
        assert "Traceback" not in err
        assert "--resume continues from there" in out
        step = lab.state(tmp_path / "run")["step"]
        assert step in (4, 5)  # ranks agree one step later
        code, out, err = finish(start("dist_train.sh", path, 2, "--work-dir", "run", "--resume"))
        assert code == 0, out + err
        assert finish(start("dist_train.sh", path, 2, "--work-dir", "whole"))[0] == 0
        lab.assert_same_run(tmp_path / "whole", tmp_path / "run")

    @pytest.mark.parametrize("rank", [0, 1])
    def test_a_killed_worker_ends_the_run(self, start, paused, lab, tmp_path, rank):
        path = paused(step=5, kill_rank=rank)  # of 6; an epoch has 3 on two processes
        (tmp_path / "go").touch()
        began = time.monotonic()
        assert finish(start("dist_train.sh", path, 2, "--work-dir", "run"))[0] == 137
        assert time.monotonic() - began < 60
        assert lab.state(tmp_path / "run")["step"] == 3

    def test_train_py_with_a_launcher_of_torchs(self, lab, tmp_path):
        """torchrun sets the same variables."""
        path = lab.write(tmp_path, train_cfg={"max_epochs": 1})
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node=2",
            str(ROOT / "tools" / "train.py"),
        ]
        options = [path, "--launcher", "pytorch", "--work-dir", str(tmp_path / "run")]
        subprocess.run([*command, *options], env=os.environ | ON_CPU, check=True, capture_output=True, timeout=120)
        assert json.loads((tmp_path / "run" / "run.json").read_text())["world_size"] == 2


@pytest.mark.slow
def test_sigusr1(start, paused, tmp_path):
    process = start("train.py", paused(step=2), "--work-dir", "run")
    signal_when_ready(process, tmp_path, signal.SIGUSR1)
    assert finish(process)[0] == 75


@pytest.mark.slow
def test_wandb_offline(start, lab, tmp_path):
    pytest.importorskip("wandb")
    environment = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    process = start("train.py", lab.write(tmp_path), "--work-dir", "run", "--wandb", **environment)
    assert finish(process)[0] == 0
    (log,) = (tmp_path / "run" / "vis_data" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"val/top1" in log.read_bytes()
