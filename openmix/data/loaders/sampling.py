"""Fetch one batch image by image, every image with draws of its own: what a worker process does."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openmix.data.batch import Batch
from openmix.data.loaders.damage import intact
from openmix.data.loaders.fused import Decode, fuse
from openmix.data.loaders.together import Together, together
from openmix.data.sources.array import ArraySource
from openmix.data.sources.protocol import Source
from openmix.errors import DamagedImageError, UserError
from openmix.ops.random import derive_seed

__all__ = ["BatchFetcher"]


class BatchFetcher:
    """A data set seen by torch's DataLoader: indexed by ``(epoch, indices)``, it gives a whole :class:`Batch`.

    Before each image is read and passes the pipeline, the global generators of torch (its CPU one), of Python's
    ``random`` and of numpy are seeded with the key (seed, "augment", epoch, index). So whatever a transform draws from,
    an image looks the same in whichever process and batch it is fetched, and nothing is carried from one request to the
    next.

    Args:
        dataset: the set.
        pipeline: callables, each taking the former's result; the last one gives a (C, H, W) tensor or, for several
            views of one image, a tuple of them.
        seed: part of the key.
        decode: how an image may be decoded that a random crop follows, see :func:`openmix.data.loaders.fused.fuse`.
    """

    def __init__(
        self, dataset: Source, pipeline: Sequence[Callable[..., Any]], seed: int, decode: Decode = "exact"
    ) -> None:
        self.dataset, self.pipeline = fuse(dataset, pipeline, decode)
        self.seed = seed
        self._together: Together | None = None
        if isinstance(self.dataset, ArraySource):
            self._together = together(self.pipeline, self.dataset.image_shape)

    def __getitems__(self, request: tuple[int, np.ndarray]) -> Batch | UserError:
        """Return the batch of one request, ``(epoch, indices)``, or what is wrong."""
        try:
            return self._fetch(*request)
        except UserError as error:
            return error

    def _fetch(self, epoch: int, indices: np.ndarray) -> Batch:
        """Return the batch of these images, in order; a damaged one's place is taken by a neighbour."""
        index = torch.from_numpy(indices)
        damaged: list[DamagedImageError] = []
        with _global_generators_kept():
            if isinstance(self.dataset, ArraySource):
                images, labels = self.dataset.images.index_select(0, index), self.dataset.labels.index_select(0, index)
                if not self.pipeline:
                    return Batch((images,), labels, index)
                if self._together is not None:
                    draws = self._draws(self._together, epoch, indices)
                    return Batch((self._together.apply(images, draws),), labels, index)
                samples = []
                for image, i in zip(images, indices.tolist(), strict=True):
                    self._seed(epoch, i)
                    samples.append(self._transform(image))
            else:
                pairs = [intact(self._reader(epoch, i), i, len(self.dataset), damaged) for i in indices.tolist()]
                samples, labels = [sample for sample, _ in pairs], torch.tensor([label for _, label in pairs])
        views = tuple(_stack(view) for view in zip(*samples, strict=True))
        return Batch(views, labels, index, damaged=tuple(damaged))

    def _draws(self, pipeline: Together, epoch: int, indices: np.ndarray) -> list[list[int]]:
        """Return what each image's key draws for a pipeline, which asks torch's generator alone."""
        draws = []
        for i in indices.tolist():
            torch.default_generator.manual_seed(derive_seed(self.seed, "augment", epoch, i))
            draws.append(pipeline.draw())
        return draws

    def _reader(self, epoch: int, key: int) -> Callable[[int], tuple[tuple[Tensor, ...], int]]:
        """Return what reads an image by its index and gives its views, made by the draws of ``key``, and its label."""

        def read(index: int) -> tuple[tuple[Tensor, ...], int]:
            self._seed(epoch, key)
            image, label = self.dataset[index]
            return self._transform(image), label

        return read

    def _seed(self, epoch: int, key: int) -> None:
        """Seed the global generators for one image."""
        seed = derive_seed(self.seed, "augment", epoch, key)
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which would seed the GPUs as well
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)

    def _transform(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the views that the pipeline makes of one image."""
        sample: Any = image
        for transform in self.pipeline:
            sample = transform(sample)
        return tuple(sample) if isinstance(sample, (tuple, list)) else (sample,)


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    """Put the global generators back as they were, for a batch that is fetched in the main process."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])


def _stack(images: Sequence[Any]) -> Tensor:
    """Return (B, C, H, W) from the images of one view.

    Raises:
        UserError: they are not tensors of one shape.
    """
    kinds = {tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__ for image in images}
    if len(kinds) > 1 or not isinstance(images[0], Tensor):
        raise UserError(
            "a pipeline must end in tensors of one shape (ToImage makes a tensor, Resize or a crop one shape); "
            f"this one ends in {' and '.join(str(kind) for kind in sorted(kinds, key=str)[:3])}"
        )
    plain = [image.as_subclass(Tensor) for image in images]
    if plain[0].ndim == 3 and all(image.permute(1, 2, 0).is_contiguous() for image in plain):
        # what is channels last stays so: torch.stack alone would take ten times as long to lay it out anew
        return torch.stack([image.permute(1, 2, 0) for image in plain]).permute(0, 3, 1, 2)
    return torch.stack([image.contiguous() for image in plain])
