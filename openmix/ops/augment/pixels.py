"""Between images in a network's units, where colours mean nothing, and images in [0, 1]."""

import torch
from torch import Tensor

__all__ = ["check_pixel_range", "from_unit", "to_unit"]


def check_pixel_range(pixel_range: Tensor | None, channels: int) -> None:
    """Raise ValueError unless this is None or floating (2, channels) or (2, 1)."""
    if pixel_range is None:
        return
    if not pixel_range.is_floating_point() or tuple(pixel_range.shape) not in {(2, channels), (2, 1)}:
        raise ValueError(
            f"pixel_range must be floating point (2, {channels}), the values of black and of white in each channel, "
            f"got {pixel_range.dtype} {tuple(pixel_range.shape)}"
        )


def to_unit(images: Tensor, pixel_range: Tensor | None) -> Tensor:
    """Return images (B, C, H, W) as contiguous float32 in which black is 0 and white is 1.

    Args:
        images: floating; half precision is widened, double rounded: these operations come from 8-bit images.
        pixel_range: (2, C) or (2, 1), the values of black and of white in ``images``; None where they are 0 and 1.
    """
    images = images.float().contiguous()
    if pixel_range is None:
        return images
    black, white = _columns(pixel_range)
    return (images - black) / (white - black)


def from_unit(images: Tensor, pixel_range: Tensor | None) -> Tensor:
    """Undo :func:`to_unit`, but for dtype and memory format."""
    if pixel_range is None:
        return images
    black, white = _columns(pixel_range)
    return torch.addcmul(black, images, white - black)


def _columns(pixel_range: Tensor) -> tuple[Tensor, Tensor]:
    black, white = pixel_range.float()[:, :, None, None]
    return black, white
