"""Which images go into a RecordIO file, with their labels: a folder a class, or a list as MXNet's im2rec writes it."""

import hashlib
import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from openmix.data.sources.files import PathList
from openmix.data.sources.folder import class_folders, list_by_class
from openmix.data.whole_files import write_whole
from openmix.errors import UserError, did_you_mean

__all__ = ["Listing", "list_folder", "list_text", "read_classes", "read_list", "write_classes"]

MOST_CLASSES = 2**24


@dataclass(frozen=True)
class Listing:
    """Images in the order in which they are packed.

    Attributes:
        paths: of all images that were listed.
        keys: int64 (N,), each image's number in the index, by which ``places`` finds its path.
        labels: float32 (N, k).
        places: int64 (N,), each image's place in ``paths``.
        classes: the class names in label order; None where they are not known.
    """

    paths: PathList
    keys: np.ndarray
    labels: np.ndarray
    places: np.ndarray
    classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def path(self, number: int) -> str:
        """Return an image's path."""
        return self.paths[int(self.places[number])]

    def name(self, number: int) -> str:
        """Return an image's path below the folder."""
        return self.path(number).removeprefix(os.path.join(self.paths.folder, ""))

    def taken(self, numbers: Sequence[int] | np.ndarray) -> "Listing":
        """Return some of the images, in the order of their numbers."""
        where = np.asarray(numbers, np.int64)
        return replace(self, keys=self.keys[where], labels=self.labels[where], places=self.places[where])

    def shuffled(self, seed: int) -> "Listing":
        """Return the images in random order; with the seed 100 in that of MXNet's im2rec."""
        order = list(range(len(self)))
        random.Random(seed).shuffle(order)
        return self.taken(order)

    def shard(self, number: int, count: int) -> "Listing":
        """Return one of ``count`` parts of nearly equal size."""
        return self.taken(np.arange(len(self) * number // count, len(self) * (number + 1) // count))

    def histogram(self) -> tuple[int, ...] | None:
        """Return the number of images of each class; None where the labels are not one class an image."""
        if self.labels.shape[1] != 1 or not len(self):
            return None
        labels = self.labels[:, 0]
        if ((labels < 0) | (labels != np.floor(labels)) | (labels >= MOST_CLASSES)).any():
            return None
        return tuple(np.bincount(labels.astype(np.int64), minlength=len(self.classes or ())).tolist())

    def fingerprint(self, options: Mapping[str, Any]) -> str:
        """Return a hash of all that the packed file depends on, for images told apart by path and size.

        Where the folder lies makes no difference.
        """
        digest = hashlib.sha256(json.dumps([options, self.classes], sort_keys=True).encode())
        digest.update(self.keys.tobytes() + self.labels.tobytes())
        for number in range(len(self)):
            path = self.path(number)
            try:
                size = os.stat(path).st_size
            except OSError:
                size = -1
            digest.update(os.fsencode(self.name(number)) + b"\0%d\0" % size)
        return digest.hexdigest()


def list_folder(folder: Path, classes: Sequence[str] | None = None) -> Listing:
    """List the images below one folder a class, as :class:`openmix.data.ImageFolder` does.

    Args:
        folder: that holds the classes.
        classes: their names in label order; None takes the folders', sorted.

    Raises:
        UserError: there is no image, or a folder that is none of the classes.
    """
    found = class_folders(folder)
    if not found:
        raise UserError(f"{folder} holds no folder; images are packed from one folder a class: {folder}/CLASS/*.jpg")
    names = tuple(classes or found)
    for name in found:
        if name not in names:
            raise UserError(f"{folder / name} is none of the {len(names)} classes{did_you_mean(name, names)}")
    present = [name for name in names if name in set(found)]
    paths, labels = list_by_class(folder, present)
    numbers = np.array([names.index(name) for name in present], np.float32)[labels.numpy()]
    order = np.arange(len(paths), dtype=np.int64)
    return Listing(paths, order, numbers[:, None], order, names)


def read_list(file: Path, root: Path, classes: Sequence[str] | None = None, pack_label: bool = False) -> Listing:
    """Read a list: lines of a number, one label or several, and a path below ``root``, with tabs between.

    A label is a class number, unless ``pack_label`` is given.

    Args:
        file: the .lst.
        root: what the paths are relative to.
        classes: the class names in label order.
        pack_label: whether an image may have several labels, of which all then have as many, and of any numbers.

    Raises:
        UserError: it cannot be read, or a line is wrong.
    """
    try:
        lines = file.read_text("utf-8-sig", "surrogateescape").split("\n")  # Windows puts a mark before the text
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    keys, labels, names = [], [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            key, *values = line.rstrip("\r").split("\t")
            name = values.pop() if values else ""
            keys.append(_key(key))
            labels.append([_label(value, pack_label or len(values) > 1) for value in values])
            if "\0" in name:
                raise ValueError(f"the path {name[:60]!r} holds a NUL byte, which no file's does")
            names.append(name)
            _check_labels(labels, pack_label, classes)
        except ValueError as error:
            raise UserError(f"{file}, line {number}: {error}; a line is NUMBER, tab, LABEL, tab, PATH") from None
    if not names:
        raise UserError(f"{file} names no image")
    array = np.array(keys, np.int64)
    if len(np.unique(array)) < len(array):
        raise UserError(f"{file} has a number twice; each image has one of its own")
    return Listing(
        PathList(str(root), names),
        array,
        np.array(labels, np.float32),
        np.arange(len(names)),
        tuple(classes) if classes else None,
    )


def _key(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError(f"'{text[:30]}' is no number of an image")
    return int(text)


def _label(text: str, any_number: bool) -> float:
    with np.errstate(over="ignore"):
        value = np.float32(text)
    if not np.isfinite(value):
        raise ValueError(f"'{text[:30]}' is no label")
    # float32, in which labels are stored, has all whole numbers up to 2^24
    if not any_number and not (0 <= value < MOST_CLASSES and float(text).is_integer()):
        raise ValueError(
            f"the label '{text[:30]}' is no class, a whole number from 0 to {MOST_CLASSES - 1}; --pack-label packs any"
        )
    return float(value)


def _check_labels(labels: Sequence[Sequence[float]], pack_label: bool, classes: Sequence[str] | None) -> None:
    """Raise ValueError if the last image's labels do not fit the first one's, the classes or the options."""
    values = labels[-1]
    if not values or len(values) != len(labels[0]):
        raise ValueError(f"there are {len(values)} labels, where there should be {len(labels[0]) or 1}")
    if len(values) > 1 and not pack_label:
        raise ValueError(f"there are {len(values)} labels, which only --pack-label packs")
    if classes and (len(values) > 1 or values[0] not in range(len(classes))):
        raise ValueError(f"the label {values[0]:g} is none of {len(classes)} classes")


def list_text(listing: Listing) -> str:
    """Return the text of a .lst.

    >>> empty = np.arange(1)
    >>> list_text(Listing(PathList("set", ["cat/1.jpg"]), empty + 7, np.ones((1, 1)), empty))
    '7\\t1.000000\\tcat/1.jpg\\n'
    """
    lines = []
    for number in range(len(listing)):
        name = listing.name(number)
        if "\t" in name or "\n" in name or "\r" in name:
            raise UserError(f"{listing.path(number)!r} has a tab or a line's end in its name, which no list can hold")
        labels = "\t".join(f"{value:f}" for value in listing.labels[number].tolist())
        lines.append(f"{listing.keys[number]}\t{labels}\t{name}\n")
    return "".join(lines)


def read_classes(file: Path) -> tuple[str, ...] | None:
    """Return the class names of a JSON file: a list, or an object of each name's label; None where there is no file.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    if file.exists() and not file.is_file():  # a pipe would be waited for
        raise UserError(f"the classes cannot be read from {file}: it is no regular file")
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"the classes cannot be read from {file}: {error}") from None
    if isinstance(content, dict) and sorted(map(str, content.values())) == sorted(map(str, range(len(content)))):
        content = sorted(content, key=lambda name: int(content[name]))
    if not isinstance(content, list) or not content or not all(isinstance(name, str) for name in content):
        raise UserError(f"{file} should hold a list of class names, or an object of their labels 0, 1, 2, ...")
    if len(set(content)) < len(content):
        raise UserError(f"{file} names a class twice")
    return tuple(content)


def write_classes(file: Path, classes: Sequence[str]) -> None:
    """Write a list of class names."""
    write_whole(file, (json.dumps(list(classes), indent=0, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"))
