"""slurm_train.sh with a stub of Slurm's: what is asked for, and a job that is stopped and goes on."""

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openmix.results.grids.slurm import LISTEN, WAIT

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "slurm_train.sh"
CHECK = '[ "$1" = -m ] && exit\n'  # a stub of Python that finds every config right

HOOK = """
import time
from pathlib import Path
from mmengine.hooks import Hook
from openmix.registry import HOOKS

@HOOKS.register_module()
class Pause(Hook):
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == 4:
            (self.folder / f"ready{runner.rank}").touch()
            while runner.rank == 0 and not (self.folder / "ready1").exists():
                time.sleep(0.01)
            time.sleep(1)  # for the signal to come
"""


@pytest.fixture
def slurm(tmp_path) -> Any:
    return runpy.run_path(str(Path(__file__).with_name("slurm_stub.py")))["Slurm"](tmp_path / "a cluster")


def submit(slurm: Any, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = (
        "SLURM_RESTART_COUNT",
        "GPUS",
        "GPUS_PER_NODE",
        "CPUS_PER_TASK",
        "PORT",
        "OMP_NUM_THREADS",
        "SBATCH_ARGS",
        "SRUN_ARGS",
    )
    inherited = {key: value for key, value in os.environ.items() if key not in own}
    inherited |= {"PYTHON": "true", "PATH": f"{slurm.path}:/usr/bin:/bin"}
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], env=inherited | environment, cwd=slurm.folder.parent,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_what_is_asked_for(slurm, tmp_path):
    (tmp_path / "my config.py").touch()
    done = submit(
        slurm, "gpu", "job", "my config.py", "runs/a b", "--seed", "3",
        GPUS="16", CPUS_PER_TASK="7", PORT="65535",
        SBATCH_ARGS="""--time=1-0  --comment="a b; $(touch run)" --wckey='*'\n--output=x.log""",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (job,) = slurm.jobs()
    assert job["options"] == {
        "partition": "gpu", "job-name": "job", "nodes": "2", "ntasks": "16", "ntasks-per-node": "8", "gres": "gpu:8",
        "cpus-per-task": "7", "output": "x.log", "open-mode": "append", "requeue": "", "signal": "B:USR1@120",
        "time": "1-0", "comment": "a b; $(touch run)", "wckey": "*",
    }  # fmt: skip
    assert not (tmp_path / "run").exists()
    assert job["arguments"] == ["--inside-job", "my config.py", "--work-dir", "runs/a b", "--seed", "3"]


def test_the_log_is_named_after_the_job(slurm, tmp_path):
    (tmp_path / "c.py").touch()
    assert submit(slurm, "gpu", "mixup 50%", "c.py").returncode == 0
    assert slurm.jobs()[0]["options"]["output"] == "mixup 50%%-%j.log"  # a % is a placeholder to Slurm


def test_a_wrong_config_is_not_submitted(slurm, lab, tmp_path):
    right, wrong = lab.write(tmp_path, "right"), lab.write(tmp_path, "wrong", model={"type": "Nonesuch"})
    assert submit(slurm, "gpu", "job", right, PYTHON=sys.executable).returncode == 0
    done = submit(slurm, "gpu", "job", wrong, PYTHON=sys.executable)
    assert done.returncode == 2 and "Nonesuch" in done.stderr
    assert len(slurm.jobs()) == 1


def test_on_cpus_no_gpu_is_asked_for(slurm, tmp_path):
    (tmp_path / "c.py").touch()
    assert submit(slurm, "cpu", "job", "c.py", GPUS="3", GPUS_PER_NODE="0").returncode == 0
    options = slurm.jobs()[0]["options"]
    assert options["ntasks"] == "3" and not {"nodes", "gres", "ntasks-per-node"} & options.keys()


def test_inside_the_job(slurm, tmp_path):
    """What every process is told; the stub's nodes are 127.0.0.1 and another one."""
    (tmp_path / "c.py").touch()
    program = tmp_path / "python"
    names = "SLURM_PROCID MASTER_ADDR MASTER_PORT OMP_NUM_THREADS"
    program.write_text(
        f"#!/bin/bash\n{CHECK}"
        f'for n in {names}; do echo "${{!n}}"; done > "$SLURM_PROCID"; echo "$@" >> "$SLURM_PROCID"\n'
    )
    program.chmod(0o755)
    submit(
        slurm, "p", "job", "c.py", "--seed", "1",
        GPUS="2", CPUS_PER_TASK="3", PYTHON=str(program), SRUN_ARGS="--mpi=none --comment='a b'",
    )  # fmt: skip
    (job,) = slurm.jobs()
    assert slurm.execute(job) == {0: [0]}
    for rank in ("0", "1"):
        told = (tmp_path / rank).read_text().splitlines()
        assert told == [
            rank, "127.0.0.1", str(15000 + 100_000 % 15000), "3",
            f"{ROOT}/tools/train.py c.py --seed 1 --launcher slurm",
        ]  # fmt: skip
    options = json.loads((slurm.folder / "srun.json").read_text())[: -len(told[-1].split()) - 1]
    assert options == ["--kill-on-bad-exit=0", "--wait=0", "--cpus-per-task=3", "--mpi=none", "--comment=a b"]


@pytest.mark.parametrize(("code", "number", "again"), [(75, "USR1", True), (75, "TERM", False), (2, "USR1", False)])
def test_who_is_queued_again(slurm, tmp_path, code, number, again):
    """Only a run that has saved, and that nobody has cancelled."""
    (tmp_path / "c.py").touch()
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/bash\n{CHECK}echo "$@" >> calls\n'
        f"mkdir once 2>/dev/null || exit 0\ntrap 'sleep 0.5; exit {code}' USR1 TERM\n"
        "touch ready\nfor i in {1..600}; do sleep 0.1; done\n"
    )
    program.chmod(0o755)
    submit(slurm, "p", "job", "c.py", GPUS="1", PYTHON=str(program))
    (job,) = slurm.jobs()
    codes = slurm.execute(job, preempt={0: (tmp_path / "ready", getattr(signal, f"SIG{number}"))})
    assert codes == {0: [code, 0] if again else [code]}
    assert slurm.requeued() == (["100000"] if again else [])
    # only a job that was there before goes on; a new one in an old work dir is a run of its own
    resumed = [line.endswith(" --resume") for line in (tmp_path / "calls").read_text().splitlines()]
    assert resumed == ([False, True] if again else [False])


def test_a_signal_before_there_is_a_run_is_not_lost(slurm, tmp_path):
    (tmp_path / "c.py").touch()
    submit(slurm, "p", "job", "c.py", GPUS="1", PYTHON="true")
    (slurm.path / "scontrol").rename(slurm.path / "real")
    slow = slurm.path / "scontrol"
    slow.write_text(f'#!/bin/sh\n[ $1 = requeue ] || {{ touch ready; sleep 1; }}\nexec "{slurm.path}/real" "$@"\n')
    slow.chmod(0o755)
    assert slurm.execute(slurm.jobs()[0], preempt={0: (tmp_path / "ready", signal.SIGUSR1)}) == {0: [138, 0]}


def test_arrays_wait_as_this_does():
    """The same lines stand in two places, as neither can have the other's file beside it."""
    own = [line.strip() for line in SCRIPT.read_text().splitlines()]
    shared = [line.strip() for line in (LISTEN + WAIT).splitlines() if not line.startswith("job=")]
    first = own.index(shared[0])
    assert [line for line in shared if line not in own[first:]] == []


@pytest.mark.parametrize(
    ("arguments", "environment", "reason"),
    [
        (["p", "j"], {}, "bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG"),
        (["p", "j", "missing.py"], {}, "error: there is no config missing.py\n"),
        (["p", "j", "c.py"], {"GPUS": "many"}, "error: GPUS must be a whole number, got 'many'\n"),
        (["p", "", "c.py"], {}, "error: JOB_NAME must be a name, without a slash, got ''\n"),
        (["p", "a/b", "c.py"], {}, "error: JOB_NAME must be a name, without a slash, got 'a/b'\n"),
        (["p --array=0-3", "j", "c.py"], {}, "error: PARTITION must be a word, got 'p --array=0-3'\n"),
        (["p", "j", "c.py"], {"PORT": "abc"}, "error: PORT must be 1 to 65535, got 'abc'\n"),
        (["p", "j", "c.py"], {"PORT": "0"}, "error: PORT must be 1 to 65535, got '0'\n"),
        (["p", "j", "c.py"], {"PORT": "65536"}, "error: PORT must be 1 to 65535, got '65536'\n"),
        (
            ["p", "j", "c.py"],
            {"SBATCH_ARGS": "--x='y"},
            "error: SBATCH_ARGS has a quote without its other half: --x='y",
        ),
        (["p", "j", "c.py"], {"SRUN_ARGS": '--x="y'}, "error: SRUN_ARGS has a quote without its other half"),
        (["p", "j", "c.py"], {"GPUS": "0"}, "error: GPUS and CPUS_PER_TASK must be at least 1\n"),
        (["p", "j", "c.py"], {"GPUS": "12"}, "error: GPUS=12 is no multiple of GPUS_PER_NODE=8\n"),
        (["p", "j", "c.py", "--resume", "x.pth"], {}, "error: a job continues its own work dir"),
        (["p", "j", "c.py", "--resume=x.pth"], {}, "error: a job continues its own work dir"),
        (["p", "j", "c.py"], {"PATH": "/usr/bin:/bin"}, "error: there is no sbatch on the PATH"),
    ],
)
def test_refused(slurm, tmp_path, arguments, environment, reason):
    (tmp_path / "c.py").touch()
    done = submit(slurm, *arguments, **environment)
    assert done.returncode == 2 and reason in done.stderr
    assert slurm.jobs() == []


@pytest.mark.slow
def test_a_stopped_job_of_two_processes_ends_as_if_undisturbed(slurm, lab, tmp_path):
    (tmp_path / "pause_hook.py").write_text(HOOK)
    hook = {"type": "Pause", "folder": str(tmp_path)}
    imports = {"imports": ["pause_hook"], "allow_failed_imports": False}
    path = lab.write(tmp_path, custom_hooks=[hook], custom_imports=imports)
    own = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    submit(slurm, "p", "job", path, "--work-dir", "run", GPUS="2", GPUS_PER_NODE="0", PYTHON=sys.executable, **own)
    (job,) = slurm.jobs()
    codes = slurm.execute(job, preempt={0: (tmp_path / "ready1", signal.SIGUSR1)})
    assert codes == {0: [75, 0]}
    submit(slurm, "p", "job", path, "--work-dir", "whole", GPUS="2", GPUS_PER_NODE="0", PYTHON=sys.executable, **own)
    assert slurm.execute(slurm.jobs()[1]) == {0: [0]}
    assert lab.records(tmp_path / "run") == lab.records(tmp_path / "whole")
    states = [lab.state(tmp_path / name) for name in ("run", "whole")]
    for state in states:
        state["circumstances"]["code"].pop("commit", None)  # whatever was committed meanwhile
    assert lab.differences(*states) == []
