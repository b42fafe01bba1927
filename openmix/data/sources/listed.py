"""What data sets share whose images are named by a list, and a list in a text file of one's own."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from openmix.data.sources.files import FileSource, PathList
from openmix.errors import UserError

__all__ = ["FileList", "ListedSource", "find_root", "read_lines"]


class ListedSource(FileSource):
    """A labelled set of image files that a list names.

    That a file is there shows when it is read, because looking for a million takes minutes on a network's disk; the
    first one is looked for at once, as a wrong folder lacks that too.

    Args:
        folder: what the names are relative to.
        names: the images' paths.
        labels: of the images, each in [0, len(classes)).
        classes: the class names, in label order.

    Raises:
        UserError: there is no image, a label is out of range, or the first file is missing.
    """

    typical_shape: ClassVar[tuple[int, int, int]] = (3, 256, 256)  # of the random images that stand in for a dry run

    def __init__(self, folder: Path, names: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> None:
        kind = type(self).__name__
        if not names:
            raise UserError(f"{kind}: the list for {folder} names no image")
        array = np.asarray(labels, dtype=np.int64)
        wrong = np.flatnonzero((array < 0) | (array >= len(classes)))
        if len(wrong):
            first = wrong[0]
            raise UserError(
                f"{kind}: {names[first]} has the label {array[first]}, and with {len(classes)} classes labels are "
                f"0..{len(classes) - 1} ({len(wrong)} of {len(names)} images)"
            )
        first = os.path.join(folder, names[0])
        if not os.path.lexists(first):
            raise UserError(f"{kind}: the first image of the list is missing: there is no {first}")
        super().__init__(PathList(str(folder), names), torch.from_numpy(array), classes)

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` for a dry run."""
        del options  # the same for every split
        return cls.num_classes, cls.typical_shape


class FileList(ListedSource):
    """Images and labels from a text file, one image a line.

    A line is ``PATH LABEL``, as in the ``meta`` files that OpenMixup reads, or ``PATH<tab>LABEL``. The label is what
    follows the last space or tab, so a path may hold spaces. A file whose name ends in ``.lst`` is MXNet's:
    ``INDEX<tab>LABEL<tab>PATH``. Labels are integers from 0; ``3.0``, as MXNet writes them, is 3. Empty lines do not
    count. A line that is there twice counts twice, which is how lists oversample; one image with two labels is refused.

    Args:
        data_root: the folder that the paths are relative to; an absolute path stays as it is.
        list_file: the text file.
        num_classes: how many classes there are; None takes the largest label + 1. With it, a config can be checked
            where its data is not.
        classes: the class names in label order, or a text file with one a line; None names them by their number.

    Raises:
        UserError: a file is missing or no text, a line has no label, a label is no integer or out of range, an image
            has two labels, the classes are not ``num_classes``, or the first image is missing.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a cat.jpg", "dog.jpg"):
    ...     _ = (folder / name).write_bytes(b"")
    >>> _ = (folder / "train.txt").write_text("a cat.jpg 1\\ndog.jpg 0\\n")
    >>> source = FileList(str(folder), str(folder / "train.txt"), classes=["dog", "cat"])
    >>> len(source), source.labels.tolist(), os.path.basename(source.name(0)), source.classes
    (2, [1, 0], 'a cat.jpg', ('dog', 'cat'))
    """

    def __init__(
        self,
        data_root: str,
        list_file: str,
        num_classes: int | None = None,
        classes: Sequence[str] | str | None = None,
    ) -> None:
        root, path = Path(data_root), Path(list_file)
        if not root.is_dir():
            raise UserError(f"FileList: data_root is no folder: {root}")
        label_of: dict[str, int] = {}
        names, labels = [], []
        for number, name, label in _rows(path):
            if label_of.setdefault(name, label) != label:
                raise UserError(f"{path}, line {number}: {name} has the label {label}, and {label_of[name]} before")
            names.append(name)
            labels.append(label)
        if not names:
            raise UserError(f"{path} names no image; expected {_expected(path)}")
        known = _class_names(classes, num_classes)
        super().__init__(root, names, labels, known or [str(i) for i in range(max(labels) + 1)])

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` for a dry run: classes as given, or as the list has labels.

        Raises:
            UserError: neither is there.
        """
        if options.get("num_classes") is not None:
            return options["num_classes"], cls.typical_shape
        try:
            known = _class_names(options.get("classes"), None)
            count = len(known) if known else max((row[2] for row in _rows(Path(options["list_file"]))), default=-1) + 1
        except UserError as error:
            raise UserError(f"{error} (with num_classes, a config can be checked without its data)") from None
        return count, cls.typical_shape


def _class_names(classes: Sequence[str] | str | None, num_classes: int | None) -> list[str] | None:
    """Return the names that the options give; None where they say nothing of classes."""
    if num_classes is not None and num_classes < 1:
        raise UserError(f"FileList: num_classes must be at least 1, not {num_classes}")
    if classes is None:
        return None if num_classes is None else [str(i) for i in range(num_classes)]
    names = (
        [name for line in read_lines(Path(classes)) if (name := line.strip())] if isinstance(classes, str) else classes
    )
    if num_classes not in (None, len(names)):
        raise UserError(f"FileList: there are {len(names)} class names, and num_classes is {num_classes}")
    if not names:
        raise UserError("FileList: there are no class names")
    return list(names)


def _expected(path: Path) -> str:
    return "lines of INDEX<tab>LABEL<tab>PATH" if path.suffix == ".lst" else "lines of PATH LABEL, a label from 0"


def _rows(path: Path) -> Iterator[tuple[int, str, int]]:
    """Yield ``(line number, path, label)`` of each image in a list.

    Raises:
        UserError: a line is not as expected.
    """
    for number, line in enumerate(read_lines(path), 1):
        text = line.strip()
        if not text:
            continue
        if path.suffix == ".lst":
            columns = text.split("\t")
            name, label = (columns[2], columns[1]) if len(columns) == 3 else ("", "")
        else:
            name, _, label = text.rpartition("\t" if "\t" in text else " ")
        value = _label(label)
        if value is None or not name.strip():
            raise UserError(f"{path}, line {number}: {text[:200]!r}; expected {_expected(path)}")
        yield number, name.strip(), value


def _label(text: str) -> int | None:
    """Return a label from 0, None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if 0 <= value < 2**31 and value.is_integer() else None


def read_lines(path: Path, hint: str = "") -> list[str]:
    """Return a text file's lines; ``hint`` says what to do where it is missing.

    Raises:
        UserError: it is missing, or no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(f"there is no file {path}{'; ' if hint else ''}{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: it is damaged, or no text ({error})") from None


def find_root(kind: str, data_root: str, inner: Sequence[str], marker: str, hint: str) -> Path:
    """Return the folder that holds ``marker``: ``data_root``, or what an archive unpacks to inside it.

    Raises:
        UserError: it is in none of them.
    """
    root = Path(data_root)
    for folder in (root, *(root / name for name in inner)):
        if (folder / marker).exists():
            return folder
    missing = root / marker if root.is_dir() else root
    raise UserError(f"{kind} was not found: there is no {missing}; {hint}")
