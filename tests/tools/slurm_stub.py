"""A Slurm of one machine: ``sbatch`` keeps a copy of the script, ``Slurm.execute`` runs it as a cluster would.

As a program: ``slurm_stub.py FOLDER sbatch|srun|scontrol ARGUMENT ...``.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Slurm:
    """What the stubs on the PATH have been asked for, and what they are to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "bin"
        self.path.mkdir(parents=True)
        for name in ("sbatch", "srun", "scontrol"):
            command = shlex.join([sys.executable, str(Path(__file__).resolve()), str(folder), name])
            (self.path / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (self.path / name).chmod(0o755)

    def jobs(self) -> list[dict[str, Any]]:
        """Return what was submitted: number, options and arguments, in their order."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("job_*.json"))]

    def requeued(self) -> list[str]:
        """Return which jobs asked to be queued again."""
        path = self.folder / "requeued"
        return path.read_text().split() if path.exists() else []

    def execute(
        self, job: Mapping[str, Any], preempt: Mapping[int, tuple[Path, int]] | None = None
    ) -> dict[int, list[int]]:
        """Run every index of a job, again where it was queued again, and return their exit codes.

        Args:
            job: one of :meth:`jobs`.
            preempt: by index, a file that says when to send which signal to the batch script, once.
        """
        preempt = dict(preempt or {})
        codes: dict[int, list[int]] = {}
        array = job["options"].get("array")
        first, last = map(int, array.split("%")[0].split("-")) if array else (0, 0)
        for index in range(first, last + 1):
            name = f"{job['number']}_{index}" if array else str(job["number"])
            while True:
                asked = self.requeued().count(name)
                restarts = {"SLURM_RESTART_COUNT": str(asked)} if asked else {}  # Slurm leaves it out at first
                codes.setdefault(index, []).append(
                    self._once(job, index, bool(array), restarts, preempt.pop(index, None))
                )
                if self.requeued().count(name) == asked:
                    break
        return codes

    def _once(
        self, job: Mapping[str, Any], index: int, array: bool, restarts: Mapping[str, str],
        preempt: tuple[Path, int] | None,
    ) -> int:  # fmt: skip
        variables = {"SLURM_JOB_ID": str(job["number"] + index), "SLURM_JOB_NODELIST": "node[0-1]", **restarts}
        variables |= {"SLURM_NTASKS": job["options"].get("ntasks", "1")}
        if array:
            variables |= {"SLURM_ARRAY_JOB_ID": str(job["number"]), "SLURM_ARRAY_TASK_ID": str(index)}
        command = ["bash", job["script"], *job["arguments"]]
        with subprocess.Popen(command, env=job["environment"] | variables, cwd=job["cwd"]) as process:
            if preempt is not None:
                while not preempt[0].exists():
                    assert process.poll() is None, "ended before it could be preempted"
                    time.sleep(0.02)
                process.send_signal(preempt[1])
            return process.wait()


def directives(script: str) -> list[str]:
    """Return the words of a script's #SBATCH lines, read as Slurm reads them."""
    lines = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]
    return [word for line in lines for word in shlex.split(line, comments=True)]


def sbatch(folder: Path, argv: list[str]) -> int:
    """Take a job."""
    place = next(i for i, word in enumerate(argv) if not word.startswith("-"))
    script = Path(argv[place]).read_text()
    number = 100_000 * (1 + len(list(folder.glob("job_*.json"))))
    copy = folder / f"job_{number}.sh"
    copy.write_text(script)
    words = [*directives(script), *argv[:place]]  # the command line counts
    options = {key: value for word in words for key, _, value in [word.removeprefix("--").partition("=")]}
    job = {
        "number": number, "options": options, "script": str(copy), "arguments": argv[place + 1 :], "cwd": os.getcwd(),
        "environment": dict(os.environ),
    }  # fmt: skip
    (folder / f"job_{number}.json").write_text(json.dumps(job))
    print(f"{number};cluster" if "--parsable" in argv else f"Submitted batch job {number}")
    return 0


def srun(folder: Path, argv: list[str]) -> int:
    """Start as many tasks as the job has, hand signals on to them, and return the greatest of their exit codes."""
    place = next(i for i, word in enumerate(argv) if not word.startswith("-"))
    (folder / "srun.json").write_text(json.dumps(argv))
    tasks: list[subprocess.Popen[bytes]] = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: [task.send_signal(number) for task in tasks])
    for rank in range(int(os.environ["SLURM_NTASKS"])):
        ranks = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        tasks.append(subprocess.Popen(argv[place:], env=os.environ | ranks))
    return max(task.wait() for task in tasks)


def scontrol(folder: Path, argv: list[str]) -> int:
    """Note who is to be queued again, or name the nodes: this one."""
    if argv[0] == "requeue":
        with open(folder / "requeued", "a") as file:
            file.write(argv[1] + "\n")
    else:
        print("127.0.0.1\nnode1")
    return 0


if __name__ == "__main__":
    sys.exit({"sbatch": sbatch, "srun": srun, "scontrol": scontrol}[sys.argv[2]](Path(sys.argv[1]), sys.argv[3:]))
