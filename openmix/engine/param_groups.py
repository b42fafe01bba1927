"""Parameters with a learning rate or weight decay of their own, such as norms and biases without decay."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn
from torch.optim import Optimizer

from openmix.engine.settings import ParamwiseCfg
from openmix.errors import UserError

__all__ = ["apply_multipliers", "split_groups"]

Multipliers = tuple[float, float]  # of the learning rate, of the weight decay


def split_groups(groups: Iterable[dict[str, Any]], task: nn.Module, cfg: ParamwiseCfg) -> list[dict[str, Any]]:
    """Divide parameter groups so that all of a group has the same multipliers, which it then holds.

    Args:
        groups: as :meth:`openmix.tasks.base.Task.parameter_groups` gives them.
        task: whose parameters they are.
        cfg: who gets which multipliers.

    Raises:
        UserError: a custom key that is in no parameter's name.
    """
    own: dict[int, Multipliers] = {}
    for p, multipliers in _multipliers(task, cfg):
        own.setdefault(id(p), multipliers)  # a shared one is what its first owner makes of it
    divided: list[dict[str, Any]] = []
    for group in groups:
        parts: dict[Multipliers, list[nn.Parameter]] = {}
        for p in group["params"]:
            parts.setdefault(own[id(p)], []).append(p)
        divided += [{**group, "params": ps, "lr_mult": lr, "decay_mult": wd} for (lr, wd), ps in parts.items()]
    return divided


def apply_multipliers(optimizer: Optimizer) -> None:
    """Multiply each group's learning rate and weight decay by what :func:`split_groups` has put there."""
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * group.get("lr_mult", 1.0)  # and it stays, for schedules with rates of their own
        if "weight_decay" in group:
            group["weight_decay"] = group["weight_decay"] * group.pop("decay_mult", 1.0)


def _multipliers(task: nn.Module, cfg: ParamwiseCfg) -> Iterator[tuple[nn.Parameter, Multipliers]]:
    keys = sorted(cfg.custom_keys, key=lambda key: (-len(key), key))
    names = [name for name, _ in task.named_parameters()]
    for key in keys:
        if not any(key in name for name in names):
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"paramwise_cfg.custom_keys: no parameter's name contains {key!r}{hint}")
    for path, module in task.named_modules():
        is_norm = "Norm" in type(module).__name__  # torch's and timm's all have it in their names
        for name, p in module.named_parameters(recurse=False):
            key = next((key for key in keys if key in f"{path}.{name}"), None)
            if key is not None:
                custom = cfg.custom_keys[key]
                yield p, (custom.get("lr_mult", 1.0), custom.get("decay_mult", 1.0))
            elif is_norm:
                yield p, (1.0, cfg.norm_decay_mult)
            elif name == "bias":
                yield p, (1.0, cfg.bias_decay_mult)
            else:
                yield p, (1.0, cfg.flat_decay_mult if p.ndim == 1 else 1.0)
