"""What a run's work dir says of it while it goes on: read often, so from the ends of files, and nothing is executed."""

import ast
import contextlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from openmix.errors import UserError
from openmix.results.grids.manifest import Entry
from openmix.results.run_files import read_json

__all__ = ["Progress", "is_finished", "is_of", "read_progress", "read_record", "saved_place"]

TAIL = 16 * 1024  # bytes of metrics.jsonl, whose records take some 200 each


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        done: epochs or steps that it has trained.
        length: as many as there will be; None where the work dir does not say.
        unit: 'epoch' or 'step'.
        top1: of the last validation, per cent.
        images_per_s: of the last record.
    """

    done: float = 0
    length: int | None = None
    unit: str = "epoch"
    top1: float | None = None
    images_per_s: float | None = None

    @property
    def place(self) -> str:
        """Say it for people: ``epoch 3/10``."""
        return f"{self.unit} {math.ceil(self.done)}" + (f"/{self.length}" if self.length else "")


def read_record(work_dir: Path) -> Mapping[str, Any]:
    """Return ``run.json``, empty where there is none that can be read."""
    return _read_json(work_dir / "run.json")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        return read_json(path)
    except UserError:
        return {}


def is_of(record: Mapping[str, Any], entry: Entry) -> bool:
    """Tell whether a run is of an entry's config as it is now."""
    return record.get("config_hash") == entry.config_hash


def is_finished(record: Mapping[str, Any], entry: Entry) -> bool:
    """Tell whether an entry needs no more training."""
    return is_of(record, entry) and record.get("status") == "done"


def read_progress(work_dir: Path) -> Progress:
    """Return how far the run in a work dir has come, by the last records of ``metrics.jsonl``.

    Within an epoch half of it is counted, as records do not say how long an epoch is.
    """
    unit, length = _length(work_dir / "config.py")
    done, seen = 0.0, dict[str, Any]()
    for record in _last_records(work_dir / "metrics.jsonl"):
        place = record.get(unit)
        if isinstance(place, int):
            done = place if unit == "step" or record.get("split") == "val" else place - 0.5
        seen.update({k: v for k, v in record.items() if k in ("top1", "images_per_s") and isinstance(v, int | float)})
    return Progress(done, length, unit, seen.get("top1"), seen.get("images_per_s"))


def saved_place(work_dir: Path) -> str:
    """Return where ``--resume`` would go on, such as ``epoch 118/200``; nothing where there is no checkpoint.

    It is the newest one's name that says so, and the folder's manifest which that is: none is opened.
    """
    folder = work_dir / "checkpoints"
    manifest = _read_json(folder / "manifest.json")
    steps = dict[Path, tuple[float, float]]()
    for path in [*folder.glob("epoch_*.pth"), *folder.glob("iter_*.pth")]:
        with contextlib.suppress(OSError):
            entry = manifest.get(path.name)
            step = entry.get("step") if isinstance(entry, dict) else None  # without one: written last, before a kill
            steps[path] = (step if isinstance(step, int) else math.inf, path.stat().st_mtime)
    kind, _, number = max(steps, key=steps.__getitem__).stem.partition("_") if steps else ("", "", "")
    if not number.isdecimal():
        return ""
    unit, length = _length(work_dir / "config.py")
    at = "step" if kind == "iter" else kind
    return Progress(int(number), length if at == unit else None, at).place


def _last_records(path: Path) -> list[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return []
    records = []
    for line in lines[1 if size > TAIL else 0 :]:  # the first one is cut
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # as is the last one, while it is being written
            continue
        records += [record] if isinstance(record, dict) else []
    return records


def _length(config: Path) -> tuple[str, int | None]:
    """Return whether a resolved config counts in epochs or steps, and how many."""
    try:
        return _length_of(config, config.stat().st_mtime_ns)
    except OSError:
        return "epoch", None


@lru_cache(maxsize=10_000)
def _length_of(config: Path, changed: int) -> tuple[str, int | None]:
    try:
        tree = ast.parse(config.read_text(encoding="utf-8"))  # as a run writes it: names and literals
        sections = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
        found = ast.literal_eval(sections["train_cfg"])
    except (OSError, ValueError, SyntaxError, RecursionError, KeyError):
        return "epoch", None
    for key, unit in (("max_epochs", "epoch"), ("max_iters", "step")):
        if isinstance(found, dict) and type(found.get(key)) is int and found[key] > 0:
            return unit, found[key]
    return "epoch", None
