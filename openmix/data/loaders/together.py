"""Augment a batch at once although each of its images has draws of its own.

What a worker does image by image is mostly torchvision's Python about it. Where all transforms have a batched
counterpart that can draw as the transform itself does, only the draws are made image by image.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.data.loaders.batched import Chain, Crop, Erase, Flip, Shape, batched
from openmix.errors import UserError

__all__ = ["Together", "together"]


class Together:
    """A pipeline of ``RandomCrop``, ``RandomHorizontalFlip`` and ``Cutout``, for whole batches.

    Args:
        stages: the counterparts of its transforms, in order.
    """

    def __init__(self, stages: Sequence[Crop | Flip | Erase]) -> None:
        self.stages = tuple(stages)
        self.chain = Chain(stages, stages[0].shape)

    def draw(self) -> list[int]:
        """Return the draws of one image, by torch's global generator: those that the transforms would make."""
        return [number for stage in self.stages for number in stage.draw_alone()]

    def apply(self, images: Tensor, draws: Sequence[list[int]]) -> Tensor:
        """Return new images from uint8 (B, C, H, W) and the draws of each."""
        return self.chain.apply(images, torch.tensor(draws).T)


def together(pipeline: Sequence[Callable[..., Any]], shape: Shape) -> Together | None:
    """Return a pipeline for batches of images of ``shape``, the same bits; None where it must go image by image.

    >>> together([], (3, 8, 8)) is None
    True
    """
    if not pipeline:
        return None
    from openmix.data.loaders.batched_table import COUNTERPARTS  # needs torchvision, as whoever made a transform does

    if any(COUNTERPARTS.get(type(transform)) not in (Crop, Flip, Erase) for transform in pipeline):
        return None
    try:
        return Together(batched(pipeline, shape))  # pyright: ignore[reportArgumentType]  (of these three kinds)
    except UserError:  # what a batch cannot do an image may; or it fails when it is asked to, in words of its own
        return None
