"""The operations' names and numbers."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

__all__ = ["CODES", "OPERATIONS", "WARPS", "is_any"]

WARPS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")

OPERATIONS = (
    "identity", *WARPS, "autocontrast", "equalize", "invert", "posterize", "solarize", "brightness", "contrast",
    "color", "sharpness",
)  # fmt: skip

# the number by which a tensor of operations names each
CODES = {name: number for number, name in enumerate(OPERATIONS)}


def is_any(operation: Tensor, names: Sequence[str]) -> Tensor:
    """Return which of int64 (N,) operations are one of ``names``: bool (N,)."""
    return reduce(torch.logical_or, [operation == CODES[name] for name in names])
