"""FGVC-Aircraft from the files of its archive."""

import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

from openmix.data.sources.listed import ListedSource, find_root, read_lines
from openmix.errors import UserError

__all__ = ["FGVCAircraft"]

Split = Literal["train", "val", "trainval", "test"]
Level = Literal["variant", "family", "manufacturer"]
CLASS_FILES: dict[str, tuple[str, int]] = {
    "variant": ("variants.txt", 100),
    "family": ("families.txt", 70),
    "manufacturer": ("manufacturers.txt", 30),
}


class FGVCAircraft(ListedSource):
    """FGVC-Aircraft 2013b (Maji et al. 2013): 3,334 training, 3,333 validation and 3,333 test images of aircraft.

    Reads ``data/images/*.jpg``, ``data/images_LEVEL_SPLIT.txt`` and ``data/variants.txt`` (``families.txt``,
    ``manufacturers.txt``) of fgvc-aircraft-2013b.tar.gz. Published results train on ``trainval`` and report ``test``.
    The labels are the lines of the file of classes, as in torchvision.

    Args:
        data_root: the folder ``fgvc-aircraft-2013b``, its ``data``, or the one that holds it.
        split: ``'train'``, ``'val'``, ``'trainval'`` (both) or ``'test'``.
        level: ``'variant'`` (100 classes), ``'family'`` (70) or ``'manufacturer'`` (30).

    Raises:
        UserError: a file is missing or damaged, or an image has a class that the file of classes lacks.
    """

    def __init__(
        self, data_root: str = "data/fgvc-aircraft-2013b", split: Split = "trainval", level: Level = "variant"
    ) -> None:
        if split not in get_args(Split):
            raise UserError(f"FGVCAircraft has the splits {', '.join(get_args(Split))}, not {split!r}")
        if level not in CLASS_FILES:
            raise UserError(f"FGVCAircraft has the levels {', '.join(CLASS_FILES)}, not {level!r}")
        hint = (
            "unpack fgvc-aircraft-2013b.tar.gz (robots.ox.ac.uk/~vgg/data/fgvc-aircraft; "
            "torchvision.datasets.FGVCAircraft can download it)"
        )
        inner = ["data", "fgvc-aircraft-2013b/data"]
        file, _ = CLASS_FILES[level]
        root = find_root("FGVCAircraft", data_root, inner, file, hint)
        classes = [name for line in read_lines(root / file) if (name := line.strip())]
        label_of = {name: label for label, name in enumerate(classes)}
        path = root / f"images_{level}_{split}.txt"
        names, labels = [], []
        for number, line in enumerate(read_lines(path, hint), 1):
            name, _, label = line.strip().partition(" ")
            if not name:
                continue
            if label not in label_of:
                raise UserError(f"{path}, line {number}: {line[:200]!r}; expected an image and a class of {file}")
            names.append(os.path.join("images", f"{name}.jpg"))
            labels.append(label_of[label])
        super().__init__(root, names, labels, classes)

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` for a dry run."""
        return CLASS_FILES[options.get("level", "variant")][1], cls.typical_shape
