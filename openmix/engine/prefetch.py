"""Make the next batch while a GPU still computes the step before it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from openmix.data.batch import Batch

__all__ = ["Prefetch"]


class Prefetch:
    """Has batches made and prepared on a stream of their own, so that the GPU need not finish a step first.

    Work for a GPU is queued, and the host is done with a step long before the GPU is. What it asks for next goes into
    a second queue, a side stream, and is computed beside the step: a resident loader's kernels, the copy of a batch
    that lies in pinned memory, normalising. The step's stream then waits for the side stream; the host never does. So
    a batch is made ahead of its turn on the device, though never on the host: the loader is asked for a batch when a
    step wants it, what it raises is raised at that step, and nothing is left over where a run stops.

    Memory is safe without waiting for anybody. Pinned memory that is being copied from is torch's, who notes the
    stream of the copy and gives it out again after that. Of what the step gets, torch is told that the step's stream
    uses it as well (``record_stream``); so it is not given to the side stream again before that stream has passed the
    place where it was freed, be that in the same step or, as a hook kept it, in a later one. Where a GPU is many steps
    behind the host, so many batches lie in its memory.

    On a CPU there is nobody to work ahead, and batches are made and prepared in turn.

    Args:
        device: where batches are wanted.
        cuda: stands for ``torch.cuda`` in tests.
    """

    def __init__(self, device: torch.device, cuda: Any = torch.cuda) -> None:
        self.device = device
        self.cuda = cuda
        # one for all epochs: memory that was used on a stream is kept for it
        self.side = cuda.Stream(device) if device.type == "cuda" else None

    def __call__(
        self, batches: Iterable[tuple[int, Batch]], prepare: Callable[[Batch], Batch]
    ) -> Iterator[tuple[int, Batch]]:
        """Yield each ``(shard, batch)``, the batch prepared; close the loader's iterator at the end.

        Args:
            batches: what a loader yields.
            prepare: brings a batch to the device and normalises it. It may not wait for the device.
        """
        source = iter(batches)
        try:
            yield from _in_turn(source, prepare) if self.side is None else self._beside(self.side, source, prepare)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    def _beside(
        self, side: Any, source: Iterator[tuple[int, Batch]], prepare: Callable[[Batch], Batch]
    ) -> Iterator[tuple[int, Batch]]:
        side.wait_stream(self.cuda.current_stream(self.device))  # for the set, and what else was made there
        while True:
            with self.cuda.stream(side):
                found = next(source, None)
                if found is None:
                    return
                shard, batch = found[0], prepare(found[1])
            consumer = self.cuda.current_stream(self.device)
            consumer.wait_stream(side)
            for tensor in _tensors(batch):
                tensor.record_stream(consumer)
            del found
            yield shard, batch
            del batch  # whoever wants it still has it


def _in_turn(source: Iterator[tuple[int, Batch]], prepare: Callable[[Batch], Batch]) -> Iterator[tuple[int, Batch]]:
    for shard, batch in source:
        yield shard, prepare(batch)


def _tensors(batch: Batch) -> Iterator[Tensor]:
    """Yield the tensors of a batch that lie on a GPU."""
    for tensor in (*batch.views, batch.labels, batch.index, batch.pixel_range):
        if tensor is not None and tensor.is_cuda:
            yield tensor
