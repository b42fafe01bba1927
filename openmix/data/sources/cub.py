"""CUB-200-2011 from the files of its archive."""

from pathlib import Path
from typing import Literal

from openmix.data.sources.listed import ListedSource, find_root, read_lines
from openmix.errors import UserError

__all__ = ["CUB200"]


class CUB200(ListedSource):
    """CUB-200-2011 (Wah et al. 2011): 5,994 training and 5,794 test images of birds in 200 classes.

    Reads ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt``, ``classes.txt`` and ``images/`` as
    CUB_200_2011.tgz has them. The labels are the archive's class numbers less 1; images are in the order of
    ``images.txt``. There are as many classes as ``classes.txt`` has lines.

    Args:
        data_root: the folder ``CUB_200_2011``, or the one that holds it.
        split: ``'train'`` or ``'test'``.

    Raises:
        UserError: a file is missing or damaged, or the files do not agree.
    """

    num_classes: int = 200

    def __init__(self, data_root: str = "data/CUB_200_2011", split: Literal["train", "test"] = "train") -> None:
        if split not in ("train", "test"):
            raise UserError(f"CUB200 has the splits train and test, not {split!r}")
        hint = "unpack CUB_200_2011.tgz (data.caltech.edu, 'CUB-200-2011') and give its folder as data_root"
        root = find_root("CUB200", data_root, ["CUB_200_2011"], "images.txt", hint)
        names, label_of, in_train, classes = (
            _table(root / f"{name}.txt") for name in ("images", "image_class_labels", "train_test_split", "classes")
        )
        for path, table in (("image_class_labels.txt", label_of), ("train_test_split.txt", in_train)):
            if table.keys() != names.keys():
                number = min(table.keys() ^ names.keys())
                raise UserError(f"{root}: image {number} is in one of images.txt and {path} alone; one is damaged")
        if sorted(classes) != list(range(1, len(classes) + 1)):
            raise UserError(f"{root / 'classes.txt'} does not number its classes 1, 2, 3, ...; it is damaged")
        wanted = "1" if split == "train" else "0"
        chosen = [number for number in names if in_train[number] == wanted]
        try:
            labels = [int(label_of[number]) - 1 for number in chosen]
        except ValueError as error:
            raise UserError(f"{root / 'image_class_labels.txt'} holds a label that is no number ({error})") from None
        super().__init__(
            root / "images", [names[number] for number in chosen], labels, [classes[i] for i in sorted(classes)]
        )


def _table(path: Path) -> dict[int, str]:
    """Return what a file of ``NUMBER TEXT`` lines says of each number.

    Raises:
        UserError: it is missing, has another line, or a number twice.
    """
    found: dict[int, str] = {}
    for row, line in enumerate(read_lines(path), 1):
        number, _, text = line.strip().partition(" ")
        if not number:
            continue
        if not number.isdecimal() or not text or int(number) in found:
            raise UserError(f"{path}, line {row}: {line[:200]!r}; expected a number not seen before, a space and text")
        found[int(number)] = text.strip()
    return found
