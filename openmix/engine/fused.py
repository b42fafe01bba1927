"""torch's fused optimizers: when they are taken, and what their kernels ask of what they are handed."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from openmix.engine.sharding import local
from openmix.registry import OPTIMIZERS, lookup

__all__ = ["begin_momentum", "fused_where_possible", "lying_as"]

# the optimizers that have one kernel for all their parameters, and what cannot go with it
FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
OTHER_WAYS = ("foreach", "capturable", "differentiable", "dampening")


def fused_where_possible(arguments: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Return ``fused=True`` for an optimizer that has one kernel for all, where the config does not choose another.

    It reads and writes each number once: on a CPU in a fifth of the time. torch never takes it of itself.
    """
    parameters = [p for group in groups for p in group["params"]]
    chosen = any(arguments.get(way) for way in OTHER_WAYS) or "fused" in arguments
    takes = lookup(arguments.get("type"), OPTIMIZERS) in FUSED and all(map(_is_fusible, parameters))
    return {"fused": True} if takes and not chosen else {}


def _is_fusible(p: Tensor) -> bool:
    """Tell whether fused kernels take a parameter: real, whole, and without gaps in memory, through which they walk."""
    dense = torch.empty_like(p).stride() == p.stride()
    return p.is_floating_point() and p.device.type in ("cpu", "cuda") and local(p) is p and dense


def begin_momentum(optimizer: Optimizer) -> None:
    """Let fused SGD's momentum begin with zeros, which comes to the same, where it has not begun.

    Its kernel takes either all of a group's or none: a parameter whose first gradient comes later than those of others,
    as of a layer that is thawed, would end the run.
    """
    for group in optimizer.param_groups if isinstance(optimizer, torch.optim.SGD) else ():
        if group["fused"] and group["momentum"] and not group["dampening"]:
            for p in group["params"]:
                if optimizer.state[p].get("momentum_buffer") is None:
                    optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)


def lying_as(parameter: Tensor, value: Any) -> Any:
    """Return what is kept of a parameter in its memory format, which a fused kernel takes for granted."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape or value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
