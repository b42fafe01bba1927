"""Batched random resized crops, and CropMix of them.

An antialiased resize is a matrix for the rows and one for the columns, here one pair for each image, made from its box:
two batched products instead of B calls. The results are Pillow's but for rounding, one grey level.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from openmix.data.loaders.batched import Shape
from openmix.data.transforms.crop_boxes import NUMBERS_A_BOX, boxes_from
from openmix.data.transforms.cropmix import CropMix
from openmix.data.transforms.cropmix_plan import VIEWS, draw_plans, owner_at
from openmix.data.transforms.cropmix_settings import NUMBERS
from openmix.errors import UserError

__all__ = ["CropMixed", "ResizedCrop", "resized_crop"]


class ResizedCrop:
    """``RandomResizedCrop``. Draws: the box ``(y0, y1, x0, x1)``.

    Args:
        transform: torchvision's ``v2.RandomResizedCrop``.
        shape: (C, H, W) of the images that it will be given.

    Raises:
        UserError: it interpolates in another way than bilinearly, with antialiasing.
    """

    draws = 4

    def __init__(self, transform: Any, shape: Shape) -> None:
        kind = getattr(transform.interpolation, "value", transform.interpolation)
        if kind not in ("bilinear", 2) or not transform.antialias:
            raise UserError(
                "ResidentLoader's RandomResizedCrop is bilinear with antialiasing, not "
                f"interpolation={kind!r}, antialias={transform.antialias}; use TorchLoader for others"
            )
        self.scale, self.ratio = transform.scale, transform.ratio
        self.source = shape
        self.shape = (shape[0], *transform.size)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return a box for each image, by torchvision's rule."""
        heights, widths = (np.full(count, side) for side in self.source[1:])
        low, high = (np.full((count, 1), share) for share in self.scale)
        numbers = torch.rand((count, 1, NUMBERS_A_BOX), generator=generator, dtype=torch.float64).numpy()
        return torch.from_numpy(boxes_from(heights, widths, low, high, numbers, self.ratio)[:, 0]).T.contiguous()

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the crops, resized."""
        return _rounded(resized_crop(images.float(), draws, self.shape[1:]))


class CropMixed:
    """``CropMix``. Draws: what :class:`~openmix.data.transforms.cropmix_plan.CropMixPlans` holds.

    With ``preset="as_published"`` and 234, a batch has one number of crops, as there; the next may have another.

    Args:
        transform: openmix's ``CropMix``.
        shape: (C, H, W) of the images that it will be given.

    Raises:
        UserError: it has a ``post_aug``, or is to permute channels that are not three.
    """

    def __init__(self, transform: CropMix, shape: Shape) -> None:
        if transform.post_aug:
            raise UserError("ResidentLoader's CropMix takes no post_aug: put the transforms after it into the pipeline")
        self.settings = transform.settings
        if self.settings.inter_aug and shape[0] != 3:
            raise UserError(f"CropMix: inter_aug permutes the channels of colour images; these have {shape[0]}")
        self.source = shape
        self.shape = shape[0], self.settings.size, self.settings.size
        self.rows = [4 * VIEWS, VIEWS, 3 * VIEWS]  # boxes, weights, permutations
        if self.settings.operation:
            self.rows += [4 * (VIEWS - 1), VIEWS - 1]  # what is pasted, and into which
        self.draws = sum(self.rows)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the plans of a batch, the bits of the weights among the integers."""
        heights, widths = (torch.full((count,), side) for side in self.source[1:])
        plans = draw_plans(heights, widths, self.settings, generator)
        parts = [plans.boxes, plans.weights.view(torch.int32), plans.permutation]
        parts += [part for part in (plans.pasted, plans.into) if part is not None]
        return torch.cat([part.reshape(count, -1).T.long() for part in parts])

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the mixtures."""
        count, size = len(images), self.settings.size
        boxes, bits, permutations, *pasting = draws.split(self.rows)
        weights = bits.to(torch.int32).contiguous().view(torch.float32)[:, :, None, None, None]
        owner = None
        if pasting:
            places = torch.arange(size, device=images.device).expand(count, -1)
            owner = owner_at(pasting[0].T.reshape(count, VIEWS - 1, 4), pasting[1].T.bool(), places, places)[:, None]
        pixels = images.float()
        mixture = torch.zeros(count, *self.shape, device=images.device)
        for k in range(max(NUMBERS[self.settings.number])):
            crop = resized_crop(pixels, boxes[4 * k : 4 * k + 4], (size, size))
            if self.settings.inter_aug:
                crop = crop.gather(1, permutations[3 * k : 3 * k + 3].T[:, :, None, None].expand_as(crop))
            mixture += crop * (weights[k] if owner is None else owner == k)
        return _rounded(mixture)


def resized_crop(images: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop each image at its own box and resize the crops, bilinearly with antialiasing.

    Args:
        images: float (B, C, H, W).
        boxes: int64 (4, B): y0, y1, x0, x1, half-open and within the images.
        size: height and width of the results.

    Returns:
        float (B, C, *size).

    >>> images = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> resized_crop(images, torch.tensor([[1], [3], [0], [2]]), (1, 1)).item()  # the mean of 4, 5, 8 and 9
    6.5
    """
    y0, y1, x0, x1 = boxes
    rows = _triangles(y0, y1, images.shape[2], size[0])[:, None]
    columns = _triangles(x0, x1, images.shape[3], size[1])[:, None]
    return rows @ images @ columns.mT


def _triangles(begin: Tensor, end: Tensor, length: int, size: int) -> Tensor:
    """Return what each of ``length`` pixels weighs in each of ``size`` new ones: (B, size, length).

    The new pixels divide what lies from ``begin`` to ``end``, both (B,). Each is the mean of the pixels about its
    centre, with weights that fall to 0 at a distance of one pixel, old or new, whichever is larger; beyond the ends
    nothing has a weight.
    """
    step = ((end - begin) / size)[:, None, None]
    places = torch.arange(length, device=begin.device)
    centres = begin[:, None, None] + step * (torch.arange(size, device=begin.device)[:, None] + 0.5)
    weights = (1 - (places + 0.5 - centres).abs() / step.clamp(min=1)).clamp(min=0)
    weights = weights * ((places >= begin[:, None, None]) & (places < end[:, None, None]))
    return weights / weights.sum(-1, keepdim=True)


def _rounded(images: Tensor) -> Tensor:
    return images.add_(0.5).to(torch.uint8)
