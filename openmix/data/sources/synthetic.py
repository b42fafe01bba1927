"""Random images, for dry runs and for measuring speed."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from openmix.data.sources.array import ArraySource
from openmix.data.sources.protocol import HasLayout
from openmix.errors import UserError
from openmix.ops.random import generator_for

__all__ = ["Synthetic"]


class Synthetic(ArraySource):
    """Uniformly random uint8 images with labels 0, 1, 2, ... in turn; the same images every time.

    Args:
        num_classes: how many classes, at least 1.
        image_shape: (C, H, W).
        length: how many images, at least 1.

    Raises:
        UserError: a size below 1, or an image shape that is not three numbers.

    >>> len(Synthetic(10, (3, 32, 32), 64)), Synthetic(10, (3, 32, 32), 64).labels[9:12].tolist()
    (64, [9, 0, 1])
    """

    def __init__(self, num_classes: int, image_shape: Sequence[int], length: int) -> None:
        shape = tuple(image_shape)
        if len(shape) != 3 or min(num_classes, length, *shape) < 1:
            raise UserError(
                "Synthetic takes num_classes >= 1, image_shape (C, H, W) and length >= 1, "
                f"not {num_classes}, {shape}, {length}"
            )
        generator = generator_for("synthetic", num_classes, *shape)
        images = torch.randint(256, (length, *shape), dtype=torch.uint8, generator=generator)
        super().__init__(images, torch.arange(length) % num_classes, [f"class_{c}" for c in range(num_classes)])

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` as the options give them."""
        channels, height, width = options["image_shape"]
        return options["num_classes"], (channels, height, width)

    @classmethod
    def instead_of(cls, source: type[HasLayout], options: Mapping[str, Any], length: int) -> "Synthetic":
        """Return ``length`` random images of the layout that ``source(**options)`` would have, reading no data."""
        return cls(*source.layout(options), length)
