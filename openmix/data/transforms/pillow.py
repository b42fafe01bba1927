"""For transforms of other people that take Pillow's images: the way there and back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from openmix.errors import UserError

__all__ = ["PillowTransform"]


class PillowTransform(v2.Transform):
    """Apply a function of Pillow's RGB images to uint8 (3, H, W) tensors.

    Args:
        function: takes an image and returns one.

    Raises:
        UserError: at the call, anything but a uint8 tensor with three channels.
    """

    def __init__(self, function: Callable[[Image.Image], Image.Image]) -> None:
        super().__init__()
        self.function = function

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Return the function's result for one image, uint8 (3, H, W)."""
        if not isinstance(inpt, Tensor) or inpt.dtype != torch.uint8 or inpt.ndim != 3 or len(inpt) != 3:
            found = f"{inpt.dtype} {tuple(inpt.shape)}" if isinstance(inpt, Tensor) else type(inpt).__name__
            raise UserError(f"{type(self).__name__} works on colour images, uint8 (3, H, W), not on {found}")
        picture = self.function(Image.fromarray(inpt.permute(1, 2, 0).numpy()))
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
