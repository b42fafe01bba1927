"""Finished and unfinished runs as tables read them: ``run.json``, ``config.py`` and ``metrics.jsonl`` of a work dir."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmix.errors import UserError
from openmix.results.run_files import literal_config, read_json, validation_records

__all__ = ["Run", "Unreadable", "find_runs", "read_run"]

# of a work dir, what holds no other runs; earlier/N are runs that were given up
NO_RUNS_IN = frozenset({"earlier", "checkpoints", "vis_data", "nonfinite"})
STATUSES = ("running", "done", "stopped", "failed")


@dataclass(frozen=True)
class Run:
    """What one work dir holds.

    Attributes:
        folder: the work dir.
        record: ``run.json``.
        config: the resolved config, read as data (nothing is executed), with ``pretrained``, what the run's record says
            of the weights that it began with, if it does.
        validations: the validation records, in order.
        damaged_lines: how many lines of ``metrics.jsonl`` are no records, but for a last one that a kill cut off.
        failure: why the queue that ran it last counts it failed; None where none does.
    """

    folder: Path
    record: Mapping[str, Any]
    config: Mapping[str, Any]
    validations: tuple[Mapping[str, Any], ...]
    damaged_lines: int = 0
    failure: str | None = None

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.record["seed"]

    @property
    def max_epochs(self) -> int | None:
        """For how many epochs the config trains; None where it says so in steps."""
        return self.config["train_cfg"].get("max_epochs")

    @property
    def unfinished(self) -> tuple[str, str] | None:
        """Its state and why, as a sentence, if it is in no mean: not done, or its last validation is not of the end."""
        status, last = self.record["status"], self.validations[-1] if self.validations else None
        reached = "no validation yet" if last is None else f"the last validation is that of epoch {last['epoch']}"
        if status != "done":
            if self.failure is not None and status in ("running", "failed"):
                return "failed", f"{self.failure}; {reached}"
            said = {"running": "it runs, or was killed", "stopped": "it was stopped", "failed": "it failed"}[status]
            return status, f"{said}; {reached}"
        if last is None:
            return "unfinished", "it has no validation records"
        for key, unit in (("max_epochs", "epoch"), ("max_iters", "step")):
            end = self.config["train_cfg"].get(key)
            if end is not None and last[unit] < end:
                return "unfinished", f"the last validation is that of {unit} {last[unit]}, and {key} is {end}"
        return None


@dataclass(frozen=True)
class Unreadable:
    """A work dir that cannot be read as a run.

    Attributes:
        folder: the work dir.
        reason: what is wrong with it.
    """

    folder: Path
    reason: str


def find_runs(paths: Sequence[Path]) -> tuple[list[Path], list[Unreadable]]:
    """Return the work dirs at or below some folders, each once, in order; and folders that cannot be looked into.

    Links are followed, but no folder is looked into twice.

    Raises:
        UserError: one of the paths is no folder.
    """
    found: list[Path] = []
    refused: list[Unreadable] = []
    seen: set[tuple[int, int]] = set()
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path} is no folder; openmix table takes work dirs, studies, or folders above them")
        found += _walk(path, seen, refused)
    return found, refused


def _walk(top: Path, seen: set[tuple[int, int]], refused: list[Unreadable]) -> Iterator[Path]:
    waiting = [str(top)]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                names = {entry.name: entry.is_dir() for entry in entries}
        except OSError as error:
            refused.append(Unreadable(Path(folder), f"it cannot be looked into: {error.strerror}"))
            continue
        is_run = "run.json" in names
        if is_run:
            yield Path(folder)
        below = [name for name, is_folder in names.items() if is_folder and not (is_run and name in NO_RUNS_IN)]
        waiting += [os.path.join(folder, name) for name in sorted(below, reverse=True)]


def read_run(folder: Path) -> Run | Unreadable:
    """Read a work dir, or say why it cannot be read."""
    try:
        record = read_json(folder / "run.json")
        if type(record.get("seed")) is not int or record.get("status") not in STATUSES:
            raise UserError("run.json is damaged: it has no seed, or none of the states of a run")
        config = literal_config(folder / "config.py")
        if not _says_how_long(config):
            raise UserError("config.py is damaged: train_cfg does not say how long is trained")
        missing = not os.path.lexists(folder / "metrics.jsonl")  # of a run that has just begun
        validations, damaged = ((), 0) if missing else validation_records(folder / "metrics.jsonl")
    except UserError as error:
        return Unreadable(folder, str(error))
    if isinstance(record.get("pretrained"), str):  # the config says where the file lay, and not what it was
        config = {**config, "pretrained": record["pretrained"]}
    return Run(folder, record, config, validations, damaged)


def _says_how_long(config: Mapping[str, Any]) -> bool:
    length = config.get("train_cfg")
    ends = [length.get(key) for key in ("max_epochs", "max_iters")] if isinstance(length, dict) else []
    return any(type(end) is int for end in ends) and all(end is None or type(end) is int for end in ends)
