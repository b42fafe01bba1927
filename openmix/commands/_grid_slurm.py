"""What is left of a study as a job array of Slurm's: one index is one run."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from openmix.errors import UserError

if TYPE_CHECKING:
    from openmix.results.grids.manifest import Entry, Manifest

__all__ = ["add_slurm_arguments", "run_on_slurm"]


def add_slurm_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    slurm = parser.add_argument_group("on a cluster")
    slurm.add_argument(
        "--slurm", action="store_true",
        help="submit what is left as a job array, one index a run, instead of running it here (docs/clusters.md)",
    )  # fmt: skip
    slurm.add_argument("--partition", metavar="P", help="Slurm's partition (default: the cluster's)")
    slurm.add_argument(
        "--time", metavar="T", help="time limit of a run, such as 12:00:00, after which it saves and is queued again"
    )
    slurm.add_argument(
        "--sbatch", metavar="OPTIONS", default="",
        help='further options of sbatch, in one word after a "=": --sbatch="--gres=gpu:1 --cpus-per-task=8"',
    )  # fmt: skip
    slurm.add_argument(
        "--at-most", type=int, metavar="N", help="runs at a time (default: as many as Slurm has room for)"
    )


def run_on_slurm(manifest: "Manifest", entries: "list[Entry]", arguments: argparse.Namespace) -> int:
    """Submit those entries that are not finished, say as which jobs, and return 0; with ``--dry-run`` only say it.

    Raises:
        UserError: an option is wrong, or there is no Slurm here.
        Reported: Slurm does not take the job.
    """
    from openmix.results.grids.slurm import LONGEST, ArrayJob, submit, write
    from openmix.results.grids.states import is_finished, read_record

    options = _sbatch_options(arguments)
    left = [e.name for e in entries if not is_finished(read_record(manifest.work_dir(e)), e)]
    if not left:
        print(f"nothing is left: all {len(entries)} runs are done")
        return 0
    parts = [left[first : first + LONGEST] for first in range(0, len(left), LONGEST)]
    at_most = max(1, arguments.at_most // len(parts)) if arguments.at_most else None
    for names in parts:
        job = ArrayJob(
            manifest.folder, names, Path.cwd(), arguments.partition, arguments.time, options, at_most,
            arguments.nproc,
        )  # fmt: skip
        if arguments.dry_run:
            print(job.script())
        else:
            path = write(job)
            print(f"job array {submit(path)}: {len(names)} of {len(entries)} runs, by {path}")
    return 0


def _sbatch_options(arguments: argparse.Namespace) -> list[str]:
    if arguments.at_most is not None and arguments.at_most < 1:
        raise UserError(f"--at-most must be at least 1, got {arguments.at_most}")
    for name in ("partition", "time"):
        value = getattr(arguments, name)
        if value is not None and (not value.isprintable() or value.split() != [value]):
            raise UserError(f"--{name} must be a word, got {value!r}")
    try:
        options = shlex.split(arguments.sbatch)
    except ValueError as error:
        raise UserError(f"--sbatch {arguments.sbatch!r}: {error}") from error
    if not arguments.sbatch.isprintable() or (options and not options[0].startswith("-")):
        raise UserError(
            f"--sbatch takes options of sbatch in one word, such as '--gres=gpu:1', got {arguments.sbatch!r}"
        )
    if wrong := [option for option in options if option.startswith(("--array", "-a"))]:
        raise UserError(
            f"--sbatch {wrong[0]}: the array is the study's; choose runs with --only, and how many with --at-most"
        )
    return options
