"""Images of one size in a file that is mapped into memory, as ``openmix data cache`` writes it."""

import hashlib
import json
import mmap
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openmix.data.fingerprint import describe
from openmix.data.sources.array import ArraySource
from openmix.errors import UserError

__all__ = ["FORMAT", "HEADER", "IMAGES", "LABELS", "CachedImages", "sha256"]

FORMAT = "openmix images 1"
HEADER, IMAGES, LABELS = "header.json", "images.bin", "labels.bin"
# Without it, Linux would refuse sets larger than memory, as if every page might be written to.
NORESERVE = 0x4000 if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else 0
MADE_BY = "openmix data cache writes such folders"


class _KnownByHeader(ArraySource):
    """Mapped images, or the first of them, which their header tells from others without reading any."""

    header: dict[str, Any]

    def fingerprint(self) -> str:
        """Return what tells this set from others: the header's sum of the images, labels, class names.

        The images are not read: one that was overwritten in the file is found by ``openmix data verify`` alone.
        """
        stored = self.header["files"][IMAGES]["sha256"]
        return describe(len(self), self.classes, self.labels, b"cache", f"{stored} {self.image_shape}".encode())

    def take(self, count: int) -> "_KnownByHeader":
        """Return the set of the first ``count`` images, sharing their memory."""
        taken = _KnownByHeader(self.images[:count], self.labels[:count], self.classes)
        taken.header = self.header
        return taken


class CachedImages(_KnownByHeader):
    """A folder of ``images.bin``, uint8 (N, C, H, W), ``labels.bin``, int64 (N,), and ``header.json``.

    The images are mapped, not read: opening takes no time, a page is read when it is first indexed, all processes on a
    machine share what was read, and the system drops it where memory is short. So the set may be larger than memory,
    and where it is not, it is read from disk once. What is written into ``images`` stays in this process.

    The header says what the files' sizes and SHA-256 sums must be. Sizes and labels are checked when the set is opened;
    the images' sum takes as long as reading them all and is checked by ``openmix data verify``.

    Args:
        path: the folder.
        num_classes: how many classes there must be; None takes what is there.
        image_shape: (C, H, W) as it must be; None takes what is there. With both, a config can be checked where its
            data is not.

    Attributes:
        header: what ``header.json`` says.

    Raises:
        UserError: the folder or a file is missing, damaged or not whole, or the set is another than the options say.
    """

    def __init__(self, path: str, num_classes: int | None = None, image_shape: Sequence[int] | None = None) -> None:
        self.path = Path(path)
        self.header = _read_header(self.path)
        shape = (self.header["length"], *self.header["image_shape"])
        if num_classes not in (None, len(self.header["classes"])):
            raise UserError(f"CachedImages: {path} has {len(self.header['classes'])} classes, not {num_classes}")
        if image_shape is not None and tuple(image_shape) != shape[1:]:
            raise UserError(f"CachedImages: {path} has images {shape[1:]}, not {tuple(image_shape)}")
        for name in (IMAGES, LABELS):
            _check_size(self.path / name, self.header["files"][name]["bytes"])
        if sha256(self.path / LABELS) != self.header["files"][LABELS]["sha256"]:
            raise UserError(f"{self.path / LABELS} is damaged: its SHA-256 is not that of {HEADER}; {MADE_BY}")
        labels = torch.from_numpy(np.fromfile(self.path / LABELS, "<i8").astype(np.int64))
        super().__init__(_mapped(self.path / IMAGES).view(shape), labels, self.header["classes"])

    def __reduce__(self) -> tuple[type["CachedImages"], tuple[str]]:
        """Travel to another process by name: it maps the file itself."""
        return type(self), (str(self.path),)

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` for a dry run: as the options or the header have them.

        Raises:
            UserError: neither has.
        """
        num_classes, shape = options.get("num_classes"), options.get("image_shape")
        if num_classes is None or shape is None:
            try:
                header = _read_header(Path(options["path"]))
            except UserError as error:
                raise UserError(
                    f"{error} (with num_classes and image_shape, a config can be checked without its data)"
                ) from None
            num_classes, shape = num_classes or len(header["classes"]), shape or header["image_shape"]
        if len(shape) != 3:
            raise UserError(f"CachedImages: image_shape must be channels, height and width, not {list(shape)}")
        channels, height, width = shape
        return num_classes, (channels, height, width)


def sha256(path: Path) -> str:
    """Return a file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _read_header(folder: Path) -> dict[str, Any]:
    """Return the header, its types checked.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / HEADER
    if not path.is_file():
        begun = "; it was begun and not ended: the same command goes on" if (folder / f"{IMAGES}.part").exists() else ""
        raise UserError(f"CachedImages: there is no {path}; {MADE_BY}{begun}")
    header: dict[str, Any] = {}
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        length, (channels, height, width) = header["length"], header["image_shape"]
        counts = [length, channels, height, width, *(header["files"][name]["bytes"] for name in (IMAGES, LABELS))]
        texts = [*header["classes"], *(header["files"][name]["sha256"] for name in (IMAGES, LABELS))]
        right = header["format"] == FORMAT and all(isinstance(text, str) for text in texts)
        right = right and all(type(count) is int and count > 0 for count in counts)
        right = right and counts[4:] == [length * channels * height * width, 8 * length]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        right = False
    if not right:
        raise UserError(f"{path} is damaged, or no header of {FORMAT!r}; {MADE_BY}")
    return header


def _check_size(path: Path, expected: int) -> None:
    """Raise UserError unless a file has this many bytes; a shorter one, once mapped, would end the process."""
    found = path.stat().st_size if path.is_file() else None
    if found != expected:
        what = (
            "is missing" if found is None else f"has {found:,} bytes, and {HEADER} says {expected:,}: it is not whole"
        )
        raise UserError(f"{path} {what}; {MADE_BY}")


def _mapped(path: Path) -> Tensor:
    """Return a file's bytes as a tensor, mapped privately: what is written to it reaches neither file nor others."""
    try:
        with path.open("rb") as file:
            return torch.frombuffer(mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE | NORESERVE), dtype=torch.uint8)
    except OSError as error:
        raise UserError(f"{path} cannot be mapped into memory: {error.strerror}") from None
