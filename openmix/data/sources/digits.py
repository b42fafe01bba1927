"""Real handwritten digits that come with scikit-learn: a data set that needs no network."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from openmix.data.sources.array import ArraySource
from openmix.errors import UserError
from openmix.ops.random import generator_for

__all__ = ["Digits"]

Split = Literal["train", "val", "test"]

TRAIN_POOL = 60  # images of each class
VALIDATION = 50  # images of each class; what is left, 64 to 73 of each class, is the test split


class Digits(ArraySource):
    """The 1,797 handwritten 8 x 8 digits of scikit-learn's ``load_digits`` (UCI's test set of 1998), enlarged.

    Grey levels 0..16 become 0..255, and the images are enlarged bilinearly to ``size`` x ``size``. The split is fixed:
    of each class, shuffled once by a constant key, 60 are the training pool, the next 50 are ``val`` (500 images) and
    the rest are ``test`` (697 images). ``train`` is the first ``labels_per_class`` of each class's pool, so a
    smaller training set is contained in a larger one, and ``val`` and ``test`` never depend on it. Images are in
    round-robin order of the classes, so the first n of any split are balanced as well.

    Args:
        split: which part.
        size: height and width in pixels, at least 8, the originals' own.
        labels_per_class: training images of each class, 1 to 60. The other splits ignore it.

    Raises:
        UserError: a value outside these ranges.

    >>> len(Digits("train")), len(Digits("val")), len(Digits("test")), Digits("val", size=12).image_shape
    (100, 500, 697, (1, 12, 12))
    """

    num_classes: int = 10
    image_shape: tuple[int, int, int] = (1, 16, 16)  # of the default size; an instance's own follows its size

    def __init__(self, split: Split = "train", size: int = 16, labels_per_class: int = 10) -> None:
        if split not in get_args(Split):
            raise UserError(f"Digits has the splits train, val and test, not {split!r}")
        if size < 8:
            raise UserError(f"Digits is enlarged from 8 x 8: size must be at least 8, not {size}")
        if not 1 <= labels_per_class <= TRAIN_POOL:
            raise UserError(f"Digits trains on 1 to {TRAIN_POOL} labels_per_class, not {labels_per_class}")
        levels, labels = _load()
        rank = _rank_in_class(labels)
        first, stop = {
            "train": (0, labels_per_class),
            "val": (TRAIN_POOL, TRAIN_POOL + VALIDATION),
            "test": (TRAIN_POOL + VALIDATION, len(labels)),
        }[split]
        chosen = torch.argsort(rank * self.num_classes + labels)
        chosen = chosen[(rank[chosen] >= first) & (rank[chosen] < stop)]
        super().__init__(_enlarge(levels[chosen], size), labels[chosen], [str(digit) for digit in range(10)])

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` for the ``size`` that the options give."""
        size = options.get("size", cls.image_shape[-1])
        return cls.num_classes, (1, size, size)


def _load() -> tuple[Tensor, Tensor]:
    """Return all the digits: float32 (1797, 8, 8) in 0..16, and their labels, int64 (1797,)."""
    from sklearn.datasets import load_digits  # a second of import that only this source pays

    bunch: Any = load_digits()
    return torch.from_numpy(bunch.images.astype(np.float32)), torch.from_numpy(bunch.target.astype(np.int64))


def _rank_in_class(labels: Tensor) -> Tensor:
    """Return every image's place in its own class's fixed random order, int64 (N,)."""
    rank = torch.empty_like(labels)
    for label in range(10):
        members = (labels == label).nonzero()[:, 0]
        rank[members] = torch.randperm(len(members), generator=generator_for("digits", "split", label))
    return rank


def _enlarge(levels: Tensor, size: int) -> Tensor:
    """Return uint8 (N, 1, size, size) from (N, 8, 8) in 0..16."""
    images = functional.interpolate(levels[:, None], (size, size), mode="bilinear", align_corners=False)
    return (images * (255 / 16)).round().to(torch.uint8)
