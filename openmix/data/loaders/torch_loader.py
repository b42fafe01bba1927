"""The loader for any data set and any pipeline: torch's DataLoader with torchvision's transforms."""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from openmix.data.batch import Batch
from openmix.data.loaders.damage import DamageLimit
from openmix.data.loaders.protocol import EVALUATION, BaseLoader
from openmix.data.loaders.sampling import BatchFetcher
from openmix.data.loaders.signals import heed_parent_only, sigterm_blocked
from openmix.data.order import Shards, eval_batches, train_batches
from openmix.data.sources.protocol import Source
from openmix.errors import UserError

__all__ = ["TorchLoader"]

Request = tuple[int, Tensor]  # epoch, indices


class TorchLoader(BaseLoader):
    """Load with torch's DataLoader: any source, any pipeline, in worker processes where wanted.

    Every image's augmentation is keyed by (seed, epoch, index), so batches do not depend on the number of workers, on
    the number of processes, or on where the epoch was started. Workers start at the first batch, one torch thread each,
    and live until :meth:`close`. One iteration runs at a time: starting another ends the one before.

    Args:
        dataset: the set.
        batch_size: images of one micro-batch.
        pipeline: transforms of one uint8 (C, H, W) image, in order; the last gives a tensor, or a tuple of them for
            several views. A source that is in memory is indexed a batch at a time where the pipeline is empty.
        num_workers: worker processes; 0 loads in this one.
        max_damaged: how many different images may turn out damaged, each replaced by the next one of the set.
        seed: of the order and of the pipeline's draws.
        shards: this process's place among all.
        device: where the batches will go: batches stay on the CPU, in pinned memory if this is a CUDA device.

    Raises:
        UserError: ``batch_size`` below 1, ``num_workers`` or ``max_damaged`` below 0; in use, too many damaged images.

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
        seed: int = 0,
        shards: Shards = Shards(),  # noqa: B008  (frozen)
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dataset, batch_size, seed, shards, device)
        if num_workers < 0:
            raise UserError(f"num_workers must be at least 0, not {num_workers}")
        self._damage = DamageLimit(max_damaged)
        self._requests = _Requests()
        self._loader: DataLoader | None = DataLoader(
            BatchFetcher(dataset, pipeline, seed),  # pyright: ignore[reportArgumentType]  (fetches by __getitems__)
            batch_sampler=self._requests,  # pyright: ignore[reportArgumentType]  (its "indices" are requests)
            num_workers=num_workers,
            collate_fn=_as_it_is,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # for a seed that nothing uses; the global one would be advanced otherwise
            persistent_workers=num_workers > 0,
            worker_init_fn=heed_parent_only,
            # Forked workers start at once and share the data set's memory; they use no GPU and one thread.
            multiprocessing_context="fork" if num_workers and sys.platform == "linux" else None,
        )
        self._running: Iterator[Batch | UserError] | None = None

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
        self._loader = self._running = None

    def _fetch(self, requests: list[Request]) -> Iterator[Batch]:
        """Yield the batches of these requests, in order.

        Raises:
            RuntimeError: the loader was closed, or another iteration was started since.
        """
        if not requests:
            return
        if self._loader is None:
            raise RuntimeError("this loader is closed")
        self._requests.current = requests
        with warnings.catch_warnings(), sigterm_blocked():
            # Python >= 3.12 warns of any fork beside threads; torch's own threads are never used by the workers.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning)
            self._running = iter(self._loader)
        for _ in requests:
            if self._running is None or self._requests.current is not requests:
                raise RuntimeError("this iteration is over: the loader was closed, or another one was started")
            batch = next(self._running)
            if isinstance(batch, UserError):
                raise batch
            self._damage.check(batch.damaged)
            yield batch


class _Requests:
    """The batch sampler: hands out the requests of the current iteration."""

    def __init__(self) -> None:
        self.current: list[Request] = []

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        return ((epoch, index.tolist()) for epoch, index in self.current)

    def __len__(self) -> int:
        return len(self.current)


def _as_it_is(batch: Any) -> Any:
    """Collate what is a batch already."""
    return batch
