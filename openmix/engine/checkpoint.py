"""Checkpoints: written whole or not at all, verified before use, and data only.

A file is written beside its place, synced to the disk and renamed; ``manifest.json`` holds its size and SHA-256;
``last.pth`` and ``best.pth`` are moved on afterwards. Files are read with ``weights_only=True``, always: nothing in a
checkpoint is executed, the config in it is text.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from openmix.errors import UserError

__all__ = ["FORMAT", "CheckpointFolder", "load_checkpoint", "write_atomically"]

FORMAT = "openmix"
VERSION = 1


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file beside ``path``, sync it, and put it in its place in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint of openmix onto the CPU.

    Raises:
        UserError: the file is missing, damaged, or not a checkpoint of openmix.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no checkpoint {path}{_others_in(path)}")
    if not _matches_manifest(path):
        raise UserError(f"checkpoint {path} is damaged: its size or SHA-256 differs from its manifest.json")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes lead it to
        reason = str(error).split("\n")[0]
        raise UserError(f"checkpoint {path} is damaged, or not a file of tensors: {reason}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} was not written by openmix: it cannot be resumed or tested")
    if state["version"] > VERSION:
        raise UserError(f"{path} was written by a newer openmix (format {state['version']}, this one reads {VERSION})")
    return state


def _others_in(path: Path) -> str:
    names = sorted(p.name for p in path.parent.glob("*.pth")) if path.parent.is_dir() else []
    return f"; {path.parent} holds: {', '.join(names)}" if names else ""


def _matches_manifest(path: Path) -> bool:
    """Tell whether a file is what its folder's manifest says; a file without an entry has nothing to differ from."""
    entry = _read_manifest(path.parent).get(path.name)
    return entry is None or (path.stat().st_size == entry["size"] and _sha256(path) == entry["sha256"])


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


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
        """Write ``name`` and move ``last.pth`` (and ``best.pth``) on to it; then remove what is too old."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        write_atomically(path, lambda beside: torch.save({"format": FORMAT, "version": VERSION, **state}, beside))
        manifest = _read_manifest(self.folder)
        entry = {"step": state["step"], "size": path.stat().st_size, "sha256": _sha256(path)}
        manifest |= dict.fromkeys([name, "last.pth", *(["best.pth"] if is_best else [])], entry)
        # last.pth has no entry of its own while it moves on: a kill in between must not make it look damaged
        self._write_manifest({k: v for k, v in manifest.items() if v is not entry or k == name})
        for alias in ["last.pth", *(["best.pth"] if is_best else [])]:
            write_atomically(self.folder / alias, lambda beside: _link(path, beside))
        kept = self._numbered(manifest)[: self.max_keep]
        for old in self._numbered(manifest)[self.max_keep :]:
            old.unlink()
        names = {p.name for p in kept} | {"last.pth", "best.pth"}
        self._write_manifest({k: v for k, v in manifest.items() if k in names})
        return path

    def newest_good(self, warn: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
        """Return the newest checkpoint that verifies, or None where there is none at all.

        Args:
            warn: told of each damaged one that is passed over.

        Raises:
            UserError: there are checkpoints, and all are damaged.
        """
        damaged = []
        for path in self._numbered(_read_manifest(self.folder)):
            try:
                return path, load_checkpoint(path)
            except UserError as error:
                damaged.append(str(error))
                warn(f"{error}; trying the one before")
        if damaged:
            raise UserError("no checkpoint is left to resume from:\n" + "\n".join(damaged))
        return None

    def _numbered(self, manifest: dict[str, Any]) -> list[Path]:
        """Return ``epoch_N.pth`` and ``iter_N.pth``, newest first: by step, or by time where no step is recorded."""
        paths = [p for pattern in ("epoch_*.pth", "iter_*.pth") for p in self.folder.glob(pattern)]
        recorded = [m["step"] for m in manifest.values()]

        def age(path: Path) -> tuple[float, float]:
            entry = manifest.get(path.name)
            # a file that was renamed into place but not yet entered is the newest of all
            return (entry["step"] if entry else max(recorded, default=0) + 1, path.stat().st_mtime)

        return sorted(paths, key=age, reverse=True)

    def _write_manifest(self, manifest: dict[str, Any]) -> None:
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        write_atomically(self.folder / "manifest.json", lambda beside: beside.write_text(text) and None)


def _link(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
