"""A data set that lies in memory as two tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.data.fingerprint import describe, pixels_digest
from openmix.errors import UserError

__all__ = ["ArraySource"]


class ArraySource:
    """Images and labels in memory: the form that both loaders index without going image by image.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), each in [0, len(classes)).
        classes: the class names, in label order.

    Attributes:
        images: as given.
        labels: as given.
        classes: the class names as a tuple.
        num_classes: how many classes there are.
        image_shape: (C, H, W).

    Raises:
        UserError: a wrong dtype or shape, unequal lengths, or a label out of range.

    >>> source = ArraySource(torch.zeros(5, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1, 0, 1, 1]), ("cat", "dog"))
    >>> len(source), source.num_classes, source.image_shape, source[1][1], len(source.take(2))
    (5, 2, (3, 4, 4), 1, 2)
    """

    num_classes: int
    image_shape: tuple[int, int, int]

    def __init__(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise UserError(f"images must be uint8 (N, C, H, W), not {images.dtype} {tuple(images.shape)}")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise UserError(
                f"labels must be int64 ({len(images)},), one for each image, not {labels.dtype} {tuple(labels.shape)}"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
            raise UserError(
                f"labels must lie in 0..{len(classes) - 1} for {len(classes)} classes; "
                f"they span {int(labels.min())}..{int(labels.max())}"
            )
        self.images = images
        self.labels = labels
        self.classes = tuple(classes)
        self.num_classes = len(self.classes)
        _, channels, height, width = images.shape
        self.image_shape = (channels, height, width)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image, uint8 (C, H, W), and its label."""
        return self.images[index], int(self.labels[index])

    def take(self, count: int) -> "ArraySource":
        """Return the set of the first ``count`` images, sharing their memory."""
        return ArraySource(self.images[:count], self.labels[:count], self.classes)

    def fingerprint(self) -> str:
        """Return what tells this set from others, by its pixels, labels and class names.

        See :func:`~openmix.data.fingerprint.source_fingerprint` and :func:`~openmix.data.fingerprint.pixels_digest`.
        """
        return describe(len(self), self.classes, self.labels, b"pixels", pixels_digest(self.images))

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` of the set that these constructor options name, reading no data.

        A dry run asks this, so that a config can be tried out where its data is not.
        """
        del options  # the same for every split; a source whose shape depends on its options overrides this
        return cls.num_classes, cls.image_shape
