"""Convex combination of two tensors."""

import torch
from torch import Tensor

__all__ = ["blend"]


def blend(own: Tensor, other: Tensor, lam: Tensor) -> Tensor:
    """Return ``lam * own + (1 - lam) * other``, computed in float32 at least and cast back.

    A share rounded to bfloat16 would be off by up to 0.002, and the label with it.

    Args:
        own: floating (B, C, H, W).
        other: like ``own``.
        lam: the own share, float32, broadcastable to ``own``.

    Raises:
        TypeError: the tensors hold integers, of which a mixture means nothing (class maps, say).
    """
    if not own.is_floating_point():
        raise TypeError(f"cannot blend {own.dtype}: this method mixes fractions of pixels; pass floating point values")
    wide = torch.promote_types(own.dtype, torch.float32)
    return torch.lerp(other.to(wide), own.to(wide), lam.to(wide)).to(own.dtype)
