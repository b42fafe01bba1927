"""Networks that are the exponential moving average of others."""

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["average_of", "follow", "move"]

M = TypeVar("M", bound=nn.Module)


def average_of(network: M) -> M:
    """Return a copy of a network that no optimizer trains; :func:`follow` moves it."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, share: float, buffers: bool) -> None:
    """Move an average on: ``average = (1 - share) * average + share * network``, without waiting for the device.

    Args:
        average: of the same parts as ``network``, in the same order.
        network: what it follows.
        share: of what is new, in [0, 1].
        buffers: whether BatchNorm's statistics, and other buffers, are averaged too; whole numbers are copied. That is
            right for a network that only ever evaluates. One that runs in mode 'train' has statistics of its own
            activations, and those of the network's would be wrong for it.
    """
    move(_tensors(average, buffers), _tensors(network, buffers), share)


@torch.no_grad()
def move(averages: Sequence[Tensor], news: Sequence[Tensor], share: float) -> None:
    """Move averages on, many in one call: ``average = (1 - share) * average + share * new``; whole numbers are copied.

    torch's AveragedModel goes from one to the next, and asks at each of them whether it is the first time.
    """
    pairs = list(zip(averages, news, strict=True))
    real = [(a, b.detach()) for a, b in pairs if _has_fractions(a)]
    torch._foreach_lerp_([a for a, _ in real], [b for _, b in real], share)
    if whole := [(a, b) for a, b in pairs if not _has_fractions(a)]:
        torch._foreach_copy_([a for a, _ in whole], [b for _, b in whole])


def _has_fractions(a: Tensor) -> bool:
    return a.is_floating_point() or a.is_complex()


def _tensors(network: nn.Module, buffers: bool) -> list[Tensor]:
    return [*network.parameters(), *(network.buffers() if buffers else ())]
