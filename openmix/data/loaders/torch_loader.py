"""The loader for any data set and any pipeline: torch's DataLoader with torchvision's transforms."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.data.batch import Batch
from openmix.data.loaders.damage import DamageLimit
from openmix.data.loaders.fused import Decode
from openmix.data.loaders.protocol import EVALUATION, BaseLoader, check_views
from openmix.data.loaders.sampling import BatchFetcher
from openmix.data.loaders.workers import Workers
from openmix.data.order import Shards, eval_batches, train_batches
from openmix.data.sources.protocol import Source

__all__ = ["TorchLoader"]

Request = tuple[int, Tensor]  # epoch, indices


class TorchLoader(BaseLoader):
    """Load with torch's DataLoader: any source, any pipeline, in worker processes where wanted.

    Every image's augmentation is keyed by (seed, epoch, index), so batches do not depend on the number of workers, on
    the number of processes, or on where the epoch was started. Workers start at once, one torch thread each,
    and live until :meth:`close`. One iteration runs at a time: starting another ends the one before.

    Args:
        dataset: the set.
        batch_size: images of one micro-batch.
        pipeline: transforms of one uint8 (C, H, W) image, in order; the last gives a tensor, or is ``Views``, which
            gives several. A source that is in memory is indexed a batch at a time, and so augmented where there is
            nothing but ``RandomCrop``, ``RandomHorizontalFlip`` and ``Cutout``; the bits are those of one by one.
        num_workers: worker processes; 0 loads in this one.
        max_damaged: how many different images may turn out damaged, each replaced by the next one of the set.
        decode: how JPEGs are decoded where the pipeline begins with ``RandomResizedCrop``, 'exact' or 'fast'. Either
            way the rows below the crop are left out, and the boxes and all other draws are torchvision's. With 'exact'
            so are the pixels, bit for bit. With 'fast' images are also decoded at 1/2, 1/4 or 1/8 of their size where
            the crop is as many times as large as needed: :func:`openmix.data.cropping.decode_crop` says by how much
            pixels differ then.
        seed: of the order and of the pipeline's draws.
        shards: this process's place among all.
        device: where the batches will go: batches stay on the CPU, in pinned memory if this is a CUDA device.

    Raises:
        UserError: ``batch_size`` below 1, ``num_workers`` or ``max_damaged`` below 0; ``Views`` elsewhere than at the
            pipeline's end; in use, too many damaged images.

    >>> from openmix.data.sources import Synthetic
    >>> loader = TorchLoader(Synthetic(10, (3, 8, 8), 100), batch_size=30)
    >>> [(shard, tuple(batch.images.shape)) for shard, batch in loader.epoch(0)]
    [(0, (30, 3, 8, 8)), (0, (30, 3, 8, 8)), (0, (30, 3, 8, 8))]
    >>> [len(batch) for batch in loader.evaluate()]
    [30, 30, 30, 10]
    """

    def __init__(
        self,
        dataset: Source,
        batch_size: int,
        *,
        pipeline: Sequence[Callable[..., Any]] = (),
        num_workers: int = 0,
        max_damaged: int = 10,
        decode: Decode = "exact",
        seed: int = 0,
        shards: Shards = Shards(),  # noqa: B008  (frozen)
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dataset, batch_size, seed, shards, device)
        check_views(pipeline)
        self._damage = DamageLimit(max_damaged)
        self._workers = Workers(BatchFetcher(dataset, pipeline, seed, decode), num_workers, self.device.type == "cuda")

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield ``(shard, micro-batch)`` of a training epoch from ``start_step`` on, without loading what is before."""
        plan = list(train_batches(self.seed, epoch, self.num_samples, self.batch_size, self.shards, start_step))
        batches = self._fetch([(epoch, index) for _, _, index in plan])
        for (_, shard, _), batch in zip(plan, batches, strict=True):
            yield shard, batch

    def evaluate(self) -> Iterator[Batch]:
        """Yield this process's share of the set, in order and complete."""
        indices = eval_batches(self.num_samples, self.batch_size, self.shards)
        yield from self._fetch([(EVALUATION, index) for index in indices])

    def close(self) -> None:
        """Stop the workers. Closing twice is allowed."""
        self._workers.close()

    def _fetch(self, requests: list[Request]) -> Iterator[Batch]:
        """Yield the batches of these requests, in order."""
        for batch in self._workers.answer([(epoch, index.numpy()) for epoch, index in requests]):
            self._damage.check(batch.damaged)
            yield batch
