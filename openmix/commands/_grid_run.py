"""Run what is left of a study, several runs at a time: those that are done are skipped, those cut short go on.

Without options every GPU of this machine runs one at a time, or, where there is none, the CPU. Any number of such
queues may work on one study, on several machines that share its folder.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openmix.commands._grid_slurm import add_slurm_arguments, run_on_slurm
from openmix.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from openmix.results.grids.manifest import Entry, Manifest
    from openmix.results.grids.queue import Queue
    from openmix.results.grids.slots import Slot

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("study", metavar="STUDY", help="a folder with a manifest, as 'openmix grid make' writes it")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--gpus", nargs="+", metavar="N",
        help="these GPUs, counted among those that CUDA_VISIBLE_DEVICES lets through, or 'all' (the default)",
    )  # fmt: skip
    where.add_argument(
        "--slots", type=int, metavar="N",
        help="N runs at a time on the CPU, which share its cores; default, where there is no GPU: 1, or as many as "
        "OMP_NUM_THREADS leaves room for",
    )  # fmt: skip
    parser.add_argument("--per-gpu", type=int, default=1, metavar="M", help="runs at a time on one GPU (default: 1)")
    parser.add_argument("--nproc", type=int, default=1, metavar="P", help="processes of each run (default: 1)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these runs of the study alone")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run, and where; write nothing")
    add_slurm_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Run the queue to its end and return 0; 2 where all that failed is wrong input, 1 where something else did."""
    if os.name != "posix":
        raise UserError("a queue needs the file locks and signals of Linux or macOS")
    from openmix.results.grids.board import board
    from openmix.results.grids.manifest import Manifest
    from openmix.results.grids.queue import Queue
    from openmix.results.grids.run_command import run_command

    manifest = Manifest.read(Path(arguments.study))
    entries = _chosen(manifest, arguments.only)
    _check_numbers(arguments)
    _check_slurm(arguments)
    if arguments.slurm:
        return run_on_slurm(manifest, entries, arguments)
    slots, command = _slots(arguments), run_command(manifest, arguments.nproc)
    if arguments.dry_run:
        return _tell(manifest, entries, slots)
    with board() as shown:
        queue = Queue(manifest, entries, slots, command, shown)
        stop = queue.run()
    left = len(entries) - len(queue.ended)
    if left:
        _report(queue)
        sys.stderr.write(f"stopped by {stop.name}: {left} of {len(entries)} runs are left; the same command goes on\n")
        return stop.exit_code
    return _report(queue)


def _chosen(manifest: "Manifest", names: Sequence[str] | None) -> "list[Entry]":
    """Return the entries of these names, or all, in the manifest's order."""
    known = [entry.name for entry in manifest.entries]
    for name in names or ():
        if name not in known:
            raise UserError(f"--only {name}: the study has no such run{did_you_mean(name, known)}")
    return [entry for entry in manifest.entries if names is None or entry.name in names]


def _check_numbers(arguments: argparse.Namespace) -> None:
    for option in ("slots", "per_gpu", "nproc"):
        number = getattr(arguments, option)
        if number is not None and number < 1:
            raise UserError(f"--{option.replace('_', '-')} must be a whole number from 1 up, got {number}")


def _check_slurm(arguments: argparse.Namespace) -> None:
    """Refuse options of the one way to run that would mean nothing in the other."""
    here = {"--gpus": arguments.gpus, "--slots": arguments.slots, "--per-gpu": arguments.per_gpu > 1}
    there = {"--partition": arguments.partition, "--time": arguments.time, "--sbatch": arguments.sbatch,
             "--at-most": arguments.at_most}  # fmt: skip
    if wrong := [option for option, value in (here if arguments.slurm else there).items() if value]:
        why = "Slurm says where a run goes; ask for GPUs with --sbatch" if arguments.slurm else "it is for --slurm"
        raise UserError(f"{wrong[0]}: {why}")


def _slots(arguments: argparse.Namespace) -> "list[Slot]":
    """Return where the runs go."""
    import torch

    from openmix.commands._parallel import cpus
    from openmix.results.grids.slots import cpu_slots, gpu_slots

    there = torch.cuda.device_count() if arguments.slots is None else 0
    if arguments.gpus or there:
        gpus = _gpus(arguments.gpus or ["all"], there)
        return gpu_slots(gpus, arguments.per_gpu, arguments.nproc, cpus())
    if arguments.per_gpu > 1:
        raise UserError("--per-gpu is for GPUs; say with --slots how many runs share the CPU")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    room = cpus() // (max(1, int(threads)) * arguments.nproc) if threads.isdecimal() else 1
    return cpu_slots(arguments.slots or max(1, room), arguments.nproc, cpus())


def _gpus(wanted: Sequence[str], there: int) -> list[str]:
    """Return GPUs as ``CUDA_VISIBLE_DEVICES`` calls them, of which a scheduler may have let some through."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    names = visible[:there] or [str(i) for i in range(there)]
    if list(wanted) == ["all"] and names:
        return names
    has = f"has {there} GPU{'s' if there > 1 else ''}, numbered from 0" if there else "has no GPU; see --slots"
    for number in wanted:
        if not number.isdecimal() or int(number) >= len(names):
            raise UserError(f"--gpus {number}: this machine {has}")
    if len(set(wanted)) < len(wanted):
        raise UserError("--gpus names a GPU twice; --per-gpu says how many runs share each")
    return [names[int(number)] for number in wanted]


def _tell(manifest: "Manifest", entries: "Sequence[Entry]", slots: "Sequence[Slot]") -> int:
    """Print what a queue would find."""
    from openmix.results.grids.queue import state_of

    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        print(f"{entry.name:{width}}  {state_of(manifest, entry)}")
    threads = {slot.environment["OMP_NUM_THREADS"] for slot in slots}
    print(f"{len(slots)} at a time, {'/'.join(threads)} threads a process: {', '.join(slot.name for slot in slots)}")
    return 0


def _report(queue: "Queue") -> int:
    """Print what failed, in lines that can be searched and copied, and return the exit code."""
    failed = {name: outcome for name, outcome in queue.ended.items() if outcome.status == "failed"}
    for name, outcome in failed.items():
        log = queue.folder / f"{name}.log"
        sys.stderr.write(f"failed: {name}, {outcome.reason}\n  its log: {log}\n")
    if failed:
        sys.stderr.write(f"{len(failed)} of {len(queue.ended)} runs failed; the same command tries them again\n")
    return 0 if not failed else 2 if all(outcome.exit_code == 2 for outcome in failed.values()) else 1
