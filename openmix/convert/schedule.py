"""How OpenMixup's ``lr_config`` and ``runner`` become openmix's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from openmix.convert.report import Section

__all__ = ["convert_schedule", "convert_train_cfg", "in_steps"]

OTHER = "addtional_scheduler"  # OpenMixup's spelling


def convert_schedule(
    top: Section, rates: Mapping[str, float], train_cfg: Mapping[str, Any], accumulate: int
) -> dict[str, Any] | list[dict[str, Any]] | None:
    """Return ``param_scheduler``; None for a constant rate.

    As mmcv has it, a warm-up is a factor on the schedule, which runs from the first step on; both are listed from the
    first step on here as well.

    Args:
        top: the whole old config.
        rates: the optimizer's under ``""``, and that of the mix block under ``"mix_block"``, where there is one.
        train_cfg: the new one.
        accumulate: iterations, as mmcv counts them, to an optimizer step.
    """
    schedules = _schedules(top.section("lr_config"), rates[""], train_cfg, accumulate)
    if top.get("momentum_config"):
        top.no_equivalent("momentum_config", "OneCycleLR's cycle_momentum is what moves momentum here")
    top.meaningless("momentum_config", "momentum is constant")
    other = top.read(OTHER, Mapping[str, Any] | None)
    if "mix_block" in rates and other and other.get("paramwise_options") in (["mix_block"], ("mix_block",)):
        section = top.section(OTHER)
        section.renamed("paramwise_options", "param_scheduler.group")
        schedules = [{**item, "group": "student"} for item in schedules]
        own = _schedules(section, rates["mix_block"], train_cfg, accumulate)
        schedules += [{**item, "group": "mix_block"} for item in own]
    return schedules if len(schedules) > 1 else schedules[0] if schedules else None


def _schedules(old: Section, base_lr: float, train_cfg: Mapping[str, Any], accumulate: int) -> list[dict[str, Any]]:
    """Return the warm-up and the schedule that one dict of mmcv's says."""
    by_epoch = old.read("by_epoch", bool, "max_epochs" in train_cfg)  # as mmcv's runners have it
    old.kept("by_epoch")
    drift = _drift(old, base_lr, train_cfg, accumulate)
    warm_up = _warm_up(old, accumulate)
    main = _main_schedule(old, base_lr, 1 if by_epoch else accumulate, drift)
    if main and not by_epoch:
        main["by_epoch"] = False
    old.close()
    return [item for item in (warm_up, main) if item]


def _floor(old: Section, base_lr: float) -> float:
    floor = old.read("min_lr", float | None)
    return old.read("min_lr_ratio", float | None, 0) * base_lr if floor is None else floor


def _drift(old: Section, base_lr: float, train_cfg: Mapping[str, Any], accumulate: int) -> str:
    """Return by how much the new rates are above mmcv's; '' where they are not.

    torch's cosine goes on from the rate that the warm-up has left, of which it takes the floor for a constant part,
    while the warm-up scales the floor too. To leading order the rates differ by
    pi^2 / 2 * floor / base_lr * share^2 * integral of s (1 / factor(s) - 1) over the warm-up, s from 0 to 1.
    """
    kind, floor = old.read("warmup", str | None), _floor(old, base_lr)
    if not kind or not floor or old.read("policy", str, "fixed").lower() != "cosineannealing":
        return ""
    by_epoch = old.read("warmup_by_epoch", bool, False)
    length = train_cfg.get("max_epochs", 0) if by_epoch else train_cfg.get("max_iters", 0) * accumulate
    ratio = old.read("warmup_ratio", float, 0.1)
    integral = (1 / ratio - 1) / 2 if kind == "constant" and ratio else 0.5  # of a linear one, from 0
    scale = math.pi**2 / 2 * integral
    text = "after the warm-up rates are above mmcv's, "
    if not length or not base_lr:
        return f"{text}by about {scale:.2g} * min_lr / lr * (the warm-up's share of the run)^2"
    share = old.read("warmup_iters", int, 0) / length
    return f"{text}by up to about {100 * scale * floor / base_lr * share**2:.2g} %"


def _main_schedule(old: Section, base_lr: float, accumulate: int, drift: str) -> dict[str, Any] | None:
    policy, floor = old.read("policy", str, "fixed"), _floor(old, base_lr)
    kind = policy.lower()
    if kind == "cosineannealing":
        old.renamed("policy", "CosineAnnealingLR")
        for key in ("min_lr", "min_lr_ratio"):
            if drift:
                old.changed(key, f"param_scheduler.eta_min; {drift}")
            old.renamed(key, "param_scheduler.eta_min")
        return {"type": "CosineAnnealingLR", "eta_min": float(floor)}
    if kind == "step":
        old.benign({"min_lr": (None, "there is no floor")})
        gamma = old.kept("gamma", default=0.1)
        if isinstance(step := old.read("step", int | Sequence[int]), int):
            old.renamed("policy", "StepLR")
            size = in_steps(old, "step", "param_scheduler.step_size", accumulate)
            return {"type": "StepLR", "step_size": size, "gamma": gamma}
        old.renamed("policy", "MultiStepLR")
        milestones = _all_in_steps(old, "step", list(step), "param_scheduler.milestones", accumulate)
        return {"type": "MultiStepLR", "milestones": milestones, "gamma": gamma}
    if kind == "exp":
        old.renamed("policy", "ExponentialLR")
        gamma = old.read("gamma", float) ** accumulate
        if accumulate != 1:
            old.changed("gamma", f"{gamma:g}: a step is {accumulate} iterations")
        old.kept("gamma")
        return {"type": "ExponentialLR", "gamma": gamma}
    if kind == "poly" and floor == 0:
        old.renamed("policy", "PolynomialLR")
        old.meaningless("min_lr", "0 is where it ends")
        return {"type": "PolynomialLR", "power": float(old.kept("power", default=1.0))}
    if kind == "fixed":
        old.meaningless("policy", "no schedule is a constant rate")
        return None
    old.refused("policy", f"openmix has no schedule {policy}{' with a floor' if kind == 'poly' else ''}")
    return None


def _warm_up(old: Section, accumulate: int) -> dict[str, Any] | None:
    kind, ratio = old.read("warmup", str | None), old.get("warmup_ratio", 0.1)
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
    if old.renamed("warmup_by_epoch", "param_scheduler.convert_to_iter_based", default=False):
        end = old.renamed("warmup_iters", "param_scheduler.end, in epochs", default=0)
        return {**new, "end": end, "convert_to_iter_based": True}
    end = in_steps(old, "warmup_iters", "param_scheduler.end, in steps", accumulate)
    return {**new, "end": end, "by_epoch": False}


def convert_train_cfg(top: Section, accumulate: int) -> dict[str, Any]:
    """Return ``train_cfg``.

    Args:
        top: the whole old config.
        accumulate: iterations, as mmcv counts them, to an optimizer step.
    """
    runner = top.section("runner")
    new: dict[str, Any] = {}
    if "max_iters" in runner:
        new["max_iters"] = in_steps(runner, "max_iters", "train_cfg.max_iters", accumulate)
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
    return new


def in_steps(old: Section, key: str, to: str, accumulate: int) -> int:
    """Take a number of iterations, which mmcv counts by micro-batches, as one of optimizer steps.

    Args:
        old: where it is.
        key: its name.
        to: what it is called here.
        accumulate: iterations to a step; what is no multiple of it is rounded down, and to 1 at least.
    """
    return _all_in_steps(old, key, [old.read(key, int, 0)], to, accumulate)[0]


def _all_in_steps(old: Section, key: str, iterations: list[int], to: str, accumulate: int) -> list[int]:
    if accumulate == 1:
        old.renamed(key, to)
        return iterations
    steps = [max(1, count // accumulate) for count in iterations]
    rounded = "" if [step * accumulate for step in steps] == iterations else ", rounded down"
    said = ", ".join(map(str, steps))
    old.changed(key, f"{to}, {said}: steps of {accumulate} iterations each{rounded}")
    return steps
