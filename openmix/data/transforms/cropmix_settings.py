"""CropMix's arguments, checked, and the bands of areas that follow from them."""

import itertools
from dataclasses import dataclass
from typing import Any

from openmix.errors import UserError

__all__ = ["NUMBERS", "CropMixSettings"]

NUMBERS = {2: (2,), 3: (3,), 4: (4,), 234: (2, 3, 4)}


@dataclass(frozen=True)
class CropMixSettings:
    """The arguments of :class:`~openmix.data.transforms.CropMix` that its draws depend on, checked.

    Raises:
        UserError: one is out of range.

    >>> CropMixSettings(scale=0.25, number=2).bands(2)
    [(0.25, 0.625), (0.625, 1.0)]
    """

    scale: float = 0.01
    mix_ratio: float = 0.4
    number: int = 234
    operation: int = 0
    inter_aug: bool = False
    size: int = 224
    preset: str | None = None

    def __post_init__(self) -> None:
        if not _is_real(self.scale) or not 0 < self.scale < 1:
            raise UserError(
                "CropMix: scale must be the smallest share of the image's area that a crop has, between 0 and 1, "
                f"got {self.scale!r}"
            )
        if not _is_real(self.mix_ratio) or not 0 < self.mix_ratio < float("inf"):
            raise UserError(f"CropMix: mix_ratio must be Beta's parameter, a number above 0, got {self.mix_ratio!r}")
        if not _is_whole(self.number) or self.number not in NUMBERS:
            raise UserError(
                f"CropMix: number must be 2, 3 or 4 crops, or 234 for one of these in turn, got {self.number!r}"
            )
        if not _is_whole(self.operation) or self.operation not in (0, 1):
            raise UserError(f"CropMix: operation must be 0 for mixup or 1 for cutmix, got {self.operation!r}")
        if not isinstance(self.inter_aug, bool):
            raise UserError(f"CropMix: inter_aug must be True or False, got {self.inter_aug!r}")
        if not _is_whole(self.size) or self.size < 1:
            raise UserError(f"CropMix: size must be the edge of the result in pixels, at least 1, got {self.size!r}")
        if self.preset not in (None, "as_published"):
            raise UserError(f"CropMix: preset must be 'as_published' or None, got {self.preset!r}")
        if self.preset and self.scale > 1 / 3 and 2 in NUMBERS[self.number]:
            raise UserError(
                f"CropMix: preset 'as_published' with 2 crops takes a scale of at most 1/3, not {self.scale}: beyond, "
                "the code as published stops with an empty band"
            )

    def bands(self, number: int) -> list[tuple[float, float]]:
        """Return the smallest and the largest area of each of ``number`` crops, as shares of the image's."""
        if self.preset and number == 2:
            return [(self.scale, (1 - self.scale) / 2), ((1 - self.scale) / 2, 1.0)]
        edges = [self.scale + (1 - self.scale) * k / number for k in range(number + 1)]
        return list(itertools.pairwise(edges))


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
