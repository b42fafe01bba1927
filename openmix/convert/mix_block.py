"""How OpenMixup's mix blocks, ``PixelMixBlock`` and ``AdaptiveMask``, become openmix's."""

from collections.abc import Mapping, Sequence
from typing import Any

from openmix.convert.mixing import PRESET
from openmix.convert.report import Section

__all__ = ["convert_adaptive_mask", "convert_mask_loss", "convert_pixel_mix_block"]

PIXEL_SAYS_NOTHING = {
    "use_scale": (True, "scores are divided by the root of the inner channels"),
    "double_norm": (False, "attention is normalised over the partner's places"),
    "attention_mode": ("embedded_gaussian", "query and key are convolutions"),
    "lam_concat_v": (False, "lambda is in query, key and value, or in none of them"),
    "x_v_concat": (False, "values are those of the partner"),
    "frozen": (False, "the mix block is trained"),
    **{
        f"pre_{part}_cfg": (None, "nothing is before the mix block")
        for part in ("norm", "conv", "attn", "neck", "head")
    },
}
ADAPTIVE_SAYS_NOTHING = {
    "use_scale": (True, "scores are divided by the root of the inner channels"),
    "lam_mul": ((False, 0), "features are not multiplied by lambda"),
    "att_norm_cfg": (None, "query and key are not normalised"),
    "frozen": (False, "the mix block is trained"),
    "init_cfg": (None, "weights begin as the authors have them"),
}
NECK_SAYS_NOTHING = {
    "kernel_size": (1, "convolutions are 1x1"),
    "out_channels": (1, "a value is a number"),
    "norm_cfg": (({"type": "BN"}, {"type": "BN", "requires_grad": True}), "BatchNorm it is"),
    "act_cfg": ({"type": "ELU"}, "ELU it is"),
    "conv_cfg": (None, "convolutions are plain"),
    "with_bias": (False, "convolutions have no biases"),
    "with_avg_pool": (False, "each place has a value"),
    "with_last_bn": (False, "values are not normalised"),
    "with_last_norm": (False, "values are not normalised"),
    "with_residual": (False, "features are not added to values"),
}
# by mask_loss_mode: mask_margin, where it is not the old one, and mask_variance
MASK_LOSSES = {"L1": (None, 0.0), "L1+Variance": (None, 2.0), "Variance": (1.0, 1.0)}


def convert_pixel_mix_block(old: Section, preset: str | None) -> dict[str, Any]:
    """Return the new ``mix_block`` of AutoMix or SAMix, every argument of it.

    Args:
        old: the old one.
        preset: 'openmixup' keeps that a BatchNorm cancels SAMix's lambda; None does not.
    """
    old.kept("type")
    new: dict[str, Any] = {"type": "PixelMixBlock", "reduction": old.read("reduction", int, 2)}
    old.kept("reduction")
    new |= _lam_mul(old)
    new["qk_concat"] = bool(old.renamed("x_qk_concat", "model.mix_block.qk_concat"))
    new |= _value(old)
    new["lam_concat"] = bool(old.get("lam_concat"))
    if new["lam_concat"] and (new["lam_mul"] or new["qk_concat"] or new["value_layers"] > 1):
        old.refused("lam_concat", "lambda as a channel goes without lam_mul, x_qk_concat and value_neck_cfg here")
    old.kept("lam_concat")
    new["lam_before_norm"] = preset == PRESET and new["lam_mul"] and new["value_layers"] == 2
    new["upsampling"] = _upsampling(old, "bilinear")
    mode = old.get("mask_mode", "none")
    if mode != "none_v_":
        text = f"{mode}: the partner's share is made of its values here, as by mask_mode='none_v_'"
        old.report.add(old.key("mask_mode"), "changed", text)
        old.values.pop("mask_mode", None)
    old.meaningless("mask_mode", "it is the only one")
    old.meaningless("att_norm_cfg", "OpenMixup does not read it either")
    old.meaningless("in_channels", "the backbone says it")
    old.benign(PIXEL_SAYS_NOTHING)
    old.close()
    return new


def convert_adaptive_mask(old: Section) -> dict[str, Any]:
    """Return the new ``mix_block`` of AdAutoMix, every argument of it."""
    old.kept("type")
    old.meaningless("in_channel", "the backbone says it")
    old.meaningless("scale_factor", "masks have the size of the images")
    new = {"type": "AdaptiveMask", "reduction": old.read("reduction", int, 2)}
    old.kept("reduction")
    new["lam_concat"] = bool(old.get("lam_concat", True))
    old.kept("lam_concat")
    new["upsampling"] = _upsampling(old, "nearest")
    if not old.get("lam_mul"):
        for key in ("lam_mul_k", "lam_residual"):
            old.meaningless(key, "features are not multiplied by lambda")
    old.benign(ADAPTIVE_SAYS_NOTHING)
    old.close()
    return new


def convert_mask_loss(block: Section) -> dict[str, float]:
    """Return the task's ``mask_margin`` and ``mask_variance``, which are the mix block's in OpenMixup.

    Where there is no mask loss, ``mask_loss`` is 0 as well.
    """
    mode = block.read("mask_loss_mode", str, "none")
    if mode == "none":
        block.renamed("mask_loss_mode", "model.mask_loss=0")
        block.meaningless("mask_loss_margin", "there is no mask loss")
        return {"mask_loss": 0.0}
    margin = max(block.read("mask_loss_margin", float, 0), 0.0)
    if mode not in MASK_LOSSES:
        block.refused("mask_loss_mode", f"openmix has the mask losses {', '.join(MASK_LOSSES)}, not {mode}")
    own, variance = MASK_LOSSES.get(mode, (None, 0.0))
    block.renamed("mask_loss_mode", f"model.mask_variance={variance:g}")
    if own is None:
        block.renamed("mask_loss_margin", "model.mask_margin")
    block.meaningless("mask_loss_margin", "the variance alone has none")
    return {"mask_margin": margin if own is None else own, "mask_variance": variance}


def _lam_mul(old: Section) -> dict[str, Any]:
    """Return how lambda multiplies features."""
    factor = old.read("lam_mul", float, 0)
    if factor not in (0, 1):
        old.changed("lam_mul", "1: features are scaled by 1 + lambda'")
    old.kept("lam_mul")
    if not factor:
        for key in ("lam_residual", "lam_mul_k"):
            old.meaningless(key, "features are not multiplied by lambda")
        return {"lam_mul": False}
    if not old.get("lam_residual"):
        text = "features are scaled by 1 + lambda', not by lambda' itself"
        old.report.add(old.key("lam_residual"), "changed", text)
        old.values.pop("lam_residual", None)
    old.meaningless("lam_residual", "features are scaled by 1 + lambda'")
    k = _one_of(old, "lam_mul_k", old.read("lam_mul_k", float | Sequence[float], -1))
    old.kept("lam_mul_k")
    return {"lam_mul": True, "lam_mul_k": float(k) if k >= 0 else -1.0}


def _value(old: Section) -> dict[str, Any]:
    """Return what the value network is."""
    if old.read("value_neck_cfg", Mapping[str, Any] | None) is None:
        old.meaningless("value_neck_cfg", "one layer is the default")
        return {"value_layers": 1}
    channels = old.get("in_channels")
    neck = old.section("value_neck_cfg")
    neck.meaningless("type", "1x1 convolutions it is")
    neck.meaningless("in_channels", "the backbone says it")
    layers = neck.read("num_layers", int, 2)
    if layers != 2:
        neck.refused("num_layers", f"a value network has one layer or two, not {layers}")
    neck.renamed("num_layers", "model.mix_block.value_layers")
    hidden = neck.read("hid_channels", int, 0)
    if isinstance(channels, int) and 2 * hidden != channels:
        neck.changed("hid_channels", "half of the features' channels")
    neck.meaningless("hid_channels", "half of the features' channels")
    dropout = neck.read("with_last_dropout", float, 0)
    neck.renamed("with_last_dropout", "model.mix_block.value_dropout")
    neck.benign(NECK_SAYS_NOTHING)
    neck.close()
    return {"value_layers": 2, "value_dropout": float(dropout)}


def _upsampling(old: Section, default: str) -> str:
    mode = _one_of(old, "unsampling_mode", old.read("unsampling_mode", str | Sequence[str], default))
    if mode not in ("nearest", "bilinear"):
        old.no_equivalent("unsampling_mode", f"{mode}: bilinear is taken instead")
        return "bilinear"
    old.renamed("unsampling_mode", "model.mix_block.upsampling")
    return mode


def _one_of(old: Section, key: str, value: Any) -> Any:
    """Return the first of several values, of which OpenMixup draws one in each step."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    if not value:
        old.refused(key, "it is an empty list")
        return "nearest" if key == "unsampling_mode" else -1
    if len(value) > 1:
        old.no_equivalent(key, f"{value[0]}, the first of them: none is drawn anew in each step")
    return value[0]
