"""Augment a whole batch at once: the batched counterparts of some transforms.

Each counterpart draws on the CPU, one row of integers a parameter and one column an image, and applies the draws on the
device of the images, without asking it for anything and without going image by image.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from openmix.errors import UserError

__all__ = [
    "BatchedTransform", "Chain", "Crop", "Erase", "Flip", "Shape", "batched", "bits_of", "coins", "floats_of", "select",
]  # fmt: skip

Shape = tuple[int, int, int]  # channels, height, width


class BatchedTransform(Protocol):
    """The counterpart of one transform, for images of one shape.

    Attributes:
        draws: rows of integers that it draws for a batch.
        shape: (C, H, W) of what it gives.
    """

    draws: int
    shape: Shape

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return int64 (draws, count) on the CPU."""
        ...

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return new images from uint8 (B, C, H, W) and int64 (draws, B), both on one device."""
        ...


class Crop:
    """``RandomCrop``: a window at a uniform place of the padded image. Draws: top, left.

    Args:
        transform: torchvision's ``v2.RandomCrop``.
        shape: (C, H, W) of the images that it will be given.

    Raises:
        UserError: the window is larger than the padded image, or the transform pads by need or by type of input.
    """

    draws = 2

    def __init__(self, transform: Any, shape: Shape) -> None:
        if transform.pad_if_needed or isinstance(transform.fill, dict):
            raise UserError("ResidentLoader's RandomCrop takes no pad_if_needed and no dict as fill; use TorchLoader")
        left, right, top, bottom = transform.padding or (0, 0, 0, 0)
        height, width = transform.size
        self.padding = [left, top, right, bottom]
        self.fill, self.mode = transform.fill, transform.padding_mode
        self.places = shape[1] + top + bottom - height + 1, shape[2] + left + right - width + 1
        if min(self.places) < 1:
            raise UserError(f"RandomCrop cannot cut {height} x {width} out of images {shape} padded by {self.padding}")
        self.shape = shape[0], height, width

    def pad(self, images: Tensor, chunk: int = 4096) -> Tensor:
        """Return the padded images, (N, C, H + top + bottom, W + left + right), a chunk at a time to spare memory."""
        from torchvision.transforms.v2 import functional

        if not any(self.padding):
            return images
        height, width = (place + size - 1 for place, size in zip(self.places, self.shape[1:], strict=True))
        padded = images.new_empty(len(images), images.shape[1], height, width)
        for source, out in zip(images.split(chunk), padded.split(chunk), strict=True):
            out.copy_(functional.pad(source, self.padding, fill=self.fill, padding_mode=self.mode))
        return padded

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return top and left, each uniform over the places that fit."""
        return torch.stack([torch.randint(places, (count,), generator=generator) for places in self.places])

    def draw_alone(self) -> list[int]:
        """Return top and left of one image, drawn by torch's global generator as the transform does."""
        return [int(torch.randint(places, ())) if places > 1 else 0 for places in self.places]

    def windows(self, padded: Tensor) -> Tensor:
        """Return all windows of all padded images, (number, C, height, width): a view, in which they overlap.

        There is one for each element at which a window may begin, so that choosing some is one ``index_select``, which
        copies row by row; indexing by image, top and left goes element by element, at six times the cost.
        """
        _, height, width = self.shape
        n, c, h, w = padded.stride()
        last = (len(padded) - 1) * n + (self.places[0] - 1) * h + (self.places[1] - 1) * w
        return padded.as_strided((max(last + 1, 0), padded.shape[1], height, width), (1, c, h, w))

    def starts(self, strides: Sequence[int], index: Tensor, draws: Tensor) -> Tensor:
        """Return which of :meth:`windows` lie at ``draws`` of the images ``index``, which are so far apart: (B,)."""
        n, _, h, w = strides
        return (index * n).add_(draws[0], alpha=h).add_(draws[1], alpha=w)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the crops of a batch that is not padded yet."""
        padded = self.pad(images)
        index = torch.arange(len(images), device=images.device)
        return self.windows(padded).index_select(0, self.starts(padded.stride(), index, draws))


class Flip:
    """``RandomHorizontalFlip``. Draws: 1 where the image is mirrored."""

    draws = 1

    def __init__(self, transform: Any, shape: Shape) -> None:
        self.probability = transform.p
        self.shape = shape

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return 1 with the transform's probability, else 0."""
        return coins(self.probability, count, generator)

    def draw_alone(self) -> list[int]:
        """Return whether one image is mirrored, drawn by torch's global generator as the transform does."""
        return [int(torch.rand(1) < self.probability)]

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the images, mirrored where the draw is 1."""
        choice, mirrored = draws[0][:, None, None, None], images.flip(-1)
        if images.is_cuda:
            return torch.where(choice.bool(), mirrored, images)
        return mirrored.sub_(images).mul_(choice.to(torch.uint8)).add_(images)  # :func:`select` in place


class Erase:
    """``Cutout``. Draws: the centre, y and x."""

    draws = 2

    def __init__(self, transform: Any, shape: Shape) -> None:
        self.size = transform.size
        self.fill = transform.fill_for(torch.empty(shape, dtype=torch.uint8))
        self.shape = shape

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return y and x, each uniform over the image's rows and columns."""
        return torch.stack([torch.randint(size, (count,), generator=generator) for size in self.shape[1:]])

    def draw_alone(self) -> list[int]:
        """Return y and x of one image, drawn by torch's global generator as the transform does."""
        return [int(torch.randint(size, ())) for size in self.shape[1:]]

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the images with the square about each centre filled."""
        rows, columns = (self._covered(size, centre) for size, centre in zip(self.shape[1:], draws, strict=True))
        erased = rows[:, None, :, None] & columns[:, None, None, :]
        return select(erased, self.fill.to(images.device, non_blocking=True), images)

    def _covered(self, length: int, centre: Tensor) -> Tensor:
        """Return whether each of ``length`` rows (or columns) lies within the square, bool (B, length)."""
        offset = torch.arange(length, device=centre.device) - (centre - self.size // 2)[:, None]
        return (offset >= 0) & (offset < self.size)


class Chain:
    """Several stages in turn, as one. Draws: those of each, in order.

    Args:
        stages: for what the one before gives.
        shape: (C, H, W) of the images that the first will be given.
    """

    def __init__(self, stages: Sequence[BatchedTransform], shape: Shape) -> None:
        self.stages = tuple(stages)
        self.shape = self.stages[-1].shape if self.stages else shape
        self.draws = sum(stage.draws for stage in self.stages)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the draws of all stages, one below the other."""
        if not self.stages:
            return torch.empty(0, count, dtype=torch.int64)
        return torch.cat([stage.draw(count, generator) for stage in self.stages])

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the images after the last stage."""
        if not self.stages:
            return images
        for stage, rows in zip(self.stages, draws.split([stage.draws for stage in self.stages]), strict=True):
            images = stage.apply(images, rows)
        return images


def coins(probability: float, count: int, generator: torch.Generator) -> Tensor:
    """Return int64 (1, count): 1 with this probability, else 0."""
    return (torch.rand(1, count, generator=generator) < probability).long()


def bits_of(numbers: Tensor) -> Tensor:
    """Return the bits of float32 numbers as int64, to lie among the draws."""
    return numbers.contiguous().view(torch.int32).long()


def floats_of(bits: Tensor) -> Tensor:
    """Return the float32 numbers of which these are the bits, on any device.

    >>> floats_of(bits_of(torch.tensor([0.1, -2.0]))).tolist() == torch.tensor([0.1, -2.0]).tolist()
    True
    """
    return bits.to(torch.int32).view(torch.float32)


def select(choice: Tensor, chosen: Tensor, others: Tensor) -> Tensor:
    """Return uint8 ``torch.where(choice, chosen, others)``, whose uint8 kernel is ten times slower on a CPU.

    There it is a sum, and exact, because uint8 sums wrap around.
    """
    if others.is_cuda:
        return torch.where(choice, chosen, others)
    return others + (chosen - others) * choice.to(torch.uint8)


def batched(pipeline: Sequence[Callable[..., Any]], shape: Shape) -> list[BatchedTransform]:
    """Return the counterparts of a pipeline's transforms for images of ``shape``.

    Raises:
        UserError: one has none.
    """
    if not pipeline:
        return []
    from openmix.data.loaders.batched_table import COUNTERPARTS  # needs torchvision, and the counterparts this module

    stages: list[BatchedTransform] = []
    for transform in pipeline:
        if type(transform) not in COUNTERPARTS:
            known = ", ".join(kind.__name__ for kind in COUNTERPARTS)
            name = getattr(transform, "__name__", type(transform).__name__)
            raise UserError(f"ResidentLoader cannot augment with {name}: it takes {known}; use TorchLoader for others")
        stages.append(COUNTERPARTS[type(transform)](transform, shape))
        shape = stages[-1].shape
    return stages
