"""A process that hangs, dies or fails: the others end, and name it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

HOOK = """
import os, signal, time
from mmengine.hooks import Hook
from openmix.registry import HOOKS

@HOOKS.register_module()
class Fail(Hook):
    def __init__(self, rank: int, how: str) -> None:
        self.rank, self.how = rank, how

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.epoch < 1 or runner.rank != self.rank:
            return
        if self.how == "sleep":
            time.sleep(300)
        elif self.how == "raise":
            raise KeyError("a bug")
        else:
            os.kill(os.getpid(), getattr(signal, self.how))
"""


def test_a_process_that_hangs_is_named(ranks):
    began = time.monotonic()
    told = ranks(3, "wait_in_vain", how="hang")
    assert told[1] == "came too late"
    for rank in (0, 2):
        assert told[rank] == "process 1 of 3 has not answered for 1 s: it hangs, or is gone"
    assert time.monotonic() - began < 30


def test_a_process_that_fails_is_named_with_its_error(ranks):
    assert ranks(2, "wait_in_vain", how="raise") == ["process 1 failed: KeyError: 'a bug'", "KeyError: 'a bug'"]


def test_who_is_alone_has_no_peers():
    from openmix.engine.distributed import World
    from openmix.engine.peers import peers_watched

    with pytest.raises(RuntimeError, match=r"^gloo says no$"), peers_watched(World()):
        raise RuntimeError("gloo says no")


def test_processes_that_never_come_are_told_of(monkeypatch):
    from openmix.engine.distributed import join_world
    from openmix.errors import Reported

    environment = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Reported, match=r"process 0 of 2 did not meet the others at 127\.0\.0\.1:0 within 1 s"):
        join_world("pytorch", timeout=1)


def start(lab: Any, folder: Path, rank: int, how: str, size: int = 2) -> tuple[int, str, float]:
    """Train on processes of which one fails in step 4; return the exit code, stderr and the seconds it took."""
    (folder / "fail_hook.py").write_text(HOOK)
    imports = {"imports": ["fail_hook"], "allow_failed_imports": False}
    hook = {"type": "Fail", "rank": rank, "how": how}
    path = lab.write(
        folder, custom_hooks=[hook], custom_imports=imports, env_cfg={"dist_cfg": {"timeout": 6}},
    )  # fmt: skip
    environment = os.environ | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), *sys.path])
    environment.pop("PORT", None)
    command = ["bash", str(ROOT / "tools" / "dist_train.sh"), path, str(size), "--work-dir", str(folder / "run")]
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("how", ["SIGSTOP", "sleep"])
def test_a_run_ends_when_a_process_hangs(lab, tmp_path, rank, how):
    code, said, seconds = start(lab, tmp_path, rank, how)
    assert code == 1
    assert f": process {rank} of 2 has not answered for 6 s: it hangs, or is gone" in said
    assert "Traceback" not in said and "frame #" not in said
    assert seconds < 90
    assert lab.state(tmp_path / "run")["step"] == 3, "the checkpoint of the first epoch"


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 2])
def test_among_three_the_killed_one_is_named(lab, tmp_path, rank):
    """By the launcher, and by the others, of whom one may not have noticed when the other speaks."""
    code, said, _ = start(lab, tmp_path, rank, "SIGKILL", size=3)
    assert code == 128 + signal.SIGKILL
    assert f"process {rank} was ended by SIGKILL" in said
    blamed = [line for line in said.splitlines() if line.startswith("error: ")]
    assert blamed and all(re.search(rf"process(es)?( \d,)* {rank}\b", line) for line in blamed)
    assert "Traceback" not in said and "frame #" not in said


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_ends_when_a_process_fails(lab, tmp_path, rank):
    code, said, _ = start(lab, tmp_path, rank, "raise")
    assert code == 1
    assert "KeyError: 'a bug'" in said
    assert re.search(rf"error: process {1 - rank} of 2 on \S+: process {rank} (of 2 is gone|failed)", said), (
        "the other one"
    )
    assert "frame #" not in said


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_ends_when_a_process_is_killed(lab, tmp_path, rank):
    code, said, _ = start(lab, tmp_path, rank, "SIGKILL")
    assert code == 128 + signal.SIGKILL
    assert f"process {rank} was ended by SIGKILL" in said
    assert f": process {rank} of 2 is gone, or hangs" in said
    assert "Traceback" not in said and "frame #" not in said
