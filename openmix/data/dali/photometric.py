"""Grey, blurred and solarised images: torchvision's to the grey level, but for rounding."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.data.dali.stages import Drawn
from openmix.errors import UserError

__all__ = ["Blur", "Grey", "Solarise"]


class Grey:
    """What ``v2.RandomGrayscale`` does to an image: its luma in all three channels. No inputs.

    DALI rounds the luma to the nearest level, torchvision down.
    """

    inputs = ()
    conditional = False

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw nothing."""
        return [], sizes

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the images in grey."""
        from nvidia.dali import fn, types

        colour, grey = types.DALIImageType.RGB, types.DALIImageType.GRAY
        luma = fn.color_space_conversion(images, image_type=colour, output_type=grey)
        return fn.color_space_conversion(luma, image_type=grey, output_type=colour)


class Blur:
    """``v2.GaussianBlur``, mirrored at the borders. Inputs: the standard deviation in pixels.

    Args:
        transform: torchvision's.
    """

    inputs = (0,)
    conditional = False

    def __init__(self, transform: Any) -> None:
        width, height = transform.kernel_size
        self.window = [height, width]
        self.sigma = transform.sigma

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw a standard deviation for each image, uniform in the transform's range."""
        low, high = self.sigma
        return [low + (high - low) * torch.rand(len(sizes), generator=generator)], sizes

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the images, blurred."""
        from nvidia.dali import fn

        return fn.gaussian_blur(images, sigma=inputs[0], window_size=self.window)


class Solarise:
    """What ``v2.RandomSolarize`` does to an image: values from the threshold on are inverted. No inputs.

    Args:
        transform: torchvision's.

    Raises:
        UserError: the threshold is above white.
    """

    inputs = ()
    conditional = False

    def __init__(self, transform: Any) -> None:
        self.threshold = max(math.ceil(transform.threshold), 0)
        if self.threshold > 255:
            raise UserError(f"RandomSolarize's threshold is at most 255, white, not {transform.threshold}")

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw nothing."""
        return [], sizes

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the images, solarised."""
        from nvidia.dali import types

        bright = images >= types.Constant(self.threshold).uint8()
        return images ^ (types.Constant(255).uint8() * bright)  # 255 - x is x with all its bits turned
