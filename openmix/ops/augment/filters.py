"""Operations that look at a pixel's other channels or at its neighbours."""

import torch
from torch import Tensor

from openmix.ops.augment.names import CODES

__all__ = ["colour", "sharpen", "to_gray"]


def to_gray(x: Tensor) -> Tensor:
    """Return (N, 1, H, W): the luma of three channels (ITU-R 601), else the mean of the channels."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    red, green, blue = x.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def colour(x: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Blend with gray each image whose operation is 'color'; an image of one channel is gray and stays as it is.

    Args:
        x: float32 (N, C, H, W) in [0, 1].
        operation: int64 (N,), see :data:`~openmix.ops.augment.OPERATIONS`.
        magnitude: float32 (N,), the image's own share, which may exceed 1.
    """
    if x.shape[1] == 1:
        return x
    blended = torch.lerp(to_gray(x), x, magnitude[:, None, None, None]).clamp_(0, 1)
    return torch.where((operation == CODES["color"])[:, None, None, None], blended, x)


def sharpen(x: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Blend with its blurred self each image whose operation is 'sharpness'.

    The blur weighs a pixel 5, its eight neighbours 1 each; border pixels, which have fewer, are left as they are.

    Args:
        x: float32 (N, C, H, W) in [0, 1].
        operation: int64 (N,), see :data:`~openmix.ops.augment.OPERATIONS`.
        magnitude: float32 (N,), the image's own share, which may exceed 1.
    """
    if min(x.shape[2:]) < 3:
        return x
    # sums, because a convolution would be done in half precision under autocast; blurred = (9 mean + 4 own) / 13
    rows = (x[:, :, :-2] + x[:, :, 1:-1]).add_(x[:, :, 2:])
    mean = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).div_(9)
    sharpened = x.clone()
    sharpened[:, :, 1:-1, 1:-1].lerp_(mean, ((1 - magnitude) * (9 / 13))[:, None, None, None])
    return torch.where((operation == CODES["sharpness"])[:, None, None, None], sharpened.clamp_(0, 1), x)
