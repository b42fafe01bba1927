"""Geometric operations: one sampling of the whole batch serves them all, by a matrix for each image."""

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.augment.names import CODES, WARPS, is_any

__all__ = ["warp"]


def warp(x: Tensor, operation: Tensor, magnitude: Tensor, interpolation: str = "bilinear") -> Tensor:
    """Shear, translate or rotate each image whose operation says so; what comes from outside is 0.

    Args:
        x: float32 or float64 (N, C, H, W).
        operation: int64 (N,), see :data:`~openmix.ops.augment.OPERATIONS`.
        magnitude: float32 (N,).
        interpolation: 'bilinear', or 'nearest', which copies pixels.
    """
    size = x.shape[2], x.shape[3]
    grid = _grid(_matrix(operation, magnitude.to(x.dtype), size), size)
    moved = F.grid_sample(x, grid, mode=interpolation, padding_mode="zeros", align_corners=False)
    return torch.where(is_any(operation, WARPS)[:, None, None, None], moved, x)


def _matrix(operation: Tensor, magnitude: Tensor, size: tuple[int, int]) -> Tensor:
    """Return from where in the input each place of the output comes: (N, 2, 3), x before y, both in [-1, 1]."""
    height, width = size

    def amount(name: str) -> Tensor:
        return torch.where(operation == CODES[name], magnitude, 0)

    shear_x, shear_y = amount("shear_x"), amount("shear_y")
    angle = torch.deg2rad(amount("rotate"))
    sine, cosine = angle.sin(), angle.cos()
    # about the centre, a shear that fixes the corner moves by as much as it does half an image further down
    from_x = (cosine, (shear_x - sine) * (height / width), (shear_x * height - 2 * amount("translate_x")) / width)
    from_y = ((shear_y + sine) * (width / height), cosine, (shear_y * width - 2 * amount("translate_y")) / height)
    return torch.stack([torch.stack(from_x, dim=1), torch.stack(from_y, dim=1)], dim=1)


def _grid(matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """Return where each pixel's centre comes from: (N, H, W, 2).

    Written out because ``affine_grid`` multiplies matrices, which may be done with 10 bits where TF32 is allowed.
    """
    y, x = ((2 * torch.arange(n, device=matrix.device, dtype=matrix.dtype) + 1) / n - 1 for n in size)
    a, b, c = matrix[:, None, None].unbind(-1)
    # the offset goes to the smaller of the two: only one sum is as large as the images
    return (a * x[None, None, :, None] + c) + b * y[None, :, None, None]
