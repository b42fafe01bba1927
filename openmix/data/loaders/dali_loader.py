"""The loader that decodes and augments with NVIDIA DALI, on CPUs or on the GPU."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import torch

from openmix.data.batch import Batch
from openmix.data.dali.branches import Branches
from openmix.data.dali.counterparts import counterparts
from openmix.data.dali.encoded import EncodedBatch, EncodedFetcher, Request
from openmix.data.dali.pipeline import DaliPipeline, import_dali
from openmix.data.loaders.damage import DamageLimit
from openmix.data.loaders.protocol import EVALUATION, BaseLoader, split_views
from openmix.data.loaders.workers import Workers
from openmix.data.order import Shards, eval_batches, train_batches
from openmix.data.sources.protocol import Source
from openmix.errors import UserError

__all__ = ["DaliLoader"]


class DaliLoader(BaseLoader):
    """Load images from files or records with DALI: the same order, sharding, resuming and replacing as every loader.

    Images are read by this project's own sources, and every number is drawn here, keyed by (seed, epoch, step, shard);
    DALI is fed with encoded bytes, boxes, flips and strengths. So a batch is a function of its key: an interrupted run
    goes on with the same images, each image is seen once an epoch whatever the number of processes, and a damaged one
    is replaced. DALI's own readers guarantee none of that (:class:`~openmix.data.loaders.DaliReaderLoader` has them).

    Args:
        dataset: a set of colour images; made for encoded ones (``ImageFolder``, ``RecordIO``, ``FileList``, ...).
        batch_size: images of one micro-batch.
        pipeline: torchvision's transforms, as for the other loaders, in order. Those with a counterpart:
            ``RandomResizedCrop`` (decoded no further than the box, where it comes first), ``Resize``, ``CenterCrop``,
            ``RandomCrop``, ``RandomHorizontalFlip``, ``ColorJitter``, ``RandAugment``, ``TrivialAugmentWide`` (DALI's
            operations, :mod:`openmix.data.dali.colour` says how they differ), ``RandomGrayscale``, ``GaussianBlur``,
            ``RandomSolarize``, ``RandomApply``, ``CropMix``, ``ScaleMix``, ``CropMixPair`` and ``Cutout``. It may
            end in ``Views``: each image is then decoded once for all of them.
        num_threads: DALI's CPU threads, which decode.
        num_workers: processes that read and draw; 0 does so in this one, between two steps.
        prefetch: batches that are made ahead. Default 2, DALI's.
        max_damaged: how many different images may turn out damaged, each replaced by the next one of the set.
        seed: of the order and of the draws.
        shards: this process's place among all.
        device: where the images are made; decoding is on the GPU where this is one.

    Raises:
        UserError: DALI is not installed, a transform has no counterpart, ``Views`` is not the last one, a number is too
            small.
    """

    def __init__(
        self,
        dataset: Source,
        batch_size: int,
        *,
        pipeline: Sequence[Callable[..., Any]] = (),
        num_threads: int = 2,
        num_workers: int = 0,
        prefetch: int = 2,
        max_damaged: int = 10,
        seed: int = 0,
        shards: Shards = Shards(),  # noqa: B008  (frozen)
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dataset, batch_size, seed, shards, device)
        if min(num_threads, prefetch) < 1:
            raise UserError(f"num_threads and prefetch must be at least 1, not {num_threads} and {prefetch}")
        import_dali()
        shared, views = split_views(pipeline)
        stages = Branches(counterparts(shared), [counterparts(view) for view in views])
        fetcher = EncodedFetcher(dataset, stages, seed)
        self._damage = DamageLimit(max_damaged)
        self._workers = Workers(fetcher, num_workers)
        self._pipeline = DaliPipeline(stages, batch_size, num_threads, prefetch, self.device, fetcher.fetch)

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield ``(shard, micro-batch)`` of a training epoch from ``start_step`` on, without reading what is before."""
        plan = list(train_batches(self.seed, epoch, self.num_samples, self.batch_size, self.shards, start_step))
        batches = self._run([Request((epoch, step, shard), index.numpy()) for step, shard, index in plan])
        for (_, shard, _), batch in zip(plan, batches, strict=True):
            yield shard, batch

    def evaluate(self) -> Iterator[Batch]:
        """Yield this process's share of the set, in order and complete."""
        indices = eval_batches(self.num_samples, self.batch_size, self.shards)
        numbers = count(self.shards.rank, self.shards.world_size)  # the same for any number of processes
        yield from self._run([Request((EVALUATION, n, 0), i.numpy()) for n, i in zip(numbers, indices, strict=False)])

    def close(self) -> None:
        """Stop the worker processes and DALI's threads. Closing twice is allowed."""
        self._workers.close()
        self._pipeline.close()

    def _run(self, requests: list[Request]) -> Iterator[Batch]:
        """Yield the batches of these requests, in order."""
        for encoded, views in self._pipeline.run(self._workers.answer(requests)):
            self._damage.check(encoded.damaged)
            yield self._batch(encoded, views)

    def _batch(self, encoded: EncodedBatch, views: tuple[torch.Tensor, ...]) -> Batch:
        index = torch.from_numpy(encoded.request.indices)
        return Batch(views, encoded.labels, index, damaged=encoded.damaged)
