"""What is found in checkpoints: what each says of itself, and whether it is right."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openmix.commands._ckpt_content import epoch_of, unfit_tensor
from openmix.engine.checkpoint import load_checkpoint, read_manifest
from openmix.engine.content import is_count, is_number, printable, spell
from openmix.errors import UserError

__all__ = ["Look", "find_checkpoints", "look_at"]

ALIASES = ("last.pth", "best.pth")


@dataclass(frozen=True)
class Look:
    """What was found in one checkpoint.

    Attributes:
        path: where it lies.
        size: in bytes; None where it is no file.
        written: when, in seconds since 1970; None where it is not there.
        problem: what keeps it from being used; nothing if it is good.
        compared: whether the manifest has its size and SHA-256.
        step: after which it was saved, where it is damaged by the manifest; None where neither says.
        epoch: the one of that step, counted from 1, and how far it had come.
        top1: of the last validation before, in per cent; None where there was none.
    """

    path: Path
    size: int | None = None
    written: float | None = None
    problem: str = ""
    compared: bool = False
    step: int | None = None
    epoch: str = ""
    top1: float | None = None

    @property
    def verdict(self) -> str:
        """What there is to say of its state: ``ok``, ``not in the manifest`` (it loads), or the problem."""
        return self.problem or ("ok" if self.compared else "not in the manifest")


def find_checkpoints(path: Path) -> tuple[Path | None, list[Path]]:
    """Return the folder of checkpoints that a path stands for (None for a single file), and what lies in it.

    Args:
        path: a work dir, its ``checkpoints/``, or a file.

    Raises:
        UserError: there is no such path, or no checkpoint.
    """
    if not os.path.lexists(path):
        raise UserError(f"no work dir, folder of checkpoints or checkpoint {printable(str(path))}")
    if not path.is_dir():
        return None, [path]
    folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    try:
        found = [folder / name for name in os.listdir(folder) if name.endswith(".pth")]
    except OSError as error:
        raise UserError(f"cannot read {printable(str(folder))}: {error.strerror or error}") from error
    if not found:
        raise UserError(f"no checkpoint (.pth) in {printable(str(folder))}")
    return folder, found


def look_at(paths: Iterable[Path], weights_too: bool = False) -> list[Look]:
    """Look into checkpoints: newest first, those without a step last, of the same step the numbered one first.

    Args:
        paths: files, or what stands in their place. Hard links to one file are read once.
        weights_too: whether to look at every weight, too.
    """
    known: dict[Any, Look] = {}
    looks = []
    for path in paths:
        entry = read_manifest(path.parent).get(path.name)
        try:
            stat = path.stat()
            key = (stat.st_dev, stat.st_ino, repr(entry))
        except OSError:
            key = path
        if key not in known:
            known[key] = _look(path, entry, weights_too)
        looks.append(replace(known[key], path=path))
    return sorted(looks, key=_age)


def _age(look: Look) -> tuple[Any, ...]:
    step = -1 if look.step is None else look.step
    return -step, look.path.name in ALIASES, -(look.written or 0), str(look.path)


def _look(path: Path, entry: Mapping[str, Any] | None, weights_too: bool) -> Look:
    step = entry["step"] if entry is not None and is_count(entry["step"]) else None
    try:
        stat = path.stat()
        look = Look(path, written=stat.st_mtime, compared=entry is not None, step=step)
        if path.is_dir():
            return replace(look, problem="damaged: a folder stands in its place")
        if not path.is_file():  # a pipe would be waited for
            return replace(look, problem="damaged: it is no regular file")
        look = replace(look, size=stat.st_size)
        with open(path, "rb"):
            pass
    except OSError as error:
        return Look(path, step=step, problem=f"damaged: it cannot be read: {error.strerror or error}")
    if not stat.st_size:
        return replace(look, problem="damaged: it is empty")
    if entry is not None and entry["size"] != stat.st_size:
        said = f"it has {stat.st_size:,} bytes, by manifest.json {spell(entry['size'])}"
        return replace(look, problem=f"damaged: {said}")
    try:
        state = load_checkpoint(path)
    except UserError as error:
        return replace(look, problem=_reason(str(error), path))
    problem = unfit_tensor(state, stat.st_size) if weights_too else ""
    top1 = state["metrics"].get("top1")
    return replace(
        look,
        problem=f"damaged: {problem}" if problem else "",
        step=state["step"],
        epoch=epoch_of(state),
        top1=float(top1) if is_number(top1) else None,
    )


def _reason(message: str, path: Path) -> str:
    """Return what a message says of a file, without the file's name, which stands before it already."""
    for start in (f"checkpoint {path} is ", f"checkpoint {path} ", f"{path} "):
        message = message.removeprefix(start)
    return printable(message)
