"""The checkpoints of a run: written whole or not at all, the newest and the best kept.

A file is written beside its place, synced to the disk and renamed; ``last.pth`` and ``best.pth`` are moved on
afterwards; then ``manifest.json`` gets its size and SHA-256. A kill at any moment leaves a ``last.pth`` that loads.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch

from openmix.engine.checkpoint import FORMAT, VERSION, load_checkpoint, matches_manifest, read_manifest
from openmix.engine.content import is_count, not_plain, printable, read_plain, unfit_value
from openmix.engine.files import HashingFile, sha256, write_atomically, writing
from openmix.errors import UserError

__all__ = ["CheckpointFolder"]


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        folder: made when first written to.
        max_keep: how many of the newest ``epoch_N.pth`` / ``iter_N.pth`` to keep.
    """

    def __init__(self, folder: str | Path, max_keep: int = 2) -> None:
        self.folder = Path(folder)
        self.max_keep = max_keep

    def save(self, name: str, state: dict[str, Any], is_best: bool = False) -> Path:
        """Write ``name`` and move ``last.pth`` (and ``best.pth``) on to it; then remove what is too old.

        Raises:
            WriteError: the disk is full, or the folder cannot be written to; what was there before is kept.
            UserError: it could not be loaded again; what was there before is kept.
        """
        path, aliases = self.folder / name, ["last.pth", *(["best.pth"] if is_best else [])]
        with writing(path):
            self.folder.mkdir(exist_ok=True)  # a work dir that has vanished is not made anew, without the rest
            for left_by_a_kill in self.folder.glob(".*.tmp"):
                left_by_a_kill.unlink()
            for in_the_way in [path, *(self.folder / alias for alias in aliases)]:
                _set_aside(in_the_way)
            self._write(path, aliases, {"format": FORMAT, "version": VERSION, **state})
        return path

    def _write(self, path: Path, aliases: list[str], content: dict[str, Any]) -> None:
        # what is about to change has no entry meanwhile: a kill in between must not make it look damaged
        manifest = {k: v for k, v in self._adopted().items() if k not in (path.name, *aliases)}
        self._write_manifest(manifest)
        entry: dict[str, Any] = {"step": content["step"]}
        write_atomically(path, lambda beside: entry.update(_save(content, beside)))
        for alias in aliases:
            write_atomically(self.folder / alias, lambda beside: _link(path, beside))
        manifest |= dict.fromkeys([path.name, *aliases], entry)
        for old in self._numbered(manifest)[self.max_keep :]:
            if old.is_file():
                old.unlink()
        self._write_manifest({k: v for k, v in manifest.items() if (self.folder / k).exists()})

    def newest_good(self, warn: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
        """Return the newest checkpoint that verifies, or None where there is none at all.

        Args:
            warn: told of each damaged one that is passed over.

        Raises:
            UserError: there are checkpoints, and all are damaged.
        """
        damaged: list[str] = []
        tried: list[Path] = []
        manifest = read_manifest(self.folder)
        for path in self._candidates(manifest):
            if any(path.samefile(other) for other in tried):
                continue
            tried.append(path)
            try:
                state = load_checkpoint(path)
            except UserError as error:
                damaged.append(str(error))
                warn(f"{error}; trying another")
                continue
            lost = [self.folder / name for name, entry in manifest.items() if is_count(entry["step"])]
            lost = [path for path in lost if _step_of(path, manifest) > state["step"] and not path.exists()]
            if lost:
                names = ", ".join(sorted(path.name for path in lost))
                warn(f"{self.folder} lacks {names}, which its manifest.json lists")
            return path, state
        if damaged:
            raise UserError("no checkpoint is left to resume from:\n" + "\n".join(damaged))
        return None

    def _adopted(self) -> dict[str, Any]:
        """Return the manifest with entries for checkpoints that a kill has left without one."""
        manifest = read_manifest(self.folder)
        for path in self._candidates(manifest):
            if path.name in manifest or not path.is_file() or (step := _step_of(path, manifest)) < 0:
                continue
            if matches_manifest(path):  # by its own sums
                manifest[path.name] = {"step": step, "size": path.stat().st_size, "sha256": sha256(path)}
        return manifest

    def _candidates(self, manifest: dict[str, Any]) -> list[Path]:
        """Return all checkpoints, newest first; of the same step the numbered one, which an alias is a copy of.

        Those that do not tell their step come before all others: the newest may be among them, and is to be named.
        """
        aliases = [path for name in ("last.pth", "best.pth") if (path := self.folder / name).exists()]
        steps = {path: _step_of(path, manifest) for path in [*self._numbered(manifest), *aliases]}
        return sorted(steps, key=lambda path: math.inf if steps[path] < 0 else steps[path], reverse=True)

    def rewind(self, step: int, aside: Path) -> None:
        """Move the checkpoints of later steps than ``step`` to ``aside``; ``last.pth`` becomes the newest left.

        It is there throughout: a kill in between leaves it as it was, or moved on.
        """
        later, manifest, last = self.after(step), read_manifest(self.folder), self.folder / "last.pth"
        names = {path.name for path in later}
        manifest = {k: v for k, v in manifest.items() if k not in names and (self.folder / k).exists()}
        self._write_manifest(manifest)  # as in a save: what is about to change has no entry meanwhile
        left = [path for path in self._candidates(manifest) if path not in later and path.is_file()]
        left = [path for path in left if _step_of(path, manifest) >= 0]
        if left and (last in later or not last.exists()):
            if last.is_file():
                _link(last, aside / last.name)
                later.remove(last)
            elif last in later:
                shutil.move(last, aside / last.name)
                later.remove(last)
            write_atomically(last, lambda beside: _link(left[0], beside))
            manifest |= {last.name: manifest[left[0].name]} if left[0].name in manifest else {}
        for path in later:
            shutil.move(path, aside / path.name)
        self._write_manifest(manifest)

    def after(self, step: int) -> list[Path]:
        """Return the checkpoints of later steps than ``step``, ``last.pth`` and ``best.pth`` among them."""
        manifest = read_manifest(self.folder)
        return [path for path in self._candidates(manifest) if _step_of(path, manifest) > step]

    def _numbered(self, manifest: dict[str, Any]) -> list[Path]:
        """Return ``epoch_N.pth`` and ``iter_N.pth``, newest first."""
        paths = [p for pattern in ("epoch_*.pth", "iter_*.pth") for p in self.folder.glob(pattern)]
        return sorted(paths, key=lambda path: _step_of(path, manifest), reverse=True)

    def _write_manifest(self, manifest: dict[str, Any]) -> None:
        _set_aside(self.folder / "manifest.json")
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        write_atomically(self.folder / "manifest.json", lambda beside: beside.write_text(text))


def _save(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """Write a file and return its size and SHA-256, of what was meant to be written."""
    with open(path, "wb") as file:
        hashing = HashingFile(file)
        try:
            torch.save(state, cast("Any", hashing))
            hashing.flush()
        except RuntimeError:  # of torch's writer, which has lost its place
            if hashing.error is None:
                raise
            raise hashing.error from None
    try:
        read = read_plain(path, mmap=True)  # reads no tensor's content
        if problem := unfit_value(read):
            raise UserError(problem)
    except Exception as error:
        reason = not_plain(state) or printable(str(error).split("\n")[0])
        raise UserError(f"a hook's state, or what it adds to the checkpoint, is not plain data: {reason}") from error
    return {"size": hashing.size, "sha256": hashing.digest.hexdigest()}


def _set_aside(path: Path) -> None:
    """Give another name to a folder that has taken a file's place."""
    if path.is_dir():
        names = (path.with_name(f"{path.name}.{number}.folder") for number in range(1, 1000))
        path.rename(next(name for name in names if not name.exists()))


def _link(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _step_of(path: Path, manifest: Mapping[str, Any]) -> int:
    """Return a checkpoint's step by its entry; without one, after a kill, by its content; -1 where it has none."""
    if path.name in manifest and is_count(step := manifest[path.name]["step"]):
        return step
    try:
        state = read_plain(path, mmap=True)
    except Exception:
        return -1
    step = state.get("step") if isinstance(state, dict) else None
    return step if is_count(step) else -1
