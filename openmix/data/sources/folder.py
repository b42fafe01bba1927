"""Images in one folder a class."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from openmix.data.sources.files import FileSource, PathList
from openmix.errors import UserError, did_you_mean

__all__ = ["IMAGE_SUFFIXES", "ImageFolder", "class_folders", "list_by_class", "walk_images"]

IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".ppm",
    ".bmp",
    ".pgm",
    ".tif",
    ".tiff",
    ".webp",
)  # torchvision's ImageFolder
SPLITS = {"train", "val", "valid", "validation", "test"}


class ImageFolder(FileSource):
    """The images below one folder a class; the folders' names, sorted, are the labels 0, 1, 2, ...

    Images may lie in further folders inside a class's. They are in the order of torchvision's ``ImageFolder``, which
    takes a few more: here files and folders whose names begin with a dot are ignored, so that an ``.ipynb_checkpoints``
    becomes no class; and so are links to a folder that they lie in, pipes and devices. What counts is a name's ending:
    jpg, jpeg, png, ppm, bmp, pgm, tif, tiff or webp, in either case.

    A class without images is kept and warned of: left out, it would shift the labels of all that follow against
    those of the other split; and refused, a small validation set could not be used.

    Args:
        data_root: the folder.
        split: a folder inside it that holds the classes, such as 'train'; None where ``data_root`` holds them itself.
        num_classes: how many classes there must be; None takes what is there. With it, a config can be checked where
            its data is not.

    Raises:
        UserError: the folder is missing, holds no class, no image, or not as many classes as ``num_classes``.
    """

    typical_shape: ClassVar[tuple[int, int, int]] = (3, 256, 256)  # of the random images that stand in for a dry run

    def __init__(self, data_root: str, split: str | None = None, num_classes: int | None = None) -> None:
        folder = self.find(data_root, split)
        classes = class_folders(folder)
        if not classes:
            raise UserError(f"{type(self).__name__}: {folder} holds no folder; {self.layout_hint()}")
        if split is None and SPLITS.issuperset(classes):
            raise UserError(f"{type(self).__name__}: {folder} holds {', '.join(classes)}: choose one by split=")
        if num_classes not in (None, len(classes)):
            raise UserError(
                f"{type(self).__name__}: {folder} holds {len(classes)} folders where there should be one for each of "
                f"{num_classes} classes: {_some(classes)}"
            )
        super().__init__(*list_by_class(folder, classes), classes)

    @classmethod
    def find(cls, data_root: str, split: str | None) -> Path:
        """Return the folder that holds the classes.

        Raises:
            UserError: it is not there.
        """
        root = Path(data_root)
        folder = root / split if split else root
        if folder.is_dir():
            return folder
        missing, near = (folder, did_you_mean(str(split), class_folders(root))) if root.is_dir() else (root, "")
        raise UserError(f"{cls.__name__}: there is no folder {missing}{near}; {cls.layout_hint()}")

    @classmethod
    def layout_hint(cls) -> str:
        """Return how the files should lie, for an error message."""
        return "images are read from one folder a class: DATA_ROOT/SPLIT/CLASS/*.jpg, or DATA_ROOT/CLASS/*.jpg"

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` for a dry run: classes as given or as there are folders.

        Raises:
            UserError: neither is there.
        """
        num_classes = options.get("num_classes")
        if num_classes is None:
            try:
                num_classes = len(class_folders(cls.find(options["data_root"], options.get("split"))))
            except UserError as error:
                raise UserError(f"{error} (with num_classes, a config can be checked without its data)") from None
        return num_classes, cls.typical_shape


def class_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without those that begin with a dot.

    A link to a folder that it lies in is none of them.

    Raises:
        UserError: the folder cannot be read.
    """
    above = (os.path.realpath(folder),)
    return sorted(entry.name for entry in _scan(str(folder)) if _is_folder(entry) and not _leads_up(entry, above))


def list_by_class(folder: Path, classes: Sequence[str]) -> tuple[PathList, Tensor]:
    """Return the paths below ``folder``'s class folders, and their labels, int64 (N,).

    Raises:
        UserError: there is no image, or a folder cannot be read.
    """
    names: list[str] = []
    counts = []
    for name in classes:
        found = [os.path.join(name, inner, image) for inner, images in walk_images(folder / name) for image in images]
        names += found
        counts.append(len(found))
    if not names:
        raise UserError(f"{folder} holds no image: no name in its class folders ends in {', '.join(IMAGE_SUFFIXES)}")
    empty = [name for name, count in zip(classes, counts, strict=True) if not count]
    if empty:
        warnings.warn(f"{folder}: no image of {len(empty)} of {len(classes)} classes: {_some(empty)}", stacklevel=3)
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor(counts))
    return PathList(str(folder), names), labels


def walk_images(folder: Path) -> list[tuple[str, list[str]]]:
    """Return every folder from ``folder`` down, relative to it, with its images' names.

    Both are sorted; '' is the folder itself. Names that begin with a dot are left out. Links are followed, unless they
    lead to a folder that they lie in. A pipe, socket or device is no image, whatever its name; a link to nothing is
    listed, so that whoever reads it hears of it.

    Raises:
        UserError: a folder cannot be read.
    """
    found: dict[str, list[str]] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(folder),))]
    while waiting:
        inner, above = waiting.pop()  # and the real paths of the folders that led to it, its own the last
        images = found[inner] = []
        for entry in _scan(os.path.join(folder, inner)):
            if _is_folder(entry):
                if not _leads_up(entry, above):
                    real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name)
                    waiting.append((os.path.join(inner, entry.name), (*above, real)))
            elif entry.name.lower().endswith(IMAGE_SUFFIXES) and _may_be_image(entry):
                images.append(entry.name)
        images.sort()
    return sorted(found.items())


def _scan(folder: str) -> list[os.DirEntry[str]]:
    """Return what lies in a folder and does not begin with a dot.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read: {error.strerror}") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _may_be_image(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() or not os.path.exists(entry.path)
    except OSError:  # as above
        return True


def _leads_up(entry: os.DirEntry[str], above: Sequence[str]) -> bool:
    """Tell whether a link leads to one of the real paths of folders, or to one in which such a folder lies."""
    if not entry.is_symlink():
        return False
    target = os.path.join(os.path.realpath(entry.path), "")
    return any(os.path.join(path, "").startswith(target) for path in above)


def _some(names: Sequence[str]) -> str:
    """Return the first few names."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
