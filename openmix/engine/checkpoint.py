"""Reading a checkpoint: verified before use, and data only.

Its size and SHA-256 are compared with its folder's ``manifest.json``. It is read with ``weights_only=True``, always:
nothing in a checkpoint is executed, the config in it is text.
"""

import json
from pathlib import Path
from typing import Any

from openmix.engine.content import read_plain, spell, unfit_value, zip_differs
from openmix.engine.files import sha256
from openmix.errors import UserError

__all__ = ["FORMAT", "VERSION", "ForeignFileError", "load_checkpoint", "matches_manifest", "read_manifest"]

FORMAT = "openmix"
VERSION = 2
CONTENT = frozenset(
    {"step", "timeline", "seed", "best", "metrics", "model", "ema", "optimizer", "scaler", "averages", "hooks"}
)


class ForeignFileError(UserError):
    """Another program's file: it cannot be resumed; its weights may be of use."""


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint of openmix onto the CPU.

    Raises:
        ForeignFileError: the file is not a checkpoint of openmix.
        UserError: the file is missing or damaged.
    """
    path = Path(path)
    if path.is_dir():
        inside = path / "checkpoints" / "last.pth"
        hint = f"; did you mean {inside}?" if inside.is_file() else _others_in(path)
        raise UserError(f"{path} is a folder, not a checkpoint{hint}")
    if not path.is_file():
        raise UserError(f"{path} is no regular file" if path.exists() else f"no checkpoint {path}{_others_in(path)}")
    try:
        if difference := _difference(path):
            raise UserError(f"checkpoint {path} is damaged: {difference}")
        state = read_plain(path)
    except UserError:
        raise
    except Exception as error:  # torch raises whatever the bytes lead it to
        raise UserError(
            f"checkpoint {path} is damaged, or not a file of tensors and plain values alone ({type(error).__name__})"
        ) from error
    if not isinstance(state, dict) or "format" not in state or spell(state["format"]) != spell(FORMAT):
        raise ForeignFileError(f"{path} was not written by openmix's training: it cannot be resumed")
    if spell(version := state.get("version")) != spell(VERSION):
        raise UserError(f"{path} was written by another openmix (format {spell(version)}, this one reads {VERSION})")
    if lacking := CONTENT - state.keys():
        raise UserError(f"checkpoint {path} is incomplete: it lacks {', '.join(sorted(lacking))}")
    if problem := unfit_value(state):
        raise UserError(f"checkpoint {path} is damaged: {problem}")
    return state


def _others_in(path: Path) -> str:
    names = sorted(p.name for p in path.parent.glob("*.pth") if p.is_file() and p != path)
    return f"; {path.parent} holds: {', '.join(names)}" if names else ""


def matches_manifest(path: Path) -> bool:
    """Tell whether a file is what its folder's manifest says, or by its own sums where that says nothing of it."""
    return not _difference(path)


def _difference(path: Path) -> str:
    """Say in what a file is not what was written; nothing if it is.

    A file without an entry in the manifest, as a kill may leave one, is compared with the CRC-32 sums inside it.
    """
    entry = read_manifest(path.parent).get(path.name)
    if entry is not None:
        same = path.stat().st_size == entry["size"] and sha256(path) == entry["sha256"]
        return "" if same else "its size or SHA-256 differs from its manifest.json"
    return zip_differs(path)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest's entries by file name; none where it is missing or damaged."""
    path = folder / "manifest.json"
    try:
        if not path.is_file():  # a pipe or a device would be waited for
            return {}
        manifest = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    keys = ("step", "size", "sha256")
    entries = manifest.items() if isinstance(manifest, dict) else []
    return {
        name: {key: entry[key] for key in keys}
        for name, entry in entries
        if isinstance(entry, dict) and entry.keys() >= set(keys)
    }
