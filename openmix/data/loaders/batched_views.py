"""Batched transforms that hold others: applied by a coin, pasted of two crops; and those that draw nothing."""

from typing import Any

import torch
from torch import Tensor

from openmix.data.loaders.batched import Chain, Shape, batched, coins, select
from openmix.data.loaders.batched_crops import ResizedCrop
from openmix.data.transforms.crop_boxes import cutmix_boxes
from openmix.data.transforms.scalemix import PastedCrops
from openmix.errors import UserError

__all__ = ["Pasted", "Perhaps", "Still"]


class Perhaps:
    """``RandomApply``. Draws: 1 where it is applied, then those of what it holds, which is made for all images.

    Args:
        transform: torchvision's ``v2.RandomApply``.
        shape: (C, H, W) of the images that it will be given.

    Raises:
        UserError: what it holds has no counterpart, or changes the images' shape.
    """

    def __init__(self, transform: Any, shape: Shape) -> None:
        self.inner = Chain(batched(list(transform.transforms), shape), shape)
        if self.inner.shape != shape:
            raise UserError(
                f"RandomApply: what it applies makes images {shape} into {self.inner.shape}, and a batch has one shape"
            )
        self.probability, self.shape = transform.p, shape
        self.draws = 1 + self.inner.draws

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the coins and all other draws."""
        return torch.cat([coins(self.probability, count, generator), self.inner.draw(count, generator)])

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the images, changed where the coin is 1."""
        return select(draws[0].bool()[:, None, None, None], self.inner.apply(images, draws[1:]), images)


class Pasted:
    """``ScaleMix`` and ``CropMixPair``. Draws: the first crop's and its pipeline's, the second's, then the box.

    Args:
        transform: openmix's ``ScaleMix`` or ``CropMixPair``.
        shape: (C, H, W) of the images that it will be given.

    Raises:
        UserError: the pipeline has what has no counterpart, or changes the crops' shape.
    """

    def __init__(self, transform: PastedCrops, shape: Shape) -> None:
        crops = [ResizedCrop(crop, shape) for crop in transform.crops]
        self.shape = crops[0].shape
        follow = batched(transform.pipeline, self.shape)
        self.views = [Chain([crop, *follow], shape) for crop in crops]
        if self.views[0].shape != self.shape:
            raise UserError(
                f"{type(transform).__name__}: its pipeline must keep a crop's shape, {self.shape}, not make it "
                f"{self.views[0].shape}; what does so belongs after {type(transform).__name__}"
            )
        self.size = transform.size
        self.rows = [*(view.draws for view in self.views), 4]
        self.draws = sum(self.rows)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the draws of both crops, and the box ``(y0, y1, x0, x1)`` that is pasted."""
        views = [view.draw(count, generator) for view in self.views]
        numbers = torch.rand((count, 3), generator=generator, dtype=torch.float64).numpy()
        return torch.cat([*views, torch.from_numpy(cutmix_boxes(self.size, numbers)).T])

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the first crops with the boxes of the second ones."""
        *own, (y0, y1, x0, x1) = draws.split(self.rows)
        first, second = (view.apply(images, rows) for view, rows in zip(self.views, own, strict=True))
        places = torch.arange(self.size, device=images.device)
        rows = (places >= y0[:, None]) & (places < y1[:, None])
        columns = (places >= x0[:, None]) & (places < x1[:, None])
        return select(rows[:, None, :, None] & columns[:, None, None, :], second, first)


class Still:
    """``Resize`` and ``CenterCrop``, which draw nothing: torchvision's own code takes a batch."""

    draws = 0

    def __init__(self, transform: Any, shape: Shape) -> None:
        self.transform = transform
        self.shape: Shape = tuple(transform(torch.zeros(shape, dtype=torch.uint8)).shape)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return no draws."""
        return torch.empty(0, count, dtype=torch.int64)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the images, resized or cut."""
        return self.transform(images)
