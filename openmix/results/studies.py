"""What a study says of its runs that their work dirs do not: which have not begun, and which a queue saw fail."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from openmix.errors import UserError
from openmix.results.grids.manifest import MANIFEST, Manifest
from openmix.results.grids.outcomes import Outcome
from openmix.results.naming import plain
from openmix.results.rows import LeftOut
from openmix.results.runs import Run

__all__ = ["not_begun", "with_outcomes"]

DATE = "%Y-%m-%dT%H:%M:%S%z"


def not_begun(paths: Sequence[Path]) -> list[LeftOut]:
    """Return the entries of studies that have no run yet, and the studies whose manifest is damaged."""
    found: list[LeftOut] = []
    for path in paths:
        if not (path / MANIFEST).is_file():
            continue
        try:
            study = Manifest.read(path)
        except UserError as error:
            found.append(LeftOut(path, "", "damaged", str(error)))
            continue
        for entry in study.entries:
            folder = study.work_dir(entry)
            if not (folder / "run.json").exists():
                found.append(LeftOut(folder, entry.name, *_state(_outcome(study, entry.name))))
    return found


def _state(outcome: Outcome | None) -> tuple[str, str]:
    if outcome is not None and outcome.status == "failed":
        return "failed", plain(outcome.message)
    return "waiting", "it has not begun"


def with_outcomes(runs: Sequence[Run], paths: Sequence[Path]) -> list[Run]:
    """Return runs with the reason for which a queue counts them failed: one that was killed could not say so itself."""
    failed: dict[Path, Outcome] = {}
    for path in paths:
        try:
            study = Manifest.read(path)
        except UserError:  # no study, or one that :func:`not_begun` tells of
            continue
        outcomes = {study.work_dir(entry).resolve(): _outcome(study, entry.name) for entry in study.entries}
        failed |= {folder: o for folder, o in outcomes.items() if o is not None and o.status == "failed"}
    if not failed:
        return [*runs]
    found = [(run, failed.get(run.folder.resolve())) for run in runs]
    return [replace(run, failure=plain(o.message)) if o and not _since(run.record, o) else run for run, o in found]


def _outcome(study: Manifest, name: str) -> Outcome | None:
    return Outcome.read(study.folder / "queue" / f"{name}.json")


def _since(record: Mapping[str, Any], outcome: Outcome) -> bool:
    """Tell whether a run was started again, without a queue, since it failed."""
    try:
        return datetime.strptime(str(record.get("start_time")), DATE) > datetime.strptime(outcome.ended, DATE)
    except ValueError:
        return False
