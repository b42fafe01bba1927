"""How a batch passes from a worker process to the one that trains.

torch gives every tensor a file in shared memory, whose descriptor the receiver has to ask for through a socket. That
costs half a millisecond of both processes for each; what is small is cheaper as a part of the message itself: a batch
of 100 CIFAR images then takes a third of the processor's time.
"""

from collections.abc import Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openmix.data.batch import Batch
from openmix.errors import DamagedImageError

__all__ = ["SMALL", "pass_small_in_messages"]

SMALL = 2**20  # bytes; about there a file begins to cost the receiver less


def pass_small_in_messages() -> None:
    """Let batches be passed so, to whatever process; calling twice is allowed."""
    ForkingPickler.register(Batch, _reduced)


def _reduced(batch: Batch) -> tuple[Any, ...]:
    """Return what makes the batch again in the other process."""
    tensors = batch.labels, batch.index, *batch.views
    return _made, ([_packed(tensor) for tensor in tensors], batch.pixel_range, batch.damaged)


def _made(
    packed: Sequence[np.ndarray | Tensor], pixel_range: Tensor | None, damaged: tuple[DamagedImageError, ...]
) -> Batch:
    labels, index, *views = (torch.from_numpy(part) if isinstance(part, np.ndarray) else part for part in packed)
    return Batch(tuple(views), labels, index, pixel_range, damaged)


def _packed(tensor: Tensor) -> np.ndarray | Tensor:
    """Return what is small as an array, which goes into the message as its bytes; the rest is left to torch."""
    if tensor.nbytes > SMALL or not tensor.is_contiguous():
        return tensor
    try:
        return tensor.numpy().copy()  # as torch frees a tensor's memory where it moves another part of that to a file
    except (TypeError, RuntimeError):  # of a kind that numpy has not, such as bfloat16
        return tensor
