"""mmengine's registries, filled from openmix's own packages: what a config may name.

A user's module adds to them with ``@MODELS.register_module()`` and is imported by ``custom_imports`` in the config.
Building is the same everywhere: a dict's ``type`` is looked up, the dicts inside it are built first, and what is
built gets the rest as keyword arguments. A name that nobody has registered is an error: mmengine would import it, and
``type="os.system"`` would be called.
"""

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import mmengine.visualization  # noqa: F401  fills VISBACKENDS
import torch
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import Registry
from mmengine.registry import registry as mmengine_registry
from torch.optim import lr_scheduler

from openmix import data, models, tasks
from openmix.data.transforms import TRANSFORMS as TRANSFORM_CLASSES
from openmix.data.transforms.mmcv_adapter import MmcvTransform, mmcv_transform
from openmix.errors import UserError, did_you_mean

__all__ = [
    "DATASETS", "HOOKS", "LOADERS", "MODELS", "OPTIMIZERS", "PARAM_SCHEDULERS", "SLOTS", "TASKS", "TRANSFORMS",
    "build", "build_task", "lookup",
]  # fmt: skip


def build(cfg: Any, registry: Registry, **given: Any) -> Any:
    """Build what a dict with ``type`` describes, the dicts inside it first.

    Args:
        cfg: the dict; ``type`` is a registered name or the object itself.
        registry: where to look the name up.
        given: further keyword arguments, which come from the program and not from the config.

    Raises:
        UserError: unknown type, or a value that the built object refuses.
    """
    cfg = dict(cfg)
    target = lookup(cfg.pop("type", None), registry)
    # parts of the same kind, such as the loaders of a PhasedLoader, are given the same; the whole made of them is not
    composed = any(SLOTS.get(key) is registry for key in cfg)
    arguments = {
        key: build_value(value, SLOTS.get(key), given if SLOTS.get(key) is registry else {})
        for key, value in cfg.items()
    }
    try:
        with registered_names_only():
            return target(**arguments, **({} if composed else given))
    except UserError:
        raise
    except Exception as error:  # what a constructor finds wrong with its arguments, it may say in any way
        raise UserError(f"{name_of(target)}: {reason_of(error)}") from error


def build_value(value: Any, registry: Registry | None, given: Mapping[str, Any]) -> Any:
    """Build a dict with ``type``, or each of a list of them; return anything else as it is."""
    if registry is None:
        return value
    if isinstance(value, Mapping) and "type" in value:
        return build(value, registry, **given)
    if isinstance(value, list | tuple):
        return [build_value(v, registry, given) for v in value]
    return value


def build_task(cfg: Any, device: str | None = None) -> tasks.Task:
    """Build a task; a part without ``in_channels`` gets those of the part before it, such as a head the backbone's.

    Args:
        cfg: the config's ``model``.
        device: where the networks' tensors are made; 'meta' makes none, which checks a config in no time.
    """
    cfg = dict(cfg)
    with torch.device(device or "cpu"):
        built = {"backbone": build(cfg["backbone"], MODELS)} if isinstance(cfg.get("backbone"), Mapping) else {}
        for key, before in CHAINS.items():
            if isinstance(cfg.get(key), Mapping):
                built[key] = build({**_inferred_channels(cfg[key], built.get(before)), **cfg[key]}, MODELS)
        if isinstance(cfg.get("mix_block"), Mapping):
            built["mix_block"] = _build_mix_block(cfg, built.get("backbone"))
        if isinstance(cfg.get("guide"), Mapping):  # last, so that the network begins as it does without one
            built["guide"] = _build_guide(cfg["guide"])
    return build({**cfg, **built}, TASKS)


def _build_guide(cfg: Mapping[str, Any]) -> Any:
    """Build a guide; its head's channels may be left out as well."""
    cfg = dict(cfg)
    if isinstance(cfg.get("backbone"), Mapping):
        cfg["backbone"] = build(cfg["backbone"], MODELS)
    if isinstance(cfg.get("head"), Mapping):
        cfg["head"] = build({**_inferred_channels(cfg["head"], cfg.get("backbone")), **cfg["head"]}, MODELS)
    return build(cfg, MODELS)


def _build_mix_block(cfg: Mapping[str, Any], backbone: Any) -> Any:
    """Build a task's mix block; its channels may be left out, and are those of the task's ``mask_layer``."""
    block = cfg["mix_block"]
    default = inspect.signature(lookup(cfg.get("type"), TASKS)).parameters.get("mask_layer")
    takes = "in_channels" in inspect.signature(lookup(block.get("type"), MODELS)).parameters
    if default is None or not takes or "in_channels" in block:
        return build(block, MODELS)
    try:
        channels = tasks.learned.map_at(backbone, cfg.get("mask_layer", default.default)).channels
    except ValueError as error:
        raise UserError(str(error)) from error
    return build({"in_channels": channels, **block}, MODELS)


def _inferred_channels(head: Mapping[str, Any], backbone: Any) -> dict[str, int]:
    """Return the ``in_channels`` that a head's config leaves out, if it takes any."""
    parameter = inspect.signature(lookup(head.get("type"), MODELS)).parameters.get("in_channels")
    if parameter is None or "in_channels" in head:
        return {}
    channels = getattr(backbone, "out_channels", None)
    if channels is not None:
        return {"in_channels": channels if isinstance(channels, int) else channels[-1]}
    if parameter.default is not parameter.empty:
        return {}
    raise UserError(
        f"{type(backbone).__name__} has no out_channels, which would say how many channels the head takes: write "
        "head.in_channels, the channels of the last feature map"
    )


def lookup(kind: Any, registry: Registry) -> Callable[..., Any]:
    """Return what ``type`` names, with the nearest known name in the error where nothing is."""
    if kind is None:
        raise UserError(f"a {registry.name} needs a 'type'; known: {', '.join(sorted(known_types(registry)))}")
    if not isinstance(kind, str):
        if not callable(kind):
            raise UserError(f"a {registry.name}'s 'type' is a name, got {kind!r}")
        return kind
    if registry is TRANSFORMS and kind.startswith("mmcv.") and kind.count(".") == 1:
        with registered_names_only():
            return mmcv_transform(kind.removeprefix("mmcv."))
    if kind not in known_types(registry) and registry is OPTIMIZERS:
        _add_timm_optimizers()
    found = _registered(kind, registry)
    if found is None:
        path = ": it is a registered name, not the path of something to import" if "." in kind else ""
        raise UserError(f"unknown {registry.name} type {kind!r}{path}{did_you_mean(kind, known_types(registry))}")
    return found


def _registered(kind: str, registry: Registry) -> Callable[..., Any] | None:
    """Return what is registered under a name, or under ``SCOPE.NAME`` in a registry of that scope around this one.

    ``Registry.get`` does so, too, and where it finds nothing it imports what the name might be the path of.
    """
    if kind in known_types(registry):
        return registry.module_dict.get(kind) or registry.parent.module_dict[kind]
    scope, name = Registry.split_scope_key(kind)
    root = registry if registry.parent is None else registry.parent
    scoped = None if scope is None else root._search_child(scope)
    return None if scoped is None else scoped.module_dict.get(name)


@contextlib.contextmanager
def registered_names_only() -> Iterator[None]:
    """Keep mmengine from importing what somebody, such as one of mmcv's transforms, asks a registry of it for."""

    def own_module(name: str) -> ModuleType:
        if name.partition(".")[0] not in ("mmengine", "mmcv"):
            raise ImportError(f"{name} is not imported for a name in a config")
        return importlib.import_module(name)

    before = mmengine_registry.get_object_from_string, mmengine_registry.import_module
    mmengine_registry.get_object_from_string, mmengine_registry.import_module = lambda name: None, own_module
    try:
        yield
    finally:
        mmengine_registry.get_object_from_string, mmengine_registry.import_module = before


def known_types(registry: Registry) -> list[str]:
    """Return the names that a registry, or the mmengine registry above it, knows; each once."""
    parent = registry.parent
    for each in (registry, parent):
        if each is not None:
            each.import_from_location()
    return list(dict.fromkeys([*registry.module_dict, *(parent.module_dict if parent is not None else {})]))


def reason_of(error: BaseException) -> str:
    """Return what an exception says, without the C++ stack that some of torch's go on with, or its type's name."""
    return str(error).split("\nException raised from")[0].strip() or type(error).__name__


def name_of(target: Any) -> str:
    """Return a class's or function's name."""
    return getattr(target, "__name__", str(target))


def _registry(name: str, entries: Mapping[str, Any], parent: Registry | None = None) -> Registry:
    registry = Registry(name, parent=parent, scope="openmix", build_func=_build_func)
    for key, entry in entries.items():
        registry.register_module(name=key, module=entry)
    return registry


def _build_func(cfg: Any, registry: Registry, **given: Any) -> Any:
    return build_task(cfg) if registry is TASKS else build(cfg, registry, **given)


def _classes(module: Any, base: type) -> dict[str, type]:
    """Return the concrete public subclasses of ``base`` in a torch module."""
    return {n: c for n, c in vars(module).items() if inspect.isclass(c) and issubclass(c, base) and c is not base}


@functools.cache
def _add_timm_optimizers() -> None:
    """Register timm's optimizers under the names that torch has not taken; importing timm takes two seconds."""
    import timm.optim

    for name, optimizer in _classes(timm.optim, torch.optim.Optimizer).items():
        if name not in OPTIMIZERS.module_dict:
            OPTIMIZERS.register_module(name=name, module=optimizer)


def _schedulers() -> dict[str, Any]:
    skipped = ("LRScheduler", "ReduceLROnPlateau", "SequentialLR", "ChainedScheduler", "LambdaLR", "MultiplicativeLR")
    classes = _classes(lr_scheduler, lr_scheduler.LRScheduler)
    return {n: c for n, c in classes.items() if not n.startswith("_") and n not in skipped}


BASES = ("SelfSupervised",)  # tasks that are there to be derived from
# a task's parts, in the order in which they are built, and whose channels each takes
CHAINS = {
    "neck": "backbone", "head": "backbone", "head_one": "backbone", "probe": "backbone", "projector": "backbone",
    "predictor": "projector", "decoder": "backbone",
}  # fmt: skip

MODELS = _registry("model", {name: getattr(models, name) for name in models.__all__})
TASKS = _registry("task", {name: entry for name, entry in _classes(tasks, tasks.Task).items() if name not in BASES})
DATASETS = _registry("dataset", data.SOURCES)
TRANSFORMS = _registry("transform", {**TRANSFORM_CLASSES, "MmcvTransform": MmcvTransform})
LOADERS = _registry("loader", data.LOADERS)
OPTIMIZERS = _registry("optimizer", _classes(torch.optim, torch.optim.Optimizer))
PARAM_SCHEDULERS = _registry("param_scheduler", _schedulers())
HOOKS = _registry("hook", {}, parent=MMENGINE_HOOKS)

# which registry the dicts under a keyword are built from, wherever the keyword appears
SLOTS = {
    "backbone": MODELS,
    "guide": MODELS,
    "neck": MODELS,
    "head": MODELS,
    "head_one": MODELS,
    "mix_block": MODELS,
    "probe": MODELS,
    "projector": MODELS,
    "predictor": MODELS,
    "decoder": MODELS,
    "loss": MODELS,
    "dataset": DATASETS,
    "loaders": LOADERS,
    "pipeline": TRANSFORMS,
    "transforms": TRANSFORMS,
    "views": TRANSFORMS,
}
