"""Cutout: erase a square.

Terrance DeVries, Graham W. Taylor. Improved Regularization of Convolutional Neural Networks with Cutout. 2017,
arXiv:1708.04552.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from openmix.errors import UserError

__all__ = ["Cutout"]


class Cutout(v2.Transform):
    """Set a square of the image to a constant.

    The square's centre is uniform over the image's pixels and the square is clipped at the borders, as in the paper, so
    what is erased is often less than ``size`` x ``size``. Rows ``centre - size // 2`` up to, not including,
    ``centre - size // 2 + size`` are erased, and columns likewise. For an even size, this is the authors' code; for an
    odd one, theirs erases ``size - 1``.

    The default fill of 0 is black where the image is not normalised yet, as it is in this project's pipelines. The
    paper erases after normalising, where 0 stands for the data set's mean colour: to have the same here, give that
    colour, for CIFAR-10 ``fill=(125, 123, 114)``.

    Args:
        size: edge of the square in pixels, at least 1. The paper takes 16 for CIFAR-10 and 8 for CIFAR-100.
        fill: the value that replaces the pixels, in the image's own units (0 to 255 for uint8), or one for each
            channel.

    Raises:
        UserError: ``size`` below 1; at the call, an image that is not a tensor, or as many fills as channels are not
            given.

    >>> image = torch.full((3, 8, 8), 255, dtype=torch.uint8)
    >>> int((Cutout(size=4)(image) == 0).sum()) in range(3 * 2 * 2, 3 * 4 * 4 + 1)
    True
    """

    def __init__(self, size: int, fill: float | Sequence[float] = 0) -> None:
        super().__init__()
        if size < 1:
            raise UserError(f"Cutout's size is in pixels and at least 1, not {size}")
        self.size = size
        self.fill = fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the centre ``(y, x)`` from torch's global generator."""
        if not isinstance(flat_inputs[0], Tensor):
            raise UserError(f"Cutout works on tensors: put ToImage before it (it was given {type(flat_inputs[0])})")
        height, width = flat_inputs[0].shape[-2:]
        return {"y": int(torch.randint(height, ())), "x": int(torch.randint(width, ()))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Return a copy of a (..., C, H, W) tensor with the square about ``params``' centre erased."""
        top, left = params["y"] - self.size // 2, params["x"] - self.size // 2
        out = inpt.clone()
        square = out[..., max(top, 0) : top + self.size, max(left, 0) : left + self.size]
        square.copy_(self.fill_for(inpt))
        return out

    def fill_for(self, images: Tensor) -> Tensor:
        """Return the fill for images (..., C, H, W): (1, 1, 1) or (C, 1, 1), of their dtype, on the CPU."""
        fill = torch.tensor(self.fill, dtype=torch.float64).reshape(-1, 1, 1)
        if len(fill) not in (1, images.shape[-3]):
            raise UserError(f"Cutout has {len(fill)} fills for images of {images.shape[-3]} channels")
        return fill.to(images.dtype)
