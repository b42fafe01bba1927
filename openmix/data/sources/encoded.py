"""What data sets share whose images are decoded when asked for: files, and records of one large file."""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
from torch import Tensor

from openmix.data.decoding import decode, load_decoder

__all__ = ["EncodedSource", "only_decodes"]


class EncodedSource:
    """A labelled set of encoded images: uint8 (3, H, W) in RGB once decoded, each of its own size.

    A loader that wants to decode in a way of its own (a part of the image, on a GPU) takes :meth:`encoded`; the rest
    index the set. A subclass gives ``encoded``, ``name`` and ``take``.

    Args:
        labels: int64 (N,), each in [0, len(classes)).
        classes: the class names, in label order.

    Attributes:
        labels: as given.
        classes: the class names as a tuple.
        num_classes: how many classes there are.
    """

    num_classes: int

    def __init__(self, labels: Tensor, classes: Sequence[str]) -> None:
        self.labels = labels
        self.classes = tuple(classes)
        self.num_classes = len(self.classes)
        load_decoder()  # once, before worker processes are forked

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image, uint8 (3, H, W), and its label.

        Raises:
            DamagedImageError: the image is missing, damaged or none.
        """
        return decode(self.encoded(index), self.name(index)), int(self.labels[index])

    def encoded(self, index: int) -> np.ndarray:
        """Return an image's bytes as they are stored, uint8 (n,).

        Raises:
            DamagedImageError: they cannot be read.
        """
        raise NotImplementedError

    def name(self, index: int) -> str:
        """Return what a message calls the image: where to find it."""
        raise NotImplementedError

    def take(self, count: int) -> "EncodedSource":
        """Return the set of the first ``count`` images."""
        raise NotImplementedError


def only_decodes(source: Any) -> TypeGuard[EncodedSource]:
    """Tell whether indexing a set does no more than decode, so that a loader may decode in a way of its own instead."""
    return isinstance(source, EncodedSource) and type(source).__getitem__ is EncodedSource.__getitem__
