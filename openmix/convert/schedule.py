"""How OpenMixup's ``optimizer``, ``lr_config`` and ``runner`` become openmix's."""

import inspect
import re
from dataclasses import fields
from typing import Any

from openmix.convert.report import Section
from openmix.engine.settings import ParamwiseCfg
from openmix.errors import UserError
from openmix.registry import OPTIMIZERS, known_types, lookup

__all__ = ["convert_optimizer", "convert_schedule", "convert_train_cfg"]

NORM = re.compile(r"norm|bn|\(bn\|ln\|gn\)")  # patterns that mean norms by their names in OpenMixup
PARAMWISE = tuple(field.name for field in fields(ParamwiseCfg))
FACTORS = {"weight_decay": "decay_mult", "weight_decay_mult": "decay_mult", "lr": "lr_mult", "lr_mult": "lr_mult"}
FP16 = (
    "optim_wrapper.amp='fp16', from the first layer to the last, where OpenMixup's mixing switches mmcv's autocast off "
    "again; 'bf16' needs no loss scaling"
)


def convert_optimizer(top: Section) -> dict[str, Any]:
    """Return ``optim_wrapper``."""
    old = top.section("optimizer")
    new: dict[str, Any] = {"optimizer": {}}
    paramwise = _paramwise(old.section("paramwise_options"), old.get("weight_decay", 0), old.get("lr", 0))
    given = old.section("paramwise_cfg")
    paramwise |= {key: given.renamed(key, f"optim_wrapper.paramwise_cfg.{key}") for key in PARAMWISE if key in given}
    given.close()
    new["optimizer"] = _optimizer(old)
    if paramwise:
        new["paramwise_cfg"] = paramwise
    config = top.section("optimizer_config")
    if config.get("grad_clip"):
        new["clip_grad"] = dict(config.renamed("grad_clip", "optim_wrapper.clip_grad"))
    config.meaningless("grad_clip", "None does not clip")
    interval = config.renamed("update_interval", "optim_wrapper.accumulative_counts", default=1)
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
    kind = old.get("type")
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


def _paramwise(old: Section, weight_decay: float, lr: float) -> dict[str, Any]:
    """Return ``paramwise_cfg`` for patterns of names with values of their own."""
    new: dict[str, Any] = {}
    base = {"decay_mult": weight_decay, "lr_mult": lr}
    for pattern, options in list(old.values.items()):
        factors = {
            FACTORS[key]: value if key.endswith("_mult") else value / base[FACTORS[key]]
            for key, value in options.items()
            if key in FACTORS and (key.endswith("_mult") or base[FACTORS[key]])
        }
        decay_alone = factors.keys() == {"decay_mult"}
        if len(factors) < len(options):
            old.no_equivalent(pattern, "factors of lr and weight_decay are all that there is")
        elif NORM.match(pattern) and decay_alone:
            new["norm_decay_mult"] = factors["decay_mult"]
            old.changed(pattern, "norm_decay_mult: of all norms, whatever they are called, those in shortcuts included")
        elif pattern == "bias" and decay_alone:
            new["bias_decay_mult"] = factors["decay_mult"]
            old.renamed(pattern, "optim_wrapper.paramwise_cfg.bias_decay_mult")
        elif re.fullmatch(r"[\w.]+", pattern):
            new.setdefault("custom_keys", {})[pattern] = factors
            old.renamed(pattern, "optim_wrapper.paramwise_cfg.custom_keys")
        else:
            old.no_equivalent(pattern, "custom_keys takes parts of names, no patterns: name the parameters there")
    return new


def convert_schedule(top: Section, base_lr: float) -> dict[str, Any] | list[dict[str, Any]] | None:
    """Return ``param_scheduler``; None for a constant rate.

    As mmcv has it, a warm-up is a factor on the schedule, which runs from the first step on; both are listed from the
    first step on here as well.

    Args:
        top: the whole old config.
        base_lr: of the optimizer.
    """
    old = top.section("lr_config")
    warm_up = _warm_up(old)
    by_epoch = old.kept("by_epoch", default=True)
    main = _main_schedule(old, base_lr)
    if main and not by_epoch:
        main["by_epoch"] = False
    old.close()
    if top.get("momentum_config"):
        top.no_equivalent("momentum_config", "OneCycleLR's cycle_momentum is what moves momentum here")
    top.meaningless("momentum_config", "momentum is constant")
    schedules = [item for item in (warm_up, main) if item]
    return schedules if len(schedules) > 1 else schedules[0] if schedules else None


def _main_schedule(old: Section, base_lr: float) -> dict[str, Any] | None:
    policy = str(old.get("policy", "fixed"))
    floor = old.get("min_lr") if old.get("min_lr") is not None else old.get("min_lr_ratio", 0) * base_lr
    kind = policy.lower()
    if kind == "cosineannealing":
        old.renamed("policy", "CosineAnnealingLR")
        for key in ("min_lr", "min_lr_ratio"):
            old.renamed(key, "param_scheduler.eta_min")
        return {"type": "CosineAnnealingLR", "eta_min": float(floor)}
    if kind == "step":
        old.benign({"min_lr": (None, "there is no floor")})
        gamma = old.kept("gamma", default=0.1)
        if isinstance(old.get("step"), int):
            old.renamed("policy", "StepLR")
            return {"type": "StepLR", "step_size": old.renamed("step", "param_scheduler.step_size"), "gamma": gamma}
        old.renamed("policy", "MultiStepLR")
        milestones = list(old.renamed("step", "param_scheduler.milestones"))
        return {"type": "MultiStepLR", "milestones": milestones, "gamma": gamma}
    if kind == "exp":
        old.renamed("policy", "ExponentialLR")
        return {"type": "ExponentialLR", "gamma": old.kept("gamma")}
    if kind == "poly" and floor == 0:
        old.renamed("policy", "PolynomialLR")
        old.meaningless("min_lr", "0 is where it ends")
        return {"type": "PolynomialLR", "power": float(old.kept("power", default=1.0))}
    if kind == "fixed":
        old.meaningless("policy", "no schedule is a constant rate")
        return None
    old.refused("policy", f"openmix has no schedule {policy}{' with a floor' if kind == 'poly' else ''}")
    return None


def _warm_up(old: Section) -> dict[str, Any] | None:
    kind, length, ratio = old.get("warmup"), old.get("warmup_iters", 0), old.get("warmup_ratio", 0.1)
    if not kind:
        for key in ("warmup", "warmup_iters", "warmup_ratio", "warmup_by_epoch"):
            old.meaningless(key, "there is no warm-up")
        return None
    new: dict[str, Any]
    if kind == "constant":
        new = {"type": "ConstantLR", "factor": ratio}
        old.renamed("warmup", "ConstantLR")
    else:
        new = {"type": "LinearLR", "start_factor": ratio}
        if kind == "linear":
            old.renamed("warmup", "LinearLR")
        else:
            old.changed("warmup", f"LinearLR: openmix has no warm-up that is {kind}")
    old.renamed("warmup_ratio", "factor" if kind == "constant" else "start_factor")
    new["end"] = length
    if old.renamed("warmup_by_epoch", "param_scheduler.convert_to_iter_based", default=False):
        old.renamed("warmup_iters", "param_scheduler.end, in epochs")
        return {**new, "convert_to_iter_based": True}
    old.renamed("warmup_iters", "param_scheduler.end, in steps")
    return {**new, "by_epoch": False}


def convert_train_cfg(top: Section, val_interval: int | None) -> dict[str, Any]:
    """Return ``train_cfg``.

    Args:
        top: the whole old config.
        val_interval: epochs between validations.
    """
    runner = top.section("runner")
    new: dict[str, Any] = {}
    if "max_iters" in runner:
        new["max_iters"] = runner.renamed("max_iters", "train_cfg.max_iters")
    elif "max_epochs" in runner:
        new["max_epochs"] = runner.renamed("max_epochs", "train_cfg.max_epochs")
    if new and "total_epochs" in top:
        top.changed("total_epochs", f"left out: OpenMixup trains as runner says, {next(iter(new.values()))}")
    elif "total_epochs" in top:
        new["max_epochs"] = top.renamed("total_epochs", "train_cfg.max_epochs")
    if not new:
        top.report.add("runner", "refused", "neither runner nor total_epochs says how long to train")
    runner.meaningless("type", "max_epochs or max_iters says it")
    runner.close()
    if val_interval not in (None, 1) and "max_epochs" in new:
        new["val_interval"] = val_interval
    return new
