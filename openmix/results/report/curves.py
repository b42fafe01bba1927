"""The curves of a run, from ``metrics.jsonl``, and those of a group of runs: a mean over seeds with its band."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from openmix.errors import UserError
from openmix.results.run_files import open_file
from openmix.results.summaries import number

__all__ = ["TRAINING_KEYS", "Curve", "Series", "gather", "training_series", "validation_series"]

Array = npt.NDArray[np.float64]
TRAINING_KEYS = ("loss", "top1_dominant", "lr")
LONGEST = 1 << 16  # bytes; a record has some two hundred
FEW_EPOCHS = 10  # with fewer, a point an epoch says too little


@dataclass(frozen=True)
class Series:
    """What one run recorded of one figure.

    Attributes:
        epochs: how far the run was at each record, in epochs, increasing.
        values: the figure; NaN where the record has none.
        steps: over how many steps each value is a mean; None where it is that of its moment.
    """

    epochs: Array
    values: Array
    steps: Array | None = None


@dataclass(frozen=True)
class Curve:
    """A figure of a group against epochs.

    Attributes:
        epochs: where the points are, increasing.
        mean: over the runs; NaN where one of them has no number.
        low: the least of the runs.
        high: the largest of the runs.
    """

    epochs: Array
    mean: Array
    low: Array
    high: Array


def training_series(folder: Path) -> dict[str, Series]:
    """Read the training records of a work dir: those of :data:`TRAINING_KEYS` that it has.

    Lines that are no training records are passed over, and so are records out of order: what is wrong with a run is
    said where its validations are read. Without a file there is nothing.
    """
    ordered: list[Mapping[str, Any]] = []
    epoch = step = 0
    for record in _records(folder / "metrics.jsonl"):
        if record["epoch"] >= epoch and record["step"] > step:
            ordered.append(record)
            epoch, step = record["epoch"], record["step"]
    if not ordered:
        return {}
    steps = np.diff([0.0] + [float(r["step"]) for r in ordered])
    epochs = _positions([r["epoch"] for r in ordered], [r["step"] for r in ordered])
    found = {}
    for key in TRAINING_KEYS:
        if any(key in record for record in ordered):
            values = np.array([_number(record.get(key)) for record in ordered])
            found[key] = Series(epochs, values, None if key == "lr" else steps)
    return found


def validation_series(validations: Iterable[Mapping[str, Any]], key: str) -> Series | None:
    """Take one figure out of validation records; None if none of them has it."""
    records = {r["epoch"]: r for r in validations if _is_count(r.get("epoch")) and key in r}  # the last of each epoch
    if not records:
        return None
    order = sorted(records)
    return Series(np.array(order, dtype=float), np.array([_number(records[epoch][key]) for epoch in order]))


def gather(runs: Sequence[Series], points: int) -> Curve:
    """Return the curve of several runs of one config, in at most ``points`` points.

    A point stands for an epoch, for as many as it takes to need no more points, or for less than one where there are
    fewer than 10. It is the mean over these steps where records are means, and their last record where they are not.
    """
    length = max(run.epochs[-1] for run in runs)
    width = math.ceil(length / points) if length >= FEW_EPOCHS else length / points
    bins = [np.ceil(run.epochs / width - 1e-9).astype(int) for run in runs]
    size = 1 + max(int(index[-1]) for index in bins)
    epochs = np.full(size, np.nan)
    table = np.full((len(runs), size), np.nan)
    for row, run, index in zip(table, runs, bins, strict=True):
        last = np.flatnonzero(np.diff(index, append=index[-1] + 1))  # the last record of each bin
        epochs[index[last]] = np.fmax(epochs[index[last]], run.epochs[last])
        if run.steps is None:
            row[index[last]] = run.values[last]
        else:
            total = np.bincount(index, run.steps, size)[index[last]]
            row[index[last]] = np.bincount(index, run.steps * run.values, size)[index[last]] / total
    there = np.flatnonzero(~np.isnan(epochs))
    table = table[:, there]
    return Curve(epochs[there], table.mean(axis=0), table.min(axis=0), table.max(axis=0))


def _records(path: Path) -> list[Mapping[str, Any]]:
    """Read the training records; other lines are not even parsed."""
    try:
        with open_file(path) as file:
            lines = [line for line in iter(lambda: file.readline(LONGEST), b"") if b'"train"' in line]
    except (OSError, UserError):
        return []
    try:
        found = json.loads(b"[" + b",".join(lines) + b"]")  # at once, in half the time
    except (ValueError, RecursionError):
        found = [_parsed(line) for line in lines]
    return [record for record in found if _is_training_record(record)]


def _is_training_record(value: object) -> bool:
    if not isinstance(value, dict) or value.get("split") != "train":
        return False
    return _is_count(value.get("epoch")) and _is_count(value.get("step"))


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _positions(epochs: Sequence[int], steps: Sequence[int]) -> Array:
    """Return how far, in epochs, a run was at each record; every epoch has a record at its last step."""
    ends = dict(zip(epochs, steps, strict=True))
    starts = {epoch: ends.get(epoch - 1, 0) for epoch in ends}
    last = epochs[-1]  # it may not have come to its end: it is as long as the one before, if there is one
    if last - 1 in ends:
        ends[last] = max(ends[last], starts[last] + ends[last - 1] - starts[last - 1])
    return np.array([e - 1 + (s - starts[e]) / (ends[e] - starts[e]) for e, s in zip(epochs, steps, strict=True)])


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 53


def _number(value: object) -> float:
    """Return a finite number, or NaN; beyond 1e100 a network has diverged, and sums would overflow."""
    found = number(value)
    return math.nan if found is None or abs(found) > 1e100 else found
