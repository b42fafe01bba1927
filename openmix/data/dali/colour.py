"""Colours, and the policies that DALI brings along: its operations, our draws.

DALI's operations are not torchvision's to the grey level, and its policies have other sets of them; what differs stands
with each. Which operation, which strength and which sign an image gets is drawn as torchvision draws it.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.data.dali.stages import Drawn
from openmix.errors import UserError

__all__ = ["ColorJitter", "RandAugment", "TrivialAugmentWide"]


class ColorJitter:
    """``v2.ColorJitter``, in DALI's order: contrast before brightness, for one; torchvision draws an order.

    Contrast pivots about mid-grey, torchvision's about the image's own mean. Inputs: the four factors.
    """

    inputs = (0, 0, 0, 0)
    conditional = False

    def __init__(self, transform: Any) -> None:
        self.ranges = [
            transform.brightness or (1.0, 1.0),
            transform.contrast or (1.0, 1.0),
            transform.saturation or (1.0, 1.0),
            transform.hue or (0.0, 0.0),
        ]

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw the factors, uniform within their ranges."""
        u = torch.rand(4, len(sizes), generator=generator)
        return [low + (high - low) * row for (low, high), row in zip(self.ranges, u, strict=True)], sizes

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the images in other colours."""
        from nvidia.dali import fn

        brightness, contrast, saturation, hue = inputs
        return fn.color_twist(images, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue * 360.0)


class _Policy(ABC):
    """Operations one after the other, each drawn from a set. Inputs: which, how strong, and whether negated.

    Args:
        transform: torchvision's.
        operations: how many an image.
    """

    conditional = True

    def __init__(self, transform: Any, operations: int) -> None:
        if transform.fill not in (None, 0, {}) and not isinstance(transform.fill, int | float):
            raise UserError(f"DaliLoader's {type(transform).__name__} fills with one value; use TorchLoader")
        self.fill = transform.fill if isinstance(transform.fill, int | float) else 0
        self.bins = transform.num_magnitude_bins
        self.operations = operations
        self.inputs = (0,) * (3 * operations)

    @abstractmethod
    def suite(self) -> list[Any]:
        """Return DALI's operations."""

    @abstractmethod
    def magnitudes(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Return the bin of each operation's strength, int64 of ``shape``."""

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw operation, strength and sign."""
        shape = (self.operations, len(sizes))
        which = torch.randint(len(self.suite()), shape, generator=generator)
        strength = self.magnitudes(shape, generator)
        negated = torch.randint(2, shape, generator=generator)
        drawn = torch.stack([which, strength, negated], 1).flatten(0, 1).int()
        return list(drawn), sizes

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the images, each through its operations."""
        from nvidia.dali.auto_aug.core import select, signed_bin

        suite = self.suite()
        for i in range(self.operations):
            which, strength, negated = inputs[3 * i : 3 * i + 3]
            with warnings.catch_warnings(record=True):  # DALI warns of its own operators
                images = select(
                    suite, which, data=images, magnitude_bin=signed_bin(strength, negated),
                    num_magnitude_bins=self.bins, fill_value=self.fill,
                )  # fmt: skip
        return images


class RandAugment(_Policy):
    """``v2.RandAugment`` of DALI's operations.

    Those are torchvision's fourteen. Their strengths differ: translations reach 100 pixels (torchvision: 150 / 331 of
    the image's side).
    """

    def __init__(self, transform: Any) -> None:
        super().__init__(transform, transform.num_ops)
        self.magnitude = transform.magnitude

    def suite(self) -> list[Any]:
        """Return DALI's operations."""
        from nvidia.dali.auto_aug.rand_augment import get_rand_augment_suite

        return get_rand_augment_suite()

    def magnitudes(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Return the transform's own strength for each."""
        return torch.full(shape, self.magnitude)


class TrivialAugmentWide(_Policy):
    """``v2.TrivialAugmentWide`` of DALI's operations: one an image, of a strength drawn for it."""

    def __init__(self, transform: Any) -> None:
        super().__init__(transform, 1)

    def suite(self) -> list[Any]:
        """Return DALI's operations."""
        from nvidia.dali.auto_aug.trivial_augment import get_trivial_augment_wide_suite

        return get_trivial_augment_wide_suite()

    def magnitudes(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw a strength for each."""
        return torch.randint(self.bins, shape, generator=generator)
