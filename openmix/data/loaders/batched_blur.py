"""Batched Gaussian blur: as a resize, a matrix for the rows and one for the columns of each image."""

from typing import Any

import torch
from torch import Tensor

from openmix.data.loaders.batched import Shape, bits_of, floats_of
from openmix.errors import UserError

__all__ = ["Blur", "blur"]


class Blur:
    """``GaussianBlur``. Draws: sigma, bits of float32.

    Args:
        transform: torchvision's ``v2.GaussianBlur``.
        shape: (C, H, W) of the images that it will be given.

    Raises:
        UserError: the kernel reaches from one border beyond the other, where there is nothing to be reflected.
    """

    draws = 1

    def __init__(self, transform: Any, shape: Shape) -> None:
        width, height = transform.kernel_size  # torchvision's order
        self.radius = height // 2, width // 2
        self.sigma = transform.sigma
        self.shape = shape
        if self.radius[0] >= shape[1] or self.radius[1] >= shape[2]:
            raise UserError(f"GaussianBlur: a kernel of {width} x {height} is too large for images of shape {shape}")

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return sigma, uniform in the transform's range."""
        return bits_of(torch.empty(1, count).uniform_(*self.sigma, generator=generator))

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the images, blurred."""
        return blur(images.float(), floats_of(draws[0]), self.radius).add_(0.5).to(torch.uint8)


def blur(images: Tensor, sigma: Tensor, radius: tuple[int, int]) -> Tensor:
    """Blur each image by a Gaussian of its own, reflected at the borders as by torchvision.

    Args:
        images: float (B, C, H, W).
        sigma: float (B,), in pixels.
        radius: pixels beyond which the kernel ends, down and across; less than H and W.

    >>> point = torch.zeros(1, 1, 3, 3)
    >>> point[0, 0, 1, 1] = 1
    >>> [round(level, 2) for level in blur(point, torch.tensor([1.0]), (1, 0))[0, 0, :, 1].tolist()]
    [0.55, 0.45, 0.55]
    """
    rows = _gaussians(sigma, radius[0], images.shape[2])[:, None]
    columns = _gaussians(sigma, radius[1], images.shape[3])[:, None]
    return rows @ images @ columns.mT


def _gaussians(sigma: Tensor, radius: int, length: int) -> Tensor:
    """Return what each of ``length`` pixels weighs in each blurred one: (B, length, length).

    A pixel is met where it is and where the first and the last one mirror it; these two have no mirror image in
    themselves.
    """
    distances = torch.arange(radius + 1, device=sigma.device)
    heights = torch.exp(-0.5 * (distances / sigma[:, None]) ** 2)
    heights = heights / (2 * heights.sum(1, keepdim=True) - heights[:, :1])
    here = torch.arange(length, device=sigma.device)[:, None]
    there = here.T
    met = (there - here).abs() == distances[:, None, None]
    below = (there + here == distances[:, None, None]) & (there > 0)
    above = (2 * (length - 1) - there - here == distances[:, None, None]) & (there < length - 1)
    times = met.float() + below.float() + above.float()  # (radius + 1, length, length)
    return (heights @ times.flatten(1)).unflatten(1, (length, length))
