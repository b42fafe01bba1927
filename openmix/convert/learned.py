"""How OpenMixup's ``AutoMixup`` and ``AdAutoMix`` become openmix's tasks of learned mixing."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from openmix.convert.head import convert_head
from openmix.convert.mix_block import convert_adaptive_mask, convert_mask_loss, convert_pixel_mix_block
from openmix.convert.mixing import PRESET
from openmix.convert.report import Section
from openmix.convert.runtime import take_hooks
from openmix.registry import MODELS, TASKS, lookup

__all__ = ["LEARNED", "convert_learned", "convert_mask_layer"]

LEARNED = ("AutoMixup", "AdAutoMix")
SAMIX = ("x_qk_concat", "lam_mul", "value_neck_cfg")  # what the mix block of SAMix has and AutoMix's has not

# by OpenMixup's name: the name here, and the value there where none is written
Numbers = Mapping[str, tuple[str, float]]
COMMON: Numbers = {"alpha": ("alpha", 1.0), "momentum": ("momentum", 0.999), "lam_margin": ("lam_margin", 0.0)}
OF_AUTOMIX: Numbers = {"mask_loss": ("mask_loss", 0.0), "mask_adjust": ("mask_adjust", 0.0)}
OF_ADAUTOMIX: Numbers = {"mixup_radio": ("mixup_ratio", 0.5), "beta_radio": ("beta", 0.3)}

SAYS_NOTHING = {
    "mask_up_override": (None, "masks are enlarged in one way"),
    "pre_one_loss": ((0, None), "nothing is classified before the mix block"),
    "pre_mix_loss": ((0, None), "nothing is classified before the mix block"),
    "head_ensemble": (False, "each classifier is evaluated by itself"),
    "mix_shuffle_no_repeat": (False, "an image may be its own partner"),
    "is_random": (False, "the number of images in a mix is fixed"),
    "affine_da": (None, "images are not warped"),
    "backbone_k": (None, "the momentum encoder begins as the student"),
    "pretrained_k": (None, "the momentum encoder begins as the student"),
}
MEANINGLESS = {
    "mask_layer": "how much masks are enlarged there; here they have the images' size",
    "head_one_k": "the momentum encoder's classifiers are averages of the student's",
    "co_mix": "OpenMixup does not read it either",
    "mixed_radio": "OpenMixup does not read it either",
    "debug": "custom_hooks=[dict(type='MixPreviewHook')] shows mixed images",
    "save_by_sample": "custom_hooks=[dict(type='MixPreviewHook')] shows mixed images",
}
# what of OpenMixup's own is kept by the preset, by the task's name here
DEVIATIONS = {
    "AutoMixClassification": "the mask loss takes the batch for one mask, and mask_adjust the other branch's lambda",
    "SAMixClassification": "the mix block's loss is plain cross entropy, as neg_weight has no effect, a BatchNorm "
    "cancels lambda, the mask loss takes the batch for one mask, and mask_adjust the other branch's lambda",
    "AdAutoMixClassification": "the student's mixes are by lambda itself but for 0.02 % of them, by a comparison that "
    "is the wrong way round",
}


def convert_learned(old: Section, top: Section, preset: str | None) -> dict[str, Any]:
    """Return the new ``model`` without its backbone.

    Args:
        old: the old ``model``, of a type in :data:`LEARNED`.
        top: the whole old config, of which the hooks that set the model's attributes are taken.
        preset: 'openmixup' keeps what OpenMixup does otherwise than the papers; None does not.
    """
    block = old.section("mix_block")
    adversarial = old.get("type") == "AdAutoMix"
    samix = any(block.get(key) for key in SAMIX)
    kind = f"{'AdAutoMix' if adversarial else 'SAMix' if samix else 'AutoMix'}Classification"
    old.renamed("type", kind)
    values: dict[str, Any] = _numbers(old, COMMON)
    values |= _momentum(old, top, values["momentum"])
    values["lam_margin"] = max(values["lam_margin"], 0.0)
    if adversarial:
        new_block = convert_adaptive_mask(block)
        values |= _numbers(old, OF_ADAUTOMIX)
        for key, usual in (("mix_samples", 3), ("adv_interval", 2)):
            values[key] = old.read(key, int, usual)
            old.kept(key)
    else:
        values |= _numbers(old, OF_AUTOMIX)
        values |= _mask_loss(top, block, values["mask_loss"]) | _switches(old)
        new_block = convert_pixel_mix_block(block, preset)
    heads = {"head": convert_head(old.section("head_mix"), True)}
    if old.read("head_one", Mapping[str, Any] | None) is not None:
        heads["head_one"] = convert_head(old.section("head_one"), values.get("head_one_mix", False))
    old.meaningless("head_one", "it is as head_mix")
    if adversarial:
        old.meaningless("head_mix_k", "the mix block's loss is that of head_mix, in OpenMixup as well")
    else:
        values |= _verdict(old, samix, heads["head"], preset)
    if not adversarial or values["mix_samples"] > 2:
        values |= _preset(old, kind, preset)
    _head_weights(old.section("head_weights"))
    for key, why in MEANINGLESS.items():
        old.meaningless(key, why)
    old.benign(SAYS_NOTHING)
    return {
        "type": kind,
        "mix_block": {"type": new_block["type"], **_unusual(new_block, MODELS)},
        **heads,
        **_unusual({"type": kind, **values}, TASKS),
    }


def convert_mask_layer(backbone: Section, maps: int) -> dict[str, int]:
    """Return ``mask_layer`` for a network of so many maps; nothing for the last but one, the default.

    OpenMixup's mix block sees the first of ``backbone.out_indices``: a stage, or a transformer's block.
    """
    usual = maps - 2
    indices = backbone.read("out_indices", Sequence[int], (usual, maps - 1))
    layer = indices[0] if indices else -1
    if backbone.get("type") == "VisionTransformer":  # its maps here are those after each quarter of its blocks
        size = str(backbone.get("arch", "base")).lower().rpartition("-")[2]
        quarters, rest = divmod((layer + 1) * maps, 24 if size.startswith("l") else 12)
        layer = -1 if rest else quarters - 1
    if not 0 <= layer < maps:
        backbone.changed("out_indices", f"model.mask_layer={usual}: the network has no map at that place here")
        layer = usual
    backbone.renamed("out_indices", f"model.mask_layer={layer}")
    return {} if layer == usual else {"mask_layer": layer}


def _numbers(old: Section, table: Numbers) -> dict[str, float]:
    new = {}
    for key, (name, usual) in table.items():
        new[name] = float(old.read(key, float, usual))
        if name == key:
            old.kept(key)
        else:
            old.renamed(key, f"model.{name}")
    return new


def _momentum(old: Section, top: Section, start: float) -> dict[str, float]:
    """Return how the momentum encoder's momentum rises, which a hook does in OpenMixup."""
    hooks = take_hooks(top, lambda hook: hook.get("type") == "CosineScheduleHook")
    if not hooks:
        text = "constant; without a CosineScheduleHook, OpenMixup never moves the momentum encoder"
        old.report.add(old.key("momentum_end"), "changed", text)
        return {"momentum_end": start}
    new = {}
    for hook in hooks:
        hook.renamed("type", "model.momentum_end and momentum_start")
        scope = hook.read("adjust_scope", Sequence[float], (0, 1))
        new = {
            "momentum_end": float(hook.read("end_momentum", float, 1)),
            "momentum_start": float(scope[0]) if scope else 0.0,
        }
        hook.renamed("end_momentum", "model.momentum_end")
        if tuple(scope[1:]) not in ((), (1,)):
            hook.changed("adjust_scope", "model.momentum_start; the cosine ends with the run")
        hook.renamed("adjust_scope", "model.momentum_start")
        if hook.get("warming_up", "linear") == "linear":
            hook.report.add(hook.key("warming_up"), "changed", "constant: momentum does not fall to where it begins")
            hook.values.pop("warming_up", None)
        hook.meaningless("warming_up", "it is constant")
        for key in ("interval", "update_interval", "restart_step", "switch_ema", "switch_interval"):
            hook.meaningless(key, "the momentum encoder follows after each optimizer step")
        hook.close()
    return new


def _mask_loss(top: Section, block: Section, weight: float) -> dict[str, Any]:
    """Return the mask loss's margin and variance, and how its weight falls, which a hook does in OpenMixup."""
    new: dict[str, Any] = {}
    hooks = take_hooks(
        top, lambda hook: hook.get("type") == "CustomCosineAnnealingHook" and hook.get("attr_name") == "mask_loss"
    )
    for hook in hooks:
        hook.renamed("type", "model.mask_loss_end")
        hook.meaningless("attr_name", "mask_loss_end says it")
        start = float(hook.read("attr_base", float, weight))
        ratio = hook.read("min_attr_ratio", float | None)
        end = hook.read("min_attr", float | None, 0) if ratio is None else ratio * start
        new = {"mask_loss": start, "mask_loss_end": float(end or 0)}
        hook.renamed("attr_base", "model.mask_loss")
        for key in ("min_attr", "min_attr_ratio"):
            hook.renamed(key, "model.mask_loss_end")
        if hook.get("by_epoch", True):
            hook.report.add(hook.key("by_epoch"), "changed", "the weight falls from step to step")
            hook.values.pop("by_epoch", None)
        for key in ("by_epoch", "update_interval"):
            hook.meaningless(key, "the weight falls from step to step")
        hook.close()
    return new | convert_mask_loss(block)


def _switches(old: Section) -> dict[str, Any]:
    """Return what AutoMix does in some steps only, and what its second classifier sees."""
    switch = old.read("switch_off", float, 0)
    if switch > 0:
        old.renamed("switch_off", "model.k_prob")
    old.meaningless("switch_off", "the mix block is trained in every step")
    mixes = bool(old.get("head_one_mix"))
    old.kept("head_one_mix")
    return {"k_prob": float(switch) if switch > 0 else 1.0, "head_one_mix": mixes}


def _verdict(old: Section, samix: bool, head: Mapping[str, Any], preset: str | None) -> dict[str, float]:
    """Return SAMix's ``eta``; the mix block's loss is the student's otherwise, or the conversion is refused."""
    if old.read("head_mix_k", Mapping[str, Any] | None) is None:
        old.meaningless("head_mix_k", "the mix block's loss is that of head_mix")
        return {}
    judge, new = old.section("head_mix_k"), {}
    if samix and preset == PRESET:
        judge.meaningless("neg_weight", "it has no effect there, and preset='openmixup' keeps that")
    elif samix and "neg_weight" in judge:
        new["eta"] = float(judge.read("neg_weight", float))
        judge.renamed("neg_weight", "model.eta")
    found, students = (
        {key: one[key] for key in ("loss", "label_smoothing") if key in one}
        for one in (convert_head(judge, True), head)
    )
    if found != students and (found or not samix):
        old.report.add(judge.path, "refused", "the mix block's loss is that of head_mix, or SAMix's own cross entropy")
    return new


def _preset(old: Section, kind: str, preset: str | None) -> dict[str, str]:
    """Return ``preset``, and report what it does, or what it would do."""
    text = DEVIATIONS[kind]
    if preset == PRESET:
        old.report.add(old.key("preset"), "kept", f"preset='{PRESET}' keeps what OpenMixup does: {text}")
        return {"preset": PRESET}
    old.report.add(old.key("preset"), "changed", f"the paper's; in OpenMixup {text}: --preset {PRESET} keeps that")
    return {}


def _head_weights(old: Section) -> None:
    for key in ("head_mix_q", "head_one_q", "head_mix_k"):
        old.benign({key: (1, "each loss weighs 1")})
    old.meaningless("head_one_k", "it has no loss")
    for key in ("decent_weight", "accent_weight"):
        old.benign({key: (([], (), None), "weights of losses are constant")})
    old.close()


def _unusual(values: Mapping[str, Any], registry: Any) -> dict[str, Any]:
    """Return the arguments that are not the defaults of what ``type`` names."""
    parameters = inspect.signature(lookup(values["type"], registry)).parameters
    return {key: value for key, value in values.items() if key != "type" and value != parameters[key].default}
