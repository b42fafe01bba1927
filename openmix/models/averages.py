"""Networks that are the exponential moving average of others."""

import copy
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["average_of", "follow"]

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
    pairs = list(zip(_tensors(average, buffers), _tensors(network, buffers), strict=True))
    ours, theirs = zip(*((a, b.detach()) for a, b in pairs if a.is_floating_point()), strict=True)
    # torch's AveragedModel would ask the device, twice a step, whether it is the first one
    torch._foreach_lerp_(list(ours), list(theirs), share)
    for a, b in pairs:
        if not a.is_floating_point():
            a.copy_(b)


def _tensors(network: nn.Module, buffers: bool) -> Iterable[Tensor]:
    return [*network.parameters(), *(network.buffers() if buffers else ())]
