"""iNaturalist's competition sets, from their JSON files or from folders."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from openmix.data.sources.files import FileSource
from openmix.data.sources.folder import class_folders, list_by_class
from openmix.data.sources.listed import ListedSource
from openmix.errors import UserError

__all__ = ["INaturalist"]

NUM_CLASSES = {2017: 5089, 2018: 8142, 2019: 1010, 2021: 10000}


class INaturalist(ListedSource):
    """iNaturalist 2017 (5,089 classes), 2018 (8,142), 2019 (1,010) or 2021 (10,000).

    Reads ``train2018.json`` or ``val2018.json`` (``train.json`` and ``val.json``, too, as 2021 has them), whose
    ``file_name`` is relative to ``data_root``: ``train_val2018/Aves/2761/*.jpg``. The labels are the rank of the
    categories' ids, which are 0, 1, 2, ... in the official files. Images are in the JSON's order.

    Where there is no JSON, one folder a class is read: ``train/Aves/2761/*.jpg``, classes sorted by their last folder's
    number where all are numbers (2018, 2019), else by path (2017), as torchvision does; or ``train/CLASS/*.jpg``, as
    2021 unpacks. The labels of the two forms agree where the folders' names begin with the ids: all but 2017.

    Args:
        data_root: the folder that holds the JSON files and what the archives unpack to.
        split: ``'train'`` or ``'val'``.
        year: 2017, 2018, 2019 or 2021.

    Raises:
        UserError: neither form is there, or a JSON file is damaged or does not agree with itself.
    """

    def __init__(
        self, data_root: str = "data/inaturalist", split: Literal["train", "val"] = "train", year: int = 2018
    ) -> None:
        if year not in NUM_CLASSES or split not in ("train", "val"):
            raise UserError(
                f"INaturalist has the years {', '.join(map(str, NUM_CLASSES))} and the splits train and val, "
                f"not {year!r} {split!r}"
            )
        root = Path(data_root)
        files = [root / f"{split}{year}.json", root / f"{split}.json"]
        if path := next((file for file in files if file.is_file()), None):
            super().__init__(root, *_read(path))
        elif (root / split).is_dir():
            classes = _classes(root / split)
            FileSource.__init__(self, *list_by_class(root / split, classes), classes)
        else:
            raise UserError(
                f"INaturalist was not found: there is no {files[0]}, and no folder {root / split}; fetch the JSON and "
                "the images of the year at github.com/visipedia/inat_comp and unpack both there"
            )

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` for a dry run."""
        return NUM_CLASSES.get(options.get("year", 2018), 8142), cls.typical_shape


def _read(path: Path) -> tuple[list[str], list[int], list[str]]:
    """Return the names, labels and classes of a JSON file.

    Raises:
        UserError: it is damaged.
    """
    try:
        with path.open(encoding="utf-8") as file:
            content = json.load(file)
        categories = sorted((row["id"], str(row["name"])) for row in content["categories"])
        category_of = {row["image_id"]: row["category_id"] for row in content["annotations"]}
        images = [(row["id"], str(row["file_name"])) for row in content["images"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged, or no list of iNaturalist, with images, annotations and categories "
            f"({type(error).__name__}: {error})"
        ) from None
    label_of = {number: label for label, (number, _) in enumerate(categories)}
    if len(label_of) < len(categories) or len(category_of) < len(content["annotations"]):
        raise UserError(f"{path} has an id twice among its categories, or two annotations of one image")
    unknown = [name for number, name in images if category_of.get(number) not in label_of]
    if unknown:
        raise UserError(f"{path} has no category for {unknown[0]} ({len(unknown)} of {len(images)} images)")
    labels = [label_of[category_of[number]] for number, _ in images]
    return [name for _, name in images], labels, [name for _, name in categories]


def _classes(folder: Path) -> list[str]:
    """Return the classes' folders, relative to ``folder``, in label order.

    Raises:
        UserError: there is none.
    """
    outer = class_folders(folder)
    classes = [os.path.join(name, inner) for name in outer for inner in class_folders(folder / name)] or outer
    if not classes:
        raise UserError(f"INaturalist: {folder} holds no folder; expected CLASS/*.jpg or GROUP/CLASS/*.jpg")
    numbers = [os.path.basename(name) for name in classes]
    if not all(number.isdecimal() for number in numbers):
        return classes
    by_number = dict(zip(map(int, numbers), classes, strict=True))
    if sorted(by_number) != list(range(len(classes))):
        missing = min(set(range(len(classes))) - by_number.keys())
        raise UserError(
            f"INaturalist: {folder} holds {len(classes)} folders named by numbers, and none is {missing}: without it "
            "the labels would not be the numbers; for a part of the classes use ImageFolder"
        )
    return [by_number[i] for i in range(len(classes))]
