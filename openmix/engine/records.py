"""What a run leaves behind for people and programs: ``run.json`` and ``metrics.jsonl``. Schema: docs/run_record.md."""

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from openmix.engine.distributed import World
from openmix.engine.files import write_atomically, writing
from openmix.version import __version__

__all__ = ["MetricsFile", "describe_run", "device_name", "finite", "git_commit", "versions", "write_json"]

PACKAGES = ("torch", "torchvision", "numpy", "mmengine", "timm", "scikit-learn")


def describe_run(cfg_hash: str, config: str, seed: int, world: World) -> dict[str, Any]:
    """Return what identifies a run: code, config, seed, processes, threads, device and versions."""
    return {
        "schema": 1,
        "config": config,
        "config_hash": cfg_hash,
        "git_commit": git_commit(),
        "seed": seed,
        "world_size": world.size,
        "threads": torch.get_num_threads(),
        "device": device_name(world),
        "versions": versions(),
        "command": sys.argv,
        "start_time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "status": "running",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, openmix, and of the packages that a run's numbers may depend on."""
    found = {"python": platform.python_version(), "openmix": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def device_name(world: World) -> str:
    """Return what the processes compute on."""
    if world.device.type == "cuda":
        return torch.cuda.get_device_name(world.device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@cache
def git_commit() -> str | None:
    """Return the commit that the code was run from, with ``-dirty`` where files differ from it."""
    command = ["git", "-C", os.path.dirname(__file__), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def finite(value: Any) -> Any:
    """Return a value with None where it holds NaN or an infinity, for which JSON has no word."""
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file in one step.

    Raises:
        WriteError: it cannot be written.
    """
    text = json.dumps(finite(content), indent=2, allow_nan=False) + "\n"
    with writing(path):
        write_atomically(path, lambda beside: beside.write_text(text))


def _step_of(line: str) -> int | None:
    """Return the step of a line of ``metrics.jsonl``, or None if it is no record."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return step if type(step) is int else None


class MetricsFile:
    """``metrics.jsonl``: one JSON object a line, each on the disk before the next is written.

    Args:
        path: the file; appended to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep_until(self, step: int) -> None:
        """Drop the records of later steps, and what is no record."""
        if not self.path.exists():
            return
        lines = self._lines()
        kept = [
            line + "\n" for line, of in zip(lines, map(_step_of, lines), strict=True) if of is not None and of <= step
        ]
        write_atomically(self.path, lambda beside: beside.write_text("".join(kept)))

    def damaged(self) -> int:
        """Return how many lines are no records, but for a last one, which a kill may have cut off."""
        return sum(_step_of(line) is None for line in self._lines()[:-1]) if self.path.exists() else 0

    def _lines(self) -> list[str]:
        return [line for line in self.path.read_text(errors="replace").split("\n") if line]

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record.

        Raises:
            WriteError: it cannot be written.
        """
        with writing(self.path), open(self.path, "a") as file:
            file.write(json.dumps(finite(record), allow_nan=False) + "\n")
