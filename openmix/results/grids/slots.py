"""Where the runs of a study go: each slot is one GPU, a share of one, several, or a share of the CPU cores."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openmix.errors import UserError

__all__ = ["Slot", "cpu_slots", "gpu_slots"]


@dataclass(frozen=True)
class Slot:
    """Room for one run.

    Attributes:
        name: for people, such as ``gpu 0`` or ``cpu 1``.
        environment: the variables that tell a run of it.
    """

    name: str
    environment: Mapping[str, str]


def cpu_slots(number: int, nproc: int, cores: int) -> list[Slot]:
    """Divide the CPU cores among ``number`` runs of ``nproc`` processes each.

    >>> [slot.name for slot in cpu_slots(2, nproc=1, cores=8)]
    ['cpu 0', 'cpu 1']
    """
    threads = {"CUDA_VISIBLE_DEVICES": "", **_threads(cores, number * nproc)}
    return [Slot(f"cpu {i}", threads) for i in range(number)]


def gpu_slots(gpus: Sequence[str], per_gpu: int, nproc: int, cores: int) -> list[Slot]:
    """Make ``per_gpu`` slots of every GPU, or of every ``nproc`` GPUs for runs of so many processes.

    The first slots are on different GPUs, so that a study with few runs spreads.

    Args:
        gpus: as ``CUDA_VISIBLE_DEVICES`` calls them.
        per_gpu: runs at a time on one GPU.
        nproc: processes of a run, each with a GPU of its own.
        cores: of the CPU, divided among all processes.

    Raises:
        UserError: the GPUs cannot be divided so.

    >>> [slot.name for slot in gpu_slots(["0", "1"], per_gpu=2, nproc=1, cores=8)]
    ['gpu 0', 'gpu 1', 'gpu 0 #2', 'gpu 1 #2']
    """
    if len(gpus) % nproc:
        raise UserError(f"--nproc {nproc} takes {nproc} GPUs a run, and {len(gpus)} cannot be divided so")
    groups = [",".join(gpus[i : i + nproc]) for i in range(0, len(gpus), nproc)]
    threads = _threads(cores, len(gpus) * per_gpu)
    return [
        Slot(f"gpu {group}" + (f" #{share + 1}" if share else ""), {"CUDA_VISIBLE_DEVICES": group, **threads})
        for share in range(per_gpu)
        for group in groups
    ]


def _threads(cores: int, processes: int) -> dict[str, str]:
    """Say how many threads each process may have, unless the user has: without this, every one would use every core."""
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(1, cores // processes))}
