"""Chains of operations: what a policy draws for a batch, and its application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.augment.filters import colour, sharpen
from openmix.ops.augment.names import CODES, OPERATIONS, WARPS
from openmix.ops.augment.tone import TONES, retone
from openmix.ops.augment.warp import warp
from openmix.ops.plans import OnDevice

__all__ = ["OPERATIONS", "Chain", "choose"]


@dataclass(frozen=True)
class Chain(OnDevice):
    """S operations in a row for each of N images.

    Each step computes, for the whole batch, all that its policy may use, and selects: shapes do not depend on what was
    drawn, so that one compiled graph serves every draw.

    Attributes:
        used: names of :data:`OPERATIONS`; what is not among them is not computed.
        operation: int64 (S, N), numbers in :data:`OPERATIONS`.
        magnitude: float32 (S, N); see :mod:`openmix.ops.augment` for what it means.
    """

    used: tuple[str, ...]
    operation: Tensor
    magnitude: Tensor

    def augment(self, images: Tensor) -> Tensor:
        """Apply the chains to contiguous float32 images (N, C, H, W) in [0, 1]."""
        tones = [name for name in self.used if name in TONES]
        for operation, magnitude in zip(self.operation, self.magnitude, strict=True):
            if self._moves:
                images = warp(images, operation, magnitude)
            if tones:
                images = retone(images, operation, magnitude, tones)
            if "color" in self.used:
                images = colour(images, operation, magnitude)
            if "sharpness" in self.used:
                images = sharpen(images, operation, magnitude)
        return images

    def displace(self, x: Tensor, interpolation: str) -> Tensor:
        """Apply the geometric operations alone to (N, C', H, W), for example depth or class maps.

        Args:
            x: contiguous floating point, or integers, for 'nearest' only.
            interpolation: 'nearest' or 'bilinear'. What comes from outside is 0.

        Raises:
            ValueError: another interpolation.
            TypeError: integers and 'bilinear'.
        """
        check_interpolation(interpolation)
        if not x.is_floating_point() and interpolation != "nearest":
            raise TypeError(f"cannot interpolate {x.dtype} bilinearly; pass floating point values, or 'nearest'")
        if not self._moves:
            return x
        # float64 holds every integer that anybody uses as a class
        wide = x.to(torch.promote_types(x.dtype, torch.float32) if x.is_floating_point() else torch.float64)
        for operation, magnitude in zip(self.operation, self.magnitude, strict=True):
            wide = warp(wide, operation, magnitude, interpolation)
        return wide.to(x.dtype)

    @property
    def _moves(self) -> bool:
        return any(name in WARPS for name in self.used)


def check_interpolation(interpolation: str) -> None:
    """Raise ValueError unless this is 'nearest' or 'bilinear'."""
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(f"interpolation must be 'nearest' or 'bilinear', got {interpolation!r}")


def choose(magnitudes: Mapping[str, Tensor], pick: Tensor) -> Chain:
    """Make the chains of a draw.

    Args:
        magnitudes: of each operation that may be drawn, the magnitudes in case it is: broadcastable to ``pick``.
        pick: int64 (S, N), which of the operations, by their order in ``magnitudes``.
    """
    codes = torch.tensor([CODES[name] for name in magnitudes], device="cpu")
    values = torch.stack([m.expand(pick.shape) for m in magnitudes.values()])
    return Chain(tuple(magnitudes), codes[pick], values.gather(0, pick[None])[0].float())
