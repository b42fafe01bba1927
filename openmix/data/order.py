"""Which images a shard sees at which step: a function of (seed, epoch), shared by every loader.

A shard is one micro-batch of one step: there are ``world_size * accumulate`` of them. Shard ``s`` of a step belongs to
rank ``s % world_size``, so 2 processes see what 1 process that accumulates 2 sees, in the same micro-batches.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.errors import UserError
from openmix.ops.random import generator_for

__all__ = ["Shards", "epoch_order", "eval_batches", "steps_per_epoch", "train_batches"]


@dataclass(frozen=True)
class Shards:
    """This process's place among all: its rank, how many there are, and how many micro-batches each accumulates."""

    rank: int = 0
    world_size: int = 1
    accumulate: int = 1

    @property
    def per_step(self) -> int:
        """How many micro-batches make one optimizer step, over all processes."""
        return self.world_size * self.accumulate

    def own(self) -> range:
        """Return the shard numbers that this process computes in every step, in order."""
        return range(self.rank, self.per_step, self.world_size)


def steps_per_epoch(num_samples: int, batch_size: int, shards: Shards) -> int:
    """Return the optimizer steps of one epoch; the incomplete last one is dropped.

    Raises:
        UserError: the data set is too small for a single step.
    """
    steps = num_samples // (batch_size * shards.per_step)
    if steps == 0:
        raise UserError(
            f"the training set has {num_samples} images, fewer than one step takes: batch_size {batch_size} x "
            f"{shards.world_size} processes x {shards.accumulate} accumulated; lower batch_size"
        )
    return steps


def epoch_order(seed: int, epoch: int, num_samples: int) -> Tensor:
    """Return the order in which epoch ``epoch`` visits the data set: int64 (num_samples,), a permutation."""
    return torch.randperm(num_samples, generator=generator_for(seed, "order", epoch))


def train_batches(
    seed: int, epoch: int, num_samples: int, batch_size: int, shards: Shards, start_step: int = 0
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield ``(step, shard, index)`` for every micro-batch of this process, from step ``start_step`` of the epoch on.

    ``step`` counts within the epoch; ``index`` is int64 (batch_size,).
    """
    order = epoch_order(seed, epoch, num_samples)
    for step in range(start_step, steps_per_epoch(num_samples, batch_size, shards)):
        for shard in shards.own():
            first = (step * shards.per_step + shard) * batch_size
            yield step, shard, order[first : first + batch_size]


def eval_batches(num_samples: int, batch_size: int, shards: Shards) -> Iterator[Tensor]:
    """Yield the index tensors of this process's evaluation batches: every image once, none dropped, none repeated.

    Whole batches are dealt out to the ranks in turn, so each batch is computed alike for any number of processes.
    """
    index = torch.arange(num_samples)
    yield from index.split(batch_size)[shards.rank :: shards.world_size]
