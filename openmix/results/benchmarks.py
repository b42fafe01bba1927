"""Our own figures, a row a run with its provenance: ``docs/benchmarks/DATASET.csv``."""

import csv
import hashlib
import io
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path, PurePath
from typing import Any

from filelock import FileLock

from openmix.engine.config_hash import study_hash
from openmix.engine.files import sha256, write_atomically, writing
from openmix.errors import UserError
from openmix.results.naming import label, plain
from openmix.results.reading import Track, read_runs
from openmix.results.rows import LeftOut
from openmix.results.run_files import read_json
from openmix.results.runs import Run
from openmix.results.summaries import number, summarise

__all__ = ["COLUMNS", "add_rows", "read_rows", "record_runs", "rows_of", "when"]

COLUMNS = (
    "dataset", "network", "method", "alpha", "mix_prob", "epochs", "seed", "split", "n_images", "last", "median_last10",
    "best", "best_epoch", "world_size", "threads", "device", "torch", "wall_time_s", "date", "config", "config_hash",
    "study_hash", "git_commit", "log_sha256", "source",
)  # fmt: skip
Record = Mapping[str, str]  # by column
FIGURES = ("last", "median_last10", "best")
DECIMALS = 6  # of a figure in per cent: less than an image in a million
DATE = "%Y-%m-%dT%H:%M:%S%z"
TEST = "test.json"  # what 'openmix test ... --split test --out WORK_DIR/test.json' makes of a run's last checkpoint


def record_runs(paths: Sequence[Path], folder: Path, track: Track = iter) -> tuple[dict[Path, int], int, list[LeftOut]]:
    """Add the finished runs below some folders to the records.

    A run that is there already, by the hash of its ``metrics.jsonl``, is not added again.

    Args:
        paths: studies, work dirs, or folders above them.
        folder: where the records are.
        track: what goes through the work dirs, to show how far it is.

    Returns:
        How many rows each file got, how many were there, and the runs that are not recorded.

    Raises:
        UserError: there are no runs, or a file of records is not one.
        WriteError: a file cannot be written.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder} to record in")
    runs, left_out = read_runs(paths, track)
    by_file: dict[Path, list[Record]] = {}
    for run in runs:
        if run.unfinished is not None:
            left_out.append(LeftOut(run.folder, "", *run.unfinished))
            continue
        try:
            rows = rows_of(run)
        except UserError as error:
            left_out.append(LeftOut(run.folder, "", "damaged", str(error)))
            continue
        by_file.setdefault(folder / f"{_file_name(rows[0]['dataset'])}.csv", []).extend(rows)
    added = {path: add_rows(path, rows) for path, rows in by_file.items()}
    return added, sum(map(len, by_file.values())) - sum(added.values()), left_out


def _file_name(dataset: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", dataset.split(" ")[0].lower()).strip("-") or "unknown"


def rows_of(run: Run) -> list[Record]:
    """Return a finished run's rows: of its validations and, if it has a ``test.json``, of its last checkpoint's test.

    Raises:
        UserError: ``test.json`` is damaged, or older than the run's records.
    """
    summary = summarise(run.validations)
    figures = {**summary.values, "best_epoch": summary.best_epoch, "n_images": run.validations[-1].get("n")}
    rows = [_row(run, _split(run, "val"), figures)]
    test, log = run.folder / TEST, run.folder / "metrics.jsonl"
    if test.exists():
        content = read_json(test)
        if test.stat().st_mtime < log.stat().st_mtime:
            raise UserError(f"{TEST} is older than {log.name}: evaluate the run's last checkpoint anew")
        if number(content.get("top1")) is None:
            raise UserError(f"{TEST} has no top1")
        rows.append(_row(run, _split(run, "test"), {"last": content["top1"], "n_images": content.get("n")}))
    return rows


def _split(run: Run, key: str) -> str:
    """Return which of its data set's splits a loader reads: CIFAR-10's runs are validated on its test split."""
    loader = run.config.get(f"{key}_dataloader")
    dataset = loader.get("dataset") if isinstance(loader, dict) else None
    return plain(dataset.get("split", key)) if isinstance(dataset, dict) else key


def _row(run: Run, split: str, figures: Mapping[str, Any]) -> Record:
    what, record = label(run.config), run.record
    versions = record.get("versions")
    cells = {
        "dataset": what.dataset,
        "network": what.network,
        "method": what.method,
        "alpha": " ".join(f"{a:g}" for a in what.alpha),
        "mix_prob": " ".join(f"{p:g}" for p in what.mix_prob),
        "epochs": what.epochs,
        "split": split,
        **figures,
        **{key: record.get(key) for key in ("seed", "world_size", "threads", "device", "config_hash", "git_commit")},
        "torch": versions.get("torch") if isinstance(versions, dict) else None,
        "wall_time_s": _wall_time(record),
        "date": record.get("end_time"),
        "config": _config(str(record.get("config", ""))),
        "study_hash": study_hash(run.config),
        "log_sha256": sha256(run.folder / "metrics.jsonl"),
        "source": "ours",
    }
    return {column: _spelt(cells.get(column)) for column in COLUMNS}


def _spelt(value: Any) -> str:
    return "" if value is None else plain(round(value, DECIMALS) if isinstance(value, float) else value)


def _wall_time(record: Mapping[str, Any]) -> str:
    """Return the seconds from start to end; nothing for a run that was resumed, which knows its last part alone."""
    if record.get("resumed_at") is not None:
        return ""
    try:
        began, ended = (datetime.strptime(str(record.get(key)), DATE) for key in ("start_time", "end_time"))
    except ValueError:
        return ""
    return f"{(ended - began).total_seconds():.0f}"


def when(date: str) -> datetime:
    """Return the moment of a row's ``date``: of old rows the day alone is known; the earliest of all for no date.

    >>> when("") < when("2026-11-29") == when("2026-11-29T01:00:00+0100") < when("2026-11-29T00:00:01+0000")
    True
    """
    for form in (DATE, "%Y-%m-%d"):
        try:
            moment = datetime.strptime(date, form)
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return datetime.min.replace(tzinfo=timezone.utc)


def _config(path: str) -> str:
    """Return a config's path from ``configs`` on, or its name: where somebody keeps them is nobody's business."""
    parts = PurePath(path).parts
    return "/".join(parts[parts.index("configs") :] if "configs" in parts else parts[-1:])


def read_rows(path: Path) -> list[Record]:
    """Return the rows of a file of records; none where there is no file.

    Raises:
        UserError: it cannot be read, has other columns, or a seed or a figure that is no number.
    """
    if not path.exists():
        return []
    try:
        header, *lines = [*csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))] or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if tuple(header) != COLUMNS or any(len(line) != len(COLUMNS) for line in lines):
        raise UserError(f"{path} has rows of other columns than {','.join(COLUMNS)}")
    rows: list[Record] = [dict(zip(COLUMNS, line, strict=True)) for line in lines]
    for line, row in enumerate(rows, 2):  # the header is the first
        for column in ("seed", *FIGURES):
            if not (_is_seed if column == "seed" else _is_figure)(row[column]):
                raise UserError(f"{path}, row {line}: {column} is {row[column]!r}, which is no number")
    return rows


def _is_seed(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,18}", text, re.ASCII) is not None


def _is_figure(text: str) -> bool:
    """Tell whether a figure is a number, or not known."""
    try:
        return not text or math.isfinite(float(text))
    except ValueError:
        return False


def add_rows(path: Path, rows: Iterable[Record]) -> int:
    """Add rows to a file of records, which stays sorted, and return how many were not there yet.

    Raises:
        UserError: the file is no such file.
        WriteError: it cannot be written.
    """
    with _lock(path):
        known = {_identity(row): row for row in read_rows(path)}
        before = len(known)
        for row in rows:
            known.setdefault(_identity(row), row)
        if len(known) > before:
            out = io.StringIO()
            lines = [[row[column] for column in COLUMNS] for row in sorted(known.values(), key=_order)]
            csv.writer(out, lineterminator="\n").writerows([COLUMNS, *lines])
            with writing(path):
                write_atomically(path, lambda beside: beside.write_text(out.getvalue(), encoding="utf-8"))
        return len(known) - before


def _lock(path: Path) -> FileLock:
    """Return what keeps this user's other processes on this machine from adding to the file, but leaves none by it."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir()) / f"openmix-{os.getuid()}-{name}.lock")


def _identity(row: Record) -> tuple[str, ...]:
    of_run = ("log_sha256", "split", "study_hash", "seed")
    return tuple(row[key] for key in of_run) if row["log_sha256"] else tuple(row.values())


def _order(row: Record) -> tuple[Any, ...]:
    numbers = [
        int(row[key]) if re.fullmatch(r"-?\d{1,18}", row[key]) else -1 for key in ("epochs", "seed", "world_size")
    ]
    words = [row[key] for key in ("dataset", "network", "method", "alpha", "mix_prob")]
    study = row["study_hash"] or row["config"]
    return (*words, numbers[0], study, row["split"], *numbers[1:], row["date"], row["log_sha256"], row["last"])
