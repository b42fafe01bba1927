"""How OpenMixup's ``optimizer`` and ``optimizer_config`` become openmix's."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from openmix.convert.report import Section
from openmix.engine.settings import ParamwiseCfg
from openmix.errors import UserError
from openmix.registry import OPTIMIZERS, known_types, lookup

__all__ = ["convert_optimizer"]

# what norms are called in OpenMixup's networks, and what is none
NORMS = [
    [f"layer1.0.{kind}{i}.{part}" for i in (1, 2) for part in ("weight", "bias")] for kind in ("bn", "norm", "ln", "gn")
]
OTHERS = ("conv1.weight", "layer1.0.conv1.bias", "patch_embed.weight", "cls_token", "fc.weight", "fc.bias")
PARAMWISE = tuple(field.name for field in fields(ParamwiseCfg))
FACTORS = {
    "weight_decay": "decay_mult", "weight_decay_mult": "decay_mult", "lr": "lr_mult", "lr_mult": "lr_mult",
    "momentum": "momentum",
}  # fmt: skip
FP16 = (
    "optim_wrapper.amp='fp16', from the first layer to the last, where OpenMixup's mixing switches mmcv's autocast off "
    "again; 'bf16' needs no loss scaling"
)


def convert_optimizer(top: Section) -> dict[str, Any]:
    """Return ``optim_wrapper``."""
    old = top.section("optimizer")
    new: dict[str, Any] = {"optimizer": {}}
    base = {
        "decay_mult": old.read("weight_decay", float, 0),
        "lr_mult": old.read("lr", float, 0),
        "momentum": old.read("momentum", float | None),
    }
    paramwise = _paramwise(old.section("paramwise_options"), base)
    given = old.section("paramwise_cfg")
    paramwise |= {key: given.renamed(key, f"optim_wrapper.paramwise_cfg.{key}") for key in PARAMWISE if key in given}
    given.close()
    new["optimizer"] = _optimizer(old)
    if paramwise:
        new["paramwise_cfg"] = paramwise
    config = top.section("optimizer_config")
    if clip := config.read("grad_clip", Mapping[str, Any] | None):
        new["clip_grad"] = dict(clip)
        config.renamed("grad_clip", "optim_wrapper.clip_grad")
    config.meaningless("grad_clip", "None does not clip")
    interval = config.read("update_interval", int, 1)
    if interval < 1:
        raise UserError(f"optimizer_config.update_interval: must be at least 1, got {interval}")
    config.renamed("update_interval", "optim_wrapper.accumulative_counts")
    if interval != 1:
        new["accumulative_counts"] = interval
    for key in ("coalesce", "bucket_size_mb", "use_fp16", "type"):
        config.meaningless(key, "DistributedDataParallel and autocast see to it")
    config.close()
    if top.get("use_fp16"):
        top.changed("use_fp16", FP16)
        new["amp"] = "fp16"
    for key in ("use_fp16", "fp16"):
        top.meaningless(key, "float32 is the default; train.py --amp bf16 computes in mixed precision")
    return new


def _optimizer(old: Section) -> dict[str, Any]:
    kind = old.read("type", str)
    name = _optimizer_name(kind)
    if name is None:
        old.refused("type", f"neither torch nor timm has an optimizer {kind}")
    elif name == kind:
        old.kept("type")
    else:
        old.renamed("type", name)
    new: dict[str, Any] = {"type": name or kind}
    takes = inspect.signature(lookup(name, OPTIMIZERS)).parameters if name else {}
    for key in [key for key in old.values if key in takes]:
        new[key] = old.kept(key)
    old.close("the optimizer takes no such argument")
    return new


def _optimizer_name(kind: str) -> str | None:
    """Return what torch or timm call an optimizer: LAMB is timm's Lamb."""
    try:
        lookup(kind, OPTIMIZERS)  # looks into timm where torch has no such name
    except UserError:
        return next((known for known in known_types(OPTIMIZERS) if known.lower() == str(kind).lower()), None)
    return kind


def _paramwise(old: Section, base: Mapping[str, float | None]) -> dict[str, Any]:
    """Return ``paramwise_cfg`` for patterns of names with values of their own.

    Args:
        old: the values by pattern.
        base: the optimizer's own, of which there are factors; its momentum is None where it has none.
    """
    new: dict[str, Any] = {}
    norms = [pattern for pattern in old.values if _means_norms(pattern)]
    spared = bool(norms) or "bias" in old.values
    for pattern in list(old.values):
        options = Section(old.read(pattern, Mapping[str, Any]), old.key(pattern), old.report)
        if why := _beyond_factors(options, base):
            old.no_equivalent(pattern, why)
            continue
        factors = {FACTORS[key]: _factor(options.get(key), key, base) for key in options.values}
        if all(value == _neutral(name, base) for name, value in factors.items()):
            old.meaningless(pattern, "what it says holds of all parameters")
            continue
        decay_alone = factors.keys() == {"decay_mult"}
        if pattern in norms and decay_alone:
            new["norm_decay_mult"] = factors["decay_mult"]
            old.changed(pattern, "norm_decay_mult: of all norms, whatever they are called, those in shortcuts included")
        elif pattern == "bias" and decay_alone:
            new["bias_decay_mult"] = factors["decay_mult"]
            if norms:
                old.renamed(pattern, "optim_wrapper.paramwise_cfg.bias_decay_mult")
            else:
                old.changed(pattern, "bias_decay_mult: not of norms, whose biases are norm_decay_mult's")
        elif re.fullmatch(r"[\w.]+", pattern):
            new.setdefault("custom_keys", {})[pattern] = factors
            if spared and "decay_mult" not in factors:
                old.changed(pattern, "custom_keys: with these, its norms and biases decay as its weights do")
            old.renamed(pattern, "optim_wrapper.paramwise_cfg.custom_keys")
        else:
            old.no_equivalent(pattern, "custom_keys takes parts of names, no patterns: name the parameters there")
    return new


def _beyond_factors(options: Section, base: Mapping[str, float | None]) -> str:
    """Return why a pattern's values are neither a momentum nor factors of the optimizer's own; '' if they are."""
    for key in options.values:
        if key not in FACTORS:
            return f"factors of lr and weight_decay and a momentum are all that there is, not {key}"
        value = options.read(key, float)
        if key == "momentum":
            if base["momentum"] is None:
                return "the optimizer has no momentum"
        elif value and not key.endswith("_mult") and not base[FACTORS[key]]:
            return f"{key} is a factor of the optimizer's, whose {key} is 0: give it one, and 0 to the others"
    return ""


def _factor(value: float, key: str, base: Mapping[str, float | None]) -> float:
    if key.endswith("_mult") or key == "momentum":
        return value
    own = base[FACTORS[key]]
    return value / own if value and own else 0.0  # a value beside which there is none of its own is refused before


def _neutral(name: str, base: Mapping[str, float | None]) -> float | None:
    """Return the value that changes nothing."""
    return base["momentum"] if name == "momentum" else 1


def _means_norms(pattern: str) -> bool:
    """Tell whether a pattern finds the weights and biases of all norms of some name, and nothing else."""
    try:
        found = re.compile(pattern).search
    except re.error:
        return False
    return any(all(map(found, names)) for names in NORMS) and not any(map(found, OTHERS))
