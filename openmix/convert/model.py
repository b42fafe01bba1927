"""How OpenMixup's ``model`` becomes openmix's: the task, its network, its head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openmix.convert.head import convert_head
from openmix.convert.learned import LEARNED, convert_learned, convert_mask_layer
from openmix.convert.mixing import convert_mixing
from openmix.convert.report import Section
from openmix.mixers.catalog import get_method, list_mixers
from openmix.registry import MODELS, known_types

__all__ = ["convert_model"]

TASKS = ("MixUpClassification", "Classification", *LEARNED)


@dataclass(frozen=True)
class _Backbone:
    """An OpenMixup network's counterpart.

    Attributes:
        type: its name here.
        kept: arguments of the same name and meaning.
        fixed: arguments that make it OpenMixup's network.
    """

    type: str
    kept: tuple[str, ...]
    fixed: dict[str, Any] = field(default_factory=dict)


RESNEXT = ("depth", "groups", "width_per_group", "in_channels")
IDENTITY = {"zero_init_residual": True}
BACKBONES = {
    "ResNet": _Backbone("ResNet", ("depth", "in_channels", "zero_init_residual"), IDENTITY),
    "ResNet_CIFAR": _Backbone("ResNet_CIFAR", ("depth", "in_channels", "zero_init_residual")),
    "ResNeXt": _Backbone("ResNeXt", (*RESNEXT, "zero_init_residual"), IDENTITY),
    "ResNeXt_CIFAR": _Backbone("ResNeXt_CIFAR", (*RESNEXT, "zero_init_residual")),
    "WideResNet": _Backbone(
        "WideResNet", ("depth", "widen_factor", "drop_rate", "in_channels"), {"variant": "openmixup"}
    ),
}
# networks with a port for mixing inside; here any network has one
WITH_PORT = {
    "ResNet_Mix": "ResNet", "ResNet_mmcls": "ResNet", "ResNet_Mix_CIFAR": "ResNet_CIFAR", "ResNeXt_Mix": "ResNeXt",
    "ResNeXt_CIFAR_Mix": "ResNeXt_CIFAR", "WideResNet_Mix": "WideResNet",
}  # fmt: skip
# networks that are timm's here, by their size, all made for 224 pixels
SIZES = ("tiny", "small", "base", "large")
TIMM = {
    "VisionTransformer": {
        "base": "vit_base_patch16_224", "large": "vit_large_patch16_224",
        **{f"deit-{size}": f"deit_{size}_patch16_224" for size in SIZES[:3]},
    },
    "SwinTransformer": {size: f"swin_{size}_patch4_window7_224" for size in SIZES},
    "ConvNeXt": {size: f"convnext_{size}" for size in SIZES},
}  # fmt: skip
PATCHES = {"VisionTransformer": 16, "SwinTransformer": 4, "ConvNeXt": 4}

STRUCTURE = {
    "num_stages": ((None, 4), "the network has its usual stages"),
    "style": (("pytorch", None), "the stride is in the 3x3 convolution"),
    "deep_stem": (False, "the stem is one convolution"),
    "avg_down": (False, "shortcuts are strided convolutions"),
    "first_stride": (1, "the stem has no stride"),
    "conv_cfg": (None, "convolutions are plain"),
}
BEHAVIOUR = {
    "frozen_stages": (-1, "all stages are trained"),
    "norm_eval": (False, "BatchNorm learns its statistics"),
    "with_cp": (False, "activations are kept"),
}


def convert_model(top: Section, preset: str | None) -> tuple[dict[str, Any], Any]:
    """Return the new ``model``, and a file of weights to begin with, if the old config names any.

    Args:
        top: the whole old config; the file in its ``load_from`` is loaded over what ``pretrained`` names.
        preset: see :func:`openmix.convert.mixing.convert_mixing`.
    """
    old, load_from = top.section("model"), top.get("load_from")
    kind = old.get("type")
    if kind in LEARNED:
        backbone = old.section("backbone")
        layer = convert_mask_layer(backbone, 3 if str(backbone.get("type")).startswith("WideResNet") else 4)
        learned = convert_learned(old, top, preset)
        new = {"type": learned["type"], "backbone": _convert_backbone(backbone), **learned, **layer}
    else:
        new = _of_hand(old, kind, preset)
    if load_from:
        old.meaningless("pretrained", f"its weights give way to those of load_from, {load_from}")
    elif old.get("pretrained"):
        load_from = old.renamed("pretrained", "load_from")
    old.meaningless("pretrained", "None; load_from names a file")
    guided = [mode for mode in _modes(new) if {"features", "attention"} & set(get_method(mode).needs)]
    for key in ("backbone_k", "pretrained_k", "momentum_k", "mix_block"):
        if guided and old.get(key) is not None:
            guide = "guide=dict(type='FrozenGuide', backbone=dict(...), checkpoint=..., size=..., serves=['features'])"
            old.no_equivalent(key, f"write {guide} in model: docs/guided.md has what {', '.join(guided)} looks at")
        old.meaningless(key, "no method of this config uses a teacher")
    old.meaningless("debug_mode", "a loss that is not finite is always noticed, without waiting for the device")
    for key in ("save", "save_name"):
        old.meaningless(key, "custom_hooks=[dict(type='MixPreviewHook')] shows mixed images")
    old.benign({"cosine_update": (False, "nothing is updated by a cosine")})
    old.benign({"init_cfg": (None, "networks begin as their pages say")})
    old.close()
    return new, load_from


def _of_hand(old: Section, kind: Any, preset: str | None) -> dict[str, Any]:
    """Return the new ``model`` of a task without a learned mixer."""
    if kind not in TASKS:
        old.refused("type", f"openmix converts {', '.join(TASKS)}, not {kind}")
    old.kept("type")
    mixes = kind != "Classification"
    new = {
        "type": kind,
        "backbone": _convert_backbone(old.section("backbone")),
        "head": convert_head(old.section("head"), mixes),
    }
    return new | convert_mixing(old, preset) if mixes else new


def _modes(model: dict[str, Any]) -> list[str]:
    """Return the mixing methods of a new model that openmix has."""
    modes = model.get("mix_mode", [])
    return [mode for mode in ([modes] if isinstance(modes, str) else modes) if mode in list_mixers()]


def _convert_backbone(old: Section) -> dict[str, Any]:
    kind = old.read("type", str)
    plain = WITH_PORT.get(kind, kind)
    if plain in BACKBONES:
        new = _by_arguments(old, kind, BACKBONES[plain])
    elif kind in TIMM or kind == "TIMMBackbone":
        new = _by_name(old, kind)
    else:
        old.refused("type", f"openmix has no network {kind}")
        return {"type": kind}
    if new["type"] not in known_types(MODELS):
        old.report.add(old.key("type"), "refused", f"this openmix has no network {new['type']}")
    old.close()
    return new


def _by_arguments(old: Section, kind: str, counterpart: _Backbone) -> dict[str, Any]:
    if kind == counterpart.type:
        old.kept("type")
    else:
        old.changed("type", f"{counterpart.type}: mixing inside it needs no network of its own")
    new = {"type": counterpart.type, **{key: old.kept(key) for key in counterpart.kept if key in old}}
    for key, value in counterpart.fixed.items():
        new.setdefault(key, value)
    old.meaningless("out_indices", "all stages are returned, the last one is classified")
    old.benign(STRUCTURE, otherwise="refused")
    old.benign({**BEHAVIOUR, "drop_path_rate": ((0, None), "no path is dropped")})
    norm = old.read("norm_cfg", Mapping[str, Any] | None)
    if norm is not None and norm.get("type") not in ("BN", None):
        old.changed("norm_cfg", f"BatchNorm of each process, not {norm['type']}")
    old.meaningless("norm_cfg", "BatchNorm it is")
    return new


def _by_name(old: Section, kind: str) -> dict[str, Any]:
    """Return timm's network by its name."""
    new: dict[str, Any] = {"type": "TimmBackbone"}
    if kind == "TIMMBackbone":
        new["name"] = old.renamed("model_name", "model.backbone.name")
        old.renamed("type", "TimmBackbone")
        if old.get("pretrained"):
            new["pretrained"] = old.kept("pretrained")
        old.meaningless("pretrained", "False is the default")
    else:
        new["name"] = name = _timm_name(old, kind)
        old.changed("type", f"TimmBackbone, name={name!r}: timm's network, which begins as timm has it")
        old.meaningless("arch", "the name says it")
        if old.get("img_size", 224) != 224:
            new["img_size"] = old.kept("img_size")
        if old.get("patch_size", PATCHES[kind]) != PATCHES[kind]:
            new["model_args"] = {"patch_size": old.renamed("patch_size", "model.backbone.model_args.patch_size")}
        for key in ("img_size", "patch_size"):
            old.meaningless(key, "the name says it")
    new |= {key: old.kept(key) for key in ("in_channels", "drop_rate", "drop_path_rate") if key in old}
    old.meaningless("out_indices", "the last map is classified")
    old.benign(BEHAVIOUR)
    return new


def _timm_name(old: Section, kind: str) -> str:
    arch = str(old.get("arch", "base")).lower()
    family, _, size = arch.rpartition("-")
    full = next((known for known in SIZES if len(size) == 1 and known.startswith(size)), size)
    name = TIMM[kind].get(f"{family}-{full}" if family else full)
    if name is None:
        old.refused("arch", f"openmix converts {', '.join(TIMM[kind])}, which timm has as well; not {arch}")
    return name or arch
