"""The loader for small images: the whole set lies on the device, and batches are cut out of it there."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.data.batch import Batch
from openmix.data.loaders.batched import Chain, Crop, batched
from openmix.data.loaders.protocol import EVALUATION, BaseLoader, split_views
from openmix.data.order import Shards, eval_batches, train_batches
from openmix.data.sources.array import ArraySource
from openmix.data.sources.protocol import Source
from openmix.errors import UserError
from openmix.ops.random import derive_seed

__all__ = ["ResidentLoader", "not_in_memory"]


class ResidentLoader(BaseLoader):
    """Keep the set on the device as uint8 and augment whole batches there.

    It takes the same pipeline objects as :class:`~openmix.data.loaders.TorchLoader`, so that one word in a config
    switches loaders, but only those that have a batched counterpart
    (:data:`openmix.data.loaders.batched_table.COUNTERPARTS`), in any order and number, and ``Views`` of them at the
    end. The distribution of the images is the same, the single draws are not: they are keyed by (seed, epoch, step,
    shard). Draws are made on the CPU, equal for every device, and nothing waits for the device.

    A pipeline that begins with ``RandomCrop`` is the fast one: the set is then stored padded, once, and a batch is one
    indexing of it. Memory on the device is the stored set: CIFAR's 50,000 training images take 154 MB, padded by 4 they
    take 240 MB.

    Args:
        dataset: a set in memory (:class:`~openmix.data.sources.ArraySource`).
        batch_size: images of one micro-batch.
        pipeline: transforms, in order.
        seed: of the order and of the pipeline's draws.
        shards: this process's place among all.
        device: where the set lies and the batches are made.

    Raises:
        UserError: the set is not in memory, or a transform has no batched counterpart; ``Views`` elsewhere than at the
            pipeline's end.

    >>> from openmix.data.sources import Synthetic
    >>> loader = ResidentLoader(Synthetic(10, (3, 8, 8), 100), batch_size=30)
    >>> [(shard, tuple(batch.images.shape)) for shard, batch in loader.epoch(0)]
    [(0, (30, 3, 8, 8)), (0, (30, 3, 8, 8)), (0, (30, 3, 8, 8))]
    """

    def __init__(
        self,
        dataset: Source,
        batch_size: int,
        *,
        pipeline: Sequence[Callable[..., Any]] = (),
        seed: int = 0,
        shards: Shards = Shards(),  # noqa: B008  (frozen)
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dataset, batch_size, seed, shards, device)
        if not isinstance(dataset, ArraySource):
            raise UserError(not_in_memory(type(dataset).__name__))
        shared, views = split_views(pipeline)
        stages = batched(shared, dataset.image_shape)
        first = stages[0] if stages else None
        self._crop = first if isinstance(first, Crop) else None
        self._shared = Chain(stages[1:], self._crop.shape) if self._crop else Chain(stages, dataset.image_shape)
        self._views = [Chain(batched(view, self._shared.shape), self._shared.shape) for view in views]
        self._drawing = [self._shared, *self._views] if self._crop is None else [self._crop, self._shared, *self._views]
        self._draws = sum(stage.draws for stage in self._drawing)
        self._generator = torch.Generator("cpu")  # seeded for each batch
        stored = (self._crop.pad(dataset.images) if self._crop else dataset.images).to(self.device)
        self._strides = stored.stride()
        # what batches are chosen from: the images, or all the windows that can be cut out of them
        self._choices: Tensor | None = self._crop.windows(stored) if self._crop else stored
        self._labels = dataset.labels.to(self.device)
        self.fingerprint()  # now, while the set is here: only what lies on the device is kept

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield ``(shard, micro-batch)`` of a training epoch from ``start_step`` on, on the device."""
        plan = train_batches(self.seed, epoch, self.num_samples, self.batch_size, self.shards, start_step)
        for step, shard, index in plan:
            yield shard, self._batch(index, epoch, step, shard)

    def evaluate(self) -> Iterator[Batch]:
        """Yield this process's share of the set, in order and complete, on the device."""
        for number, index in enumerate(eval_batches(self.num_samples, self.batch_size, self.shards)):
            batch_number = self.shards.rank + number * self.shards.world_size  # the same for any number of processes
            yield self._batch(index, EVALUATION, batch_number, 0)

    def close(self) -> None:
        """Free the set's memory on the device. Closing twice is allowed."""
        self._choices = None

    def _batch(self, index: Tensor, epoch: int, step: int, shard: int) -> Batch:
        """Return the images ``index``, augmented by the draws of this key."""
        if self._choices is None:
            raise RuntimeError("this loader is closed")
        index, choice, (shared, *own) = self._drawn(index, epoch, step, shard)
        images = self._shared.apply(self._choices.index_select(0, choice), shared)
        views = tuple(view.apply(images, rows) for view, rows in zip(self._views, own, strict=True))
        return Batch(views, self._labels.index_select(0, index), index)

    def _drawn(self, index: Tensor, epoch: int, step: int, shard: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return on the device ``index``, what to choose for it, and the draws of what views share and of each view."""
        if not self._draws:
            index = self._sent(index)
            return index, index, [index[:0, None]] * len(self._drawing)
        generator = self._generator.manual_seed(derive_seed(self.seed, "augment", epoch, step, shard))
        drawn = [stage.draw(len(index), generator) for stage in self._drawing]
        choice = index if self._crop is None else self._crop.starts(self._strides, index, drawn.pop(0))
        rows = self._sent(torch.cat([index[None], choice[None], *drawn]))
        return rows[0], rows[1], list(rows[2:].split([len(part) for part in drawn]))

    def _sent(self, integers: Tensor) -> Tensor:
        """Return integers on the device; for a GPU from pinned memory, or the copy might wait for what is queued."""
        if self.device.type != "cuda":
            return integers.to(self.device)
        return integers.pin_memory().to(self.device, non_blocking=True)


def not_in_memory(dataset: str) -> str:
    """Return why the loader refuses a data set of this name."""
    return (
        f"ResidentLoader needs a data set that is in memory, not {dataset}; use TorchLoader, or CachedImages of what "
        "'openmix data cache' makes of it"
    )
