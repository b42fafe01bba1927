"""Gradients that are known already, as a part of a loss: what a backward pass has yielded is not computed again."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["with_gradients"]


def with_gradients(value: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Return a number whose gradient by the parameters is the one given.

    Added to a loss it contributes ``value`` and ``gradients``, as the graph would from which they came, without that
    graph: accumulation, loss scaling and DistributedDataParallel see nothing special.

    Args:
        value: 0-d; its own graph is not followed.
        parameters: that require a gradient.
        gradients: of the same shapes.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> with_gradients(torch.tensor(5.0), [w], [torch.tensor([3.0, 4.0])]).backward()
    >>> w.grad
    tensor([3., 4.])
    """
    return _Replay.apply(value.detach(), tuple(gradients), *parameters)  # type: ignore[no-any-return]


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: tuple[Tensor, ...], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        scaled = torch._foreach_mul(list(ctx.gradients), grad.float())  # pyright: ignore[reportPrivateImportUsage]
        return None, None, *scaled
