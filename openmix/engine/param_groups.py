"""Parameters with a learning rate, weight decay or momentum of their own, such as norms and biases without decay."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from torch import nn
from torch.optim import Optimizer

from openmix.engine.layer_decay import layer_scales
from openmix.engine.settings import ParamwiseCfg
from openmix.errors import UserError

__all__ = ["apply_multipliers", "groups_of", "split_groups"]


class _Own(NamedTuple):
    """What is a parameter's own: factors of the learning rate and of the weight decay; the momentum, if it is."""

    lr_mult: float = 1.0
    decay_mult: float = 1.0
    momentum: float | None = None


def split_groups(groups: Iterable[dict[str, Any]], task: nn.Module, cfg: ParamwiseCfg) -> list[dict[str, Any]]:
    """Divide parameter groups so that all of a group has the same multipliers and momentum, which it then holds.

    Whatever else a group says, such as its name, every part of it says as well.

    Args:
        groups: as :meth:`openmix.tasks.base.Task.parameter_groups` gives them.
        task: whose parameters they are.
        cfg: who gets what.

    Raises:
        UserError: a custom key that is in no parameter's name; layers that cannot be told apart.
    """
    scales = {} if cfg.layer_decay == 1 else layer_scales(task, cfg.layer_decay)
    owned: dict[int, _Own] = {}
    for name, p, own in _owned(task, cfg):
        own = own._replace(lr_mult=own.lr_mult * scales.get(name, 1.0))
        owned.setdefault(id(p), own)  # a shared one is what its first owner makes of it
    divided: list[dict[str, Any]] = []
    for group in groups:
        parts: dict[_Own, list[nn.Parameter]] = {}
        for p in group["params"]:
            parts.setdefault(owned[id(p)], []).append(p)
        for own, ps in parts.items():
            says = {key: value for key, value in own._asdict().items() if value is not None}
            divided.append({**group, "params": ps, **says})
    return divided


def apply_multipliers(optimizer: Optimizer) -> None:
    """Multiply each group's learning rate and weight decay by what :func:`split_groups` has put there.

    Raises:
        UserError: a group has a momentum, which the optimizer does not know.
    """
    if "momentum" not in optimizer.defaults and any("momentum" in group for group in optimizer.param_groups):
        name = type(optimizer).__name__
        raise UserError(f"paramwise_cfg.custom_keys: {name} has no momentum to be set; SGD and its like have one")
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * group.get("lr_mult", 1.0)  # and it stays, for schedules with rates of their own
        if "weight_decay" in group:
            group["weight_decay"] = group["weight_decay"] * group.pop("decay_mult", 1.0)


def groups_of(optimizer: Optimizer, name: str | None) -> Optimizer:
    """Return what a schedule moves: an optimizer's groups of one name, or for None all of them.

    Raises:
        UserError: no group has this name.
    """
    if name is None:
        return optimizer
    names = list(dict.fromkeys(group["name"] for group in optimizer.param_groups if "name" in group))
    if not names:
        raise UserError(f"param_scheduler: group={name!r}, but this task's parameter groups have no names")
    if name not in names:
        known = ", ".join(map(repr, names))
        raise UserError(f"param_scheduler: group={name!r}, but this task's parameter groups are named {known}")
    return _GroupsOf(optimizer, name)


class _GroupsOf(Optimizer):
    """The groups of one name, for torch's schedulers, which take nothing but an Optimizer; it takes no steps itself."""

    _opt_called = True  # where torch would notice a schedule that moves on before the first step

    def __init__(self, optimizer: Optimizer, name: str) -> None:  # not the base's, which would make groups of its own
        self.optimizer, self.name, self.defaults = optimizer, name, optimizer.defaults

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The very groups that the optimizer has now; restoring its state gives it new ones."""
        return [group for group in self.optimizer.param_groups if group.get("name") == self.name]


def _owned(task: nn.Module, cfg: ParamwiseCfg) -> Iterator[tuple[str, nn.Parameter, _Own]]:
    keys = sorted(cfg.custom_keys, key=lambda key: (-len(key), key))
    names = [name for name, _ in task.named_parameters()]
    for key in keys:
        if not any(key in name for name in names):
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"paramwise_cfg.custom_keys: no parameter's name contains {key!r}{hint}")
    for path, module in task.named_modules():
        is_norm = "Norm" in type(module).__name__  # torch's and timm's all have it in their names
        for own_name, p in module.named_parameters(recurse=False):
            name = f"{path}.{own_name}" if path else own_name
            key = next((key for key in keys if key in name), None)
            if key is not None:
                yield name, p, _Own(**cfg.custom_keys[key])
            elif is_norm:
                yield name, p, _Own(decay_mult=cfg.norm_decay_mult)
            elif own_name == "bias":
                yield name, p, _Own(decay_mult=cfg.bias_decay_mult)
            else:
                yield name, p, _Own(decay_mult=cfg.flat_decay_mult if p.ndim == 1 else 1.0)
