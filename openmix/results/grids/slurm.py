"""Job arrays for Slurm: one index of an array is one run of a study, by name, and stays so when the study grows."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openmix.engine.files import write_atomically, writing
from openmix.errors import Reported, UserError

__all__ = ["ArrayJob", "submit", "write"]

LONGEST = 1000  # runs an array: Slurm's MaxArraySize is 1001 unless a cluster sets another, and indices begin at 0

# Before and after the line that starts a run in the background. tools/slurm_train.sh has the same lines: Slurm runs a
# copy of a script, beside which nothing lies that could be shared.
LISTEN = """\
job=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID} waiting=1 again='' early=''
# SIGNAL AGAIN: hand a signal on, or keep it until there is a run to get it; AGAIN: whether to be queued again
pass_on() {
    again=$2 waiting=1
    if [ "$!" ]; then kill -s "$1" "$!" 2>/dev/null; else early=$1; fi
}
begin() { [ "$early" ] && kill -s "$early" "$BASHPID"; exec "$@"; } # in the background
trap 'pass_on USR1 1' USR1
trap 'pass_on TERM "$again"' TERM # scancel: what somebody cancels must not come back
"""
WAIT = """\
child=$!
while [ "$waiting" ]; do waiting=; wait "$child"; code=$?; done
if [ "$again" ] && { [ "$code" -eq 75 ] || [ "$code" -eq 138 ]; }; then # 138: USR1 before it had loaded
    echo "stopped after saving; $job is queued again"
    scontrol requeue "$job"
fi
exit "$code"
"""


@dataclass(frozen=True)
class ArrayJob:
    """Runs of a study as one job array.

    Attributes:
        study: its folder.
        names: of the runs; the index is the place in this list.
        started_in: the folder to which paths in configs are relative.
        partition: Slurm's, or None for the cluster's default.
        time: the limit of one run, such as ``1-12:00:00``; it goes on in the queue's next place when that is over.
        options: of sbatch, such as ``--gres=gpu:1``.
        at_most: how many run at a time, or None.
        nproc: processes a run.
    """

    study: Path
    names: Sequence[str]
    started_in: Path
    partition: str | None = None
    time: str | None = None
    options: Sequence[str] = ()
    at_most: int | None = None
    nproc: int = 1

    def script(self) -> str:
        """Return the batch script, which needs nothing beside it: Slurm keeps a copy of its own."""
        study = self.study.absolute()
        log = str(study / "slurm").replace("%", "%%") + "/%A_%a.log"  # a % is a placeholder to Slurm
        command = [sys.executable, "-m", "openmix", "grid", "run", str(study)]
        nproc = f" --nproc {self.nproc}" if self.nproc > 1 else ""
        return "\n".join(
            [
                "#!/usr/bin/env bash",
                "# One run of the study for each index. 'openmix grid run --slurm' wrote and submitted this.",
                f"#SBATCH --job-name={shlex.quote(study.name)}",
                f"#SBATCH --array=0-{len(self.names) - 1}{f'%{self.at_most}' if self.at_most else ''}",
                f"#SBATCH --output={shlex.quote(log)}",
                "#SBATCH --open-mode=append",
                "#SBATCH --requeue",
                "#SBATCH --signal=B:USR1@120",
                *([f"#SBATCH --partition={shlex.quote(self.partition)}"] if self.partition else []),
                *([f"#SBATCH --time={shlex.quote(self.time)}"] if self.time else []),
                *([f"#SBATCH {shlex.join(self.options)}"] if self.options else []),
                "",
                LISTEN,
                "names=(",
                *(f"    {shlex.quote(name)}" for name in self.names),
                ")",
                f"cd {shlex.quote(str(self.started_in.absolute()))} || exit 2",
                f'begin {shlex.join(command)} "--only=${{names[$SLURM_ARRAY_TASK_ID]}}"{nproc} &',
                WAIT,
            ]
        )


def write(job: ArrayJob) -> Path:
    """Write a job's script below the study's ``slurm/``, under a number of its own, and return where.

    Raises:
        WriteError: the folder cannot be written to.
    """
    folder = job.study / "slurm"
    with writing(folder):
        folder.mkdir(exist_ok=True)
        taken = [int(n) for path in folder.glob("array_*.sbatch") if (n := path.stem.removeprefix("array_")).isdigit()]
        path = folder / f"array_{max(taken, default=0) + 1}.sbatch"
        write_atomically(path, lambda beside: beside.write_text(job.script(), encoding="utf-8"))
    return path


def submit(path: Path) -> str:
    """Hand a script to Slurm and return the job's number.

    Raises:
        UserError: there is no Slurm here.
        Reported: it does not take the job.
    """
    if shutil.which("sbatch") is None:
        raise UserError(
            f"there is no sbatch on the PATH; {path} is written: submit it where Slurm is, with 'sbatch FILE'"
        )
    done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise Reported(f"sbatch does not take {path}: {why}")
    return done.stdout.strip().split(";")[0]
