"""What DALI is fed with: the encoded images of one batch and every number that was drawn for them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openmix.data.dali.branches import Branches
from openmix.data.decoding import decode
from openmix.data.jpeg import is_one_piece, read_frame
from openmix.data.loaders.damage import intact
from openmix.data.sources.encoded import only_decodes
from openmix.data.sources.protocol import Source
from openmix.errors import DamagedImageError, UserError
from openmix.ops.random import generator_for

__all__ = ["EncodedBatch", "EncodedFetcher", "Request"]


class Request(NamedTuple):
    """Which images, and the key of their draws.

    Attributes:
        key: (epoch, step, shard).
        indices: int64 (B,).
        decoded: whether every image is to be decoded here, and DALI to be given plain pixels.
    """

    key: tuple[int, int, int]
    indices: np.ndarray
    decoded: bool = False


@dataclass(frozen=True)
class EncodedBatch:
    """The images of one micro-batch as DALI takes them.

    Attributes:
        request: what was asked for.
        data: uint8, the encoded images one after the other.
        ends: int64 (B,), where each ends.
        inputs: what the stages drew, an array (B, ...) each.
        labels: int64 (B,).
        damaged: what was wrong with images that another stands in for.
    """

    request: Request
    data: Tensor
    ends: np.ndarray
    inputs: list[np.ndarray]
    labels: Tensor
    damaged: tuple[DamagedImageError, ...]

    def feed(self) -> list[np.ndarray | list[np.ndarray]]:
        """Return DALI's inputs: the encoded images, then what the stages drew."""
        return [np.split(self.data.numpy(), self.ends[:-1]), *self.inputs]


class EncodedFetcher:
    """Reads encoded images and draws for them, vectorised over the batch.

    The draws are keyed by (seed, epoch, step, shard). An image that DALI would decode otherwise than
    :func:`~openmix.data.decoding.decode` does, or not at all, is decoded here and goes on as plain pixels: what is no
    baseline JPEG, and what is in memory. A JPEG that was cut off or has a marker in its middle, which DALI would fill
    up with grey, is decoded here too, and counts as damaged as everywhere.

    Args:
        dataset: the set.
        stages: what draws.
        seed: part of the key.
    """

    def __init__(self, dataset: Source, stages: Branches, seed: int) -> None:
        self.dataset, self.stages, self.seed = dataset, stages, seed

    def __getitems__(self, request: Request) -> EncodedBatch | UserError:
        """Return the batch of one request, or what is wrong."""
        try:
            return self.fetch(request)
        except UserError as error:
            return error

    def fetch(self, request: Request) -> EncodedBatch:
        """Return the batch of one request.

        Raises:
            UserError: too many damaged images in a row, or images that do not end up with one size.
        """
        damaged: list[DamagedImageError] = []

        def read(index: int) -> tuple[np.ndarray, tuple[int, int], int]:
            return self._read(index, request.decoded)

        parts = [intact(read, i, len(self.dataset), damaged) for i in request.indices.tolist()]
        data, sizes, labels = zip(*parts, strict=True)
        generator = generator_for(self.seed, "augment", *request.key)
        inputs = self._draw(torch.tensor(sizes), generator)
        ends = np.cumsum([len(item) for item in data])
        joined = torch.from_numpy(np.concatenate(data))
        return EncodedBatch(request, joined, ends, inputs, torch.tensor(labels), tuple(damaged))

    def _read(self, index: int, decoded: bool) -> tuple[np.ndarray, tuple[int, int], int]:
        """Return an image as DALI will decode it, its (height, width) and its label."""
        if only_decodes(self.dataset):
            data, label = self.dataset.encoded(index), int(self.dataset.labels[index])
            frame = None if decoded else read_frame(data)
            if frame and is_one_piece(data, frame):
                return data, (frame.height, frame.width), label
            image = decode(data, self.dataset.name(index))
        else:
            image, label = self.dataset[index]
        return _as_pixmap(image), (image.shape[1], image.shape[2]), label

    def _draw(self, sizes: Tensor, generator: torch.Generator) -> list[np.ndarray]:
        """Return what the stages draw for images of these sizes (B, 2)."""
        return [tensor.numpy() for tensor in self.stages.draw(sizes, generator)]


def _as_pixmap(image: Tensor) -> np.ndarray:
    """Return an image, uint8 (3, H, W), as the bytes of a portable pixmap: pixels behind a short header."""
    channels, height, width = image.shape
    if channels != 3 or image.dtype != torch.uint8:
        raise UserError(f"DaliLoader takes colour images, uint8 (3, H, W), not {image.dtype} {tuple(image.shape)}")
    header = np.frombuffer(b"P6\n%d %d\n255\n" % (width, height), np.uint8)
    return np.concatenate([header, image.permute(1, 2, 0).reshape(-1).numpy()])
