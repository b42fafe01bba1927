"""Layers of a network, counted from the images on, for learning rates that shrink towards them."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from openmix.errors import UserError

__all__ = ["layer_scales"]

REST = "~"  # a name that is no layer's


def layer_scales(task: nn.Module, decay: float) -> dict[str, float]:
    """Return the factor of the learning rate of each of the backbone's parameters: ``decay ** (layers behind it)``.

    A network of timm is divided into layers by timm itself: of a ViT the embeddings are layer 0 and block i is i + 1.
    Another network has its stem and its stages. What comes behind the last of them, its final norm too, which timm
    counts to the last block, is one layer with the head, of factor 1, as in the code of BEiT and MAE.

    Args:
        task: with a ``backbone``.
        decay: in (0, 1].

    Raises:
        UserError: there is no backbone, or it has no layers to tell apart.
    """
    backbone = getattr(task, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise UserError(f"paramwise_cfg.layer_decay: {type(task).__name__} has no backbone")
    names = [name for name, _ in backbone.named_parameters()]
    if hasattr(getattr(backbone, "net", None), "group_matcher"):
        layers = _by_timm(backbone.net, names)
    elif stages := getattr(backbone, "stage_names", None):
        layers = _by_stages(names, stages)
    else:
        raise UserError(f"paramwise_cfg.layer_decay: {type(backbone).__name__} does not name its stages (stage_names)")
    last = layers.pop(REST)
    return {f"backbone.{name}": decay ** (last - layer) for name, layer in layers.items()}


def _by_timm(net: Any, names: Iterable[str]) -> dict[str, int]:
    """Return the layer of each of a timm backbone's parameters, and of what is behind all."""
    from timm.models._manipulate import MATCH_PREV_GROUP, group_with_matcher

    matcher = net.group_matcher(coarse=False)
    if isinstance(matcher, dict):  # of patterns; one without a number, of what joins the layer before, is of the end
        matcher = {
            group: [(p, suffix) for p, suffix in parts if suffix != MATCH_PREV_GROUP or re.compile(p).groups]
            if isinstance(parts, list)
            else parts
            for group, parts in matcher.items()
        }
    inner = [(name.removeprefix("net."), name) for name in names]
    groups = group_with_matcher(iter([*inner, (REST, REST)]), matcher, return_values=True)
    layers = {name: layer for layer, members in groups.items() for name in members}
    # timm's patterns for a ViT leave these two embeddings out
    return layers | {name: 0 for name in names if name.startswith(("net.reg_token", "net.norm_pre."))}


def _by_stages(names: Iterable[str], stages: Sequence[str]) -> dict[str, int]:
    """Return 0 for the parameters before the first stage, k for those of the kth, and one more for those behind."""
    found, begun = {}, False
    for name in names:
        stage = next((k for k, stage in enumerate(stages, 1) if name.startswith(f"{stage}.")), None)
        begun |= stage is not None
        found[name] = stage if stage is not None else len(stages) + 1 if begun else 0
    return {**found, REST: len(stages) + 1}
