"""What all processes have of a batch, one after the other, and images that change places among them.

Without a process group there is one process, and nothing is exchanged. All processes must call these equally often, and
with as many rows each, as the loaders give them.
"""

from typing import Any, NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Gathered", "Shuffle", "gather", "processes"]


class Gathered(NamedTuple):
    """The rows of all processes.

    Attributes:
        rows: (ranks * B, ...), rank 0's first.
        first: where this process's own begin.
    """

    rows: Tensor
    first: int


def processes() -> tuple[int, int]:
    """Return this process's rank and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def gather(tensor: Tensor, gradient: bool = False) -> Gathered:
    """Gather a tensor (B, ...) from all processes.

    Args:
        tensor: of the same shape on each.
        gradient: whether a gradient goes back to all of them. The gradient of a row is the sum of what the processes'
            losses have for it; so the mean of the processes' gradients, which DistributedDataParallel takes, is the
            gradient of the mean of their losses. Otherwise the rows are data, this process's own too.

    >>> gather(torch.ones(2, 3)).rows.shape
    torch.Size([2, 3])
    """
    rank, size = processes()
    if size == 1:
        return Gathered(tensor if gradient else tensor.detach(), 0)
    rows = cast("Tensor", _Gather.apply(tensor)) if gradient else _rows(tensor.detach())
    return Gathered(rows, rank * len(tensor))


class Shuffle:
    """Which images each process computes where those of all processes change places at random (Shuffle BN of MoCo).

    Each process's BatchNorm then sees other images together than are together elsewhere.

    Args:
        count: B, a process's images.
        generator: a CPU generator, in the same state on every process.
        device: of the images.

    >>> shuffle = Shuffle(5, torch.Generator().manual_seed(0), torch.device("cpu"))
    >>> images = torch.arange(5)
    >>> shuffle.returned(10 * shuffle.dealt(images))
    tensor([ 0, 10, 20, 30, 40])
    """

    def __init__(self, count: int, generator: torch.Generator, device: torch.device) -> None:
        rank, size = processes()
        order = torch.randperm(size * count, generator=generator, device="cpu")
        own = slice(rank * count, (rank + 1) * count)
        self._dealt, self._returned = (index[own].to(device, non_blocking=True) for index in (order, order.argsort()))

    def dealt(self, images: Tensor) -> Tensor:
        """Return the images (B, ...) that this process is to compute, from what all have; they take no gradient."""
        return gather(images).rows[self._dealt]

    def returned(self, features: Tensor) -> Tensor:
        """Return the features (B, ...) of this process's own images, from what all have computed; without gradient."""
        return gather(features).rows[self._returned]


class _Gather(torch.autograd.Function):
    # torch.distributed.nn has one that torch means to take away; its successor has no gradient on gloo

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.count = len(tensor)
        return _rows(tensor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        rank, _ = processes()
        return total[rank * ctx.count : (rank + 1) * ctx.count]


def _rows(tensor: Tensor) -> Tensor:
    tensor = tensor.contiguous()
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor)
    return torch.cat(parts)
