"""Optimizers that torch and timm lack."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from openmix.registry import OPTIMIZERS

__all__ = ["LARS"]


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    """LARS as MAE, MoCo v3 and others of their authors have it: biases and norms are left to plain SGD.

    Yang You et al. Large Batch Training of Convolutional Networks. 2017, arXiv:1708.03888.

    A parameter of two dimensions or more has its weight decay added to its gradient, and that sum is scaled to
    ``trust_coefficient`` times the parameter's norm; where either norm is 0 it is left as it is. One of a single
    dimension neither decays nor is scaled. Then comes SGD with momentum. timm's ``Lars`` scales and decays all
    parameters alike; with ``always_adapt=True`` it is apex's LARC without clipping, MoCo's.

    Args:
        params: parameters, or groups of them.
        lr: learning rate, at least 0.
        momentum: in [0, 1). Default 0.9, the authors'.
        weight_decay: at least 0. Default 0, the authors' for linear probes.
        trust_coefficient: above 0. Default 0.001, the authors'.

    Raises:
        ValueError: a number out of range.

    >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    >>> weight.grad = torch.tensor([[0.0, 2.0]])
    >>> LARS([weight], lr=10.0).step()  # of norm 5: the gradient is scaled to a norm of 0.005
    >>> weight.data
    tensor([[3.0000, 3.9500]])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
    ) -> None:
        if not (lr >= 0 and weight_decay >= 0 and 0 <= momentum < 1 and trust_coefficient > 0):
            raise ValueError(
                "lr and weight_decay must be at least 0, momentum in [0, 1) and trust_coefficient above 0, got "
                f"lr={lr}, weight_decay={weight_decay}, momentum={momentum}, trust_coefficient={trust_coefficient}"
            )
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "trust_coefficient": trust_coefficient})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step, without waiting for the device."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    update = _adapted(p, p.grad, group) if p.ndim > 1 else p.grad
                    state = self.state[p]
                    if not state:
                        state["momentum_buffer"] = torch.zeros_like(p)
                    p.sub_(state["momentum_buffer"].mul_(group["momentum"]).add_(update), alpha=group["lr"])
        return loss


def _adapted(p: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
    update = gradient.add(p, alpha=group["weight_decay"])
    norm, size = p.norm(), update.norm()
    either_is_zero = (norm == 0) | (size == 0)
    return update * torch.where(either_is_zero, 1.0, group["trust_coefficient"] * norm / size)
