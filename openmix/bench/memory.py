"""What a loader keeps in memory, each in a process of its own: as Linux counts it, from before the set is made."""

import multiprocessing
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from openmix.bench.fresh import in_fresh_process
from openmix.bench.loaders import PIPELINE
from openmix.data import ResidentLoader, Synthetic, TorchLoader

__all__ = ["LOADERS", "memory_of"]

MIB = 1 << 20
LOADERS: dict[str, tuple[Any, dict[str, int]]] = {
    "ResidentLoader": (ResidentLoader, {}),
    "TorchLoader": (TorchLoader, {}),
    "TorchLoader, 2 workers": (TorchLoader, {"num_workers": 2}),
}


def memory_of(loader: str, length: int, device: torch.device) -> dict[str, float | None]:
    """Return MiB of a loader of so many images of CIFAR-10's size, augmented, after 20 batches.

    Args:
        loader: one of :data:`LOADERS`.
        length: images.
        device: where the batches are wanted.

    Returns:
        ``set_mb``, the images themselves; ``kept_mb``, what the process holds more than before; ``peak_mb``, what it
        held at most; ``workers_mb``, what its workers hold that no other process shares; ``device_mb``, what lies on
        the GPU. None where there is no such thing, and where the system does not tell.
    """
    return in_fresh_process(_measured, loader, length, device)


def _measured(name: str, length: int, device: torch.device) -> dict[str, float | None]:
    _batches(name, 1000, device)  # what is allocated once, whatever the set
    before = _of_process("self", "status", ["VmRSS"])
    loader = _batches(name, length, device)
    workers = [_of_process(child.pid, "smaps_rollup", PRIVATE) for child in multiprocessing.active_children()]
    found = {
        "set_mb": length * 3 * 32 * 32 / MIB,
        "kept_mb": _difference(_of_process("self", "status", ["VmRSS"]), before),
        "peak_mb": _difference(_of_process("self", "status", ["VmHWM"]), before),
        "workers_mb": sum(filter(None, workers)) if workers else None,
        "device_mb": torch.cuda.memory_allocated(device) / MIB if device.type == "cuda" else None,
    }
    loader.close()
    return found


def _batches(name: str, length: int, device: torch.device) -> Any:
    """Return a loader that has given some batches."""
    loader_type, settings = LOADERS[name]
    loader = loader_type(Synthetic(10, (3, 32, 32), length), 50, pipeline=PIPELINE, device=device, **settings)
    for _ in islice(loader.epoch(0), 20):
        pass
    return loader


PRIVATE = ["Private_Clean", "Private_Dirty"]


def _of_process(process: int | str | None, file: str, keys: Iterable[str]) -> float | None:
    """Return the sum of these lines of a file below /proc, in MiB."""
    try:
        lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in lines if line.split(":")[0] in keys) / 1024


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before
