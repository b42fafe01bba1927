"""Writes a study: configs, manifest and scripts, all or none of them, and nothing that is there already."""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from openmix.engine.files import write_atomically, writing
from openmix.errors import UserError
from openmix.results.grids.combinations import combine
from openmix.results.grids.manifest import MANIFEST, SCHEMA, Entry, Manifest
from openmix.results.grids.runs import RUNS, plan
from openmix.results.grids.scripts import SCRIPTS, script
from openmix.results.grids.spec import Grid
from openmix.results.grids.states import is_of, read_record
from openmix.results.grids.trying import Progress, Tried, ignored_alphas, try_runs

__all__ = ["Made", "make_study"]

CONFIGS = "configs"
LEFT_BY_A_KILL = 3600  # seconds: a folder for trying configs that nobody has touched for so long is nobody's
OF_A_STUDY = (MANIFEST, CONFIGS, RUNS, "queue", "slurm", *SCRIPTS)


@dataclass(frozen=True)
class Made:
    """What became of a study.

    Attributes:
        manifest: its runs now.
        count: how their number comes about.
        new: names of runs that it did not have.
        changed: names of runs whose config is another one now.
        removed: names of runs that it has no more.
        stale: names of runs whose work dir holds another config's results.
        notes: what else there is to say.
    """

    manifest: Manifest
    count: str
    new: list[str]
    changed: list[str]
    removed: list[str]
    stale: list[str]
    notes: list[str]


def make_study(grid: Grid, folder: Path, nproc: int = 1, prune: bool = False, progress: Progress = iter) -> Made:
    """Write the configs of a grid, the manifest and the scripts, whatever of it is not there yet.

    Args:
        grid: what the runs are.
        folder: the study's; made where it is missing. Results in it are never touched.
        nproc: processes a run, in the scripts.
        prune: drop the configs of runs that the grid has not any more.
        progress: yields runs and may show how far their check is.

    Raises:
        UserError: a config would be wrong, the folder holds something else or runs that the grid has not, or it cannot
            be written to. Nothing is written then.
    """
    combinations = combine(grid)
    runs = plan(grid, combinations)
    _check_name(folder)
    old = _old_entries(folder)
    removed = [name for name in old if name not in {run.name for run in runs}]
    if removed and not prune:
        raise UserError(
            f"{folder} has {len(removed)} runs that this grid has not: {_some(removed)}; make it with the whole grid, "
            f"or with --prune, which drops their configs and leaves {RUNS}/ alone"
        )
    configs = folder / CONFIGS
    with _room(folder) as aside:
        tried = try_runs(runs, aside, progress)
        entries = tuple(_entry(each) for each in tried)
        base = os.path.relpath(grid.base.resolve(), folder.resolve())
        manifest = Manifest(folder, base, entries)
        texts = {folder / entry.config: run.text(configs) for entry, run in zip(entries, runs, strict=True)}
        texts |= {folder / name: script(name, folder, entries, nproc) for name in SCRIPTS}
        own = {folder / entry.config for entry in old.values()} | {folder / name for name in SCRIPTS if old}
        _check_room(folder, texts, own)
        differ = {path: text for path, text in texts.items() if _text(path) != text}
        with writing(folder):
            configs.mkdir(exist_ok=True)
            for path, text in differ.items():
                _write(path, text)
            if _text(folder / MANIFEST) != manifest.text():
                _write(folder / MANIFEST, manifest.text())
            for name in removed:
                (folder / old[name].config).unlink(missing_ok=True)
    return Made(
        manifest=manifest,
        count=combinations.count,
        new=[e.name for e in entries if e.name not in old],
        changed=[e.name for e in entries if e.name in old and (e != old[e.name] or folder / e.config in differ)],
        removed=removed,
        stale=[entry.name for entry in entries if _has_results_of_another(manifest, entry)],
        notes=ignored_alphas(tried),
    )


def _entry(tried: Tried) -> Entry:
    name = tried.run.name
    return Entry(name, f"{CONFIGS}/{name}.py", f"{RUNS}/{name}", tried.run.settings, tried.config_hash)


def _check_name(folder: Path) -> None:
    """Raise UserError for a folder whose name cannot stand in a config, where mmengine puts it as text."""
    path = str(folder.absolute())
    if not path.isprintable() or any(mark in path for mark in ('"', "\\", "{{")):
        raise UserError(f"a study's folder has a name of printable characters without quotes, not {path!r}")


def _old_entries(folder: Path) -> dict[str, Entry]:
    """Return the runs that the folder's manifest names; none where it has no manifest, or one that is damaged."""
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise UserError(f"{folder} is no folder, and a study is one")
        return {}
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        strangers = [p.name for p in folder.iterdir() if p.name not in OF_A_STUDY and not p.name.startswith(".")]
        if strangers:
            raise UserError(f"{folder} holds {_some(sorted(strangers))}, and no study; name another folder") from None
        return {}
    except OSError as error:
        raise UserError(f"cannot read {folder / MANIFEST}: {error.strerror}") from error
    if not isinstance(content, dict) and (folder / CONFIGS).is_dir():
        return {}
    if not isinstance(content, dict) or "entries" not in content:
        raise UserError(f"{folder / MANIFEST} is no study's; name another folder")
    try:
        return {entry.name: entry for entry in Manifest.read(folder).entries}
    except UserError:
        if content.get("schema") != SCHEMA:  # a later openmix's
            raise
        return {}


@contextlib.contextmanager
def _room(folder: Path) -> Iterator[Path]:
    """Make the folder, and one in it to try configs in; where that fails, neither is left."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    aside = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(".making-*"):
                if time.time() - left.stat().st_mtime > LEFT_BY_A_KILL:
                    shutil.rmtree(left, ignore_errors=True)
            aside = Path(tempfile.mkdtemp(prefix=".making-", dir=folder))
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}") from error
        yield aside
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
        for path in missing:
            with contextlib.suppress(OSError):  # what has become the study's
                path.rmdir()


def _check_room(folder: Path, texts: Mapping[Path, str], own: set[Path]) -> None:
    """Raise UserError where a file that is to be written would take the place of somebody's."""
    for path, text in texts.items():
        if os.path.lexists(path) and path not in own and _text(path) != text:
            raise UserError(f"{path} is there, and no manifest in {folder} names it; move it, or name another folder")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def _has_results_of_another(manifest: Manifest, entry: Entry) -> bool:
    record = read_record(manifest.work_dir(entry))
    return "config_hash" in record and not is_of(record, entry)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
