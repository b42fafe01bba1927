"""Finds in a config what nothing would read, before anything is built: each key is held against a signature."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from mmengine.registry import VISBACKENDS, Registry
from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

from openmix.engine import settings
from openmix.errors import UserError, did_you_mean
from openmix.registry import HOOKS, LOADERS, OPTIMIZERS, PARAM_SCHEDULERS, SLOTS, TASKS, lookup, name_of

__all__ = ["Problem", "find_problems"]

Problem = tuple[str, str]  # the dotted key, and what is wrong with it

# arguments that the program provides: a config must not, and need not
FROM_ENGINE = frozenset({"seed", "shards", "device", "params", "save_dir"})
# required arguments that a config may leave out: a head's channels are its backbone's, a schedule's length the run's
INFERRED = frozenset({"in_channels", "T_max"})

SECTIONS: dict[str, Any] = {
    "data_preprocessor": settings.Preprocessor,
    "train_cfg": settings.TrainCfg,
    "optim_wrapper": settings.OptimWrapper,
    "default_hooks": settings.DefaultHooks,
    "randomness": settings.Randomness,
}
TYPED: dict[str, Registry] = {
    "model": TASKS,
    "train_dataloader": LOADERS,
    "val_dataloader": LOADERS,
    "test_dataloader": LOADERS,
    "custom_hooks": HOOKS,
    "vis_backends": VISBACKENDS,
}
PLAIN: dict[str, Any] = {
    "resume": bool,
    "load_from": str | None,
    "work_dir": str | None,
    "custom_imports": Mapping,
    "param_scheduler": Any,
}
REQUIRED = ("model", "train_dataloader", "train_cfg", "optim_wrapper")


def find_problems(cfg: Mapping[str, Any]) -> list[Problem]:
    """Return everything in a config that is misspelt, missing or of the wrong type, by dotted key."""
    known = [*SECTIONS, *TYPED, *PLAIN]
    problems: list[Problem] = [(key, "is missing") for key in REQUIRED if key not in cfg]
    for key, value in cfg.items():
        if key in SECTIONS:
            problems += _call(SECTIONS[key], value, key)
        elif key in TYPED:
            problems += _typed(value, TYPED[key], key)
        elif key in PLAIN:
            problems += _value(value, PLAIN[key], key)
        else:
            problems.append((key, f"nothing reads this key{did_you_mean(key, known)}"))
    hooks = cfg.get("default_hooks")
    if isinstance(hooks, Mapping):
        for name, section in (("checkpoint", settings.CheckpointHook), ("logger", settings.LoggerHook)):
            problems += _call(section, hooks.get(name, {}), f"default_hooks.{name}")
    if isinstance(cfg.get("optim_wrapper"), Mapping):
        problems += _optimizer(cfg["optim_wrapper"].get("optimizer"))
    problems += _schedulers(cfg.get("param_scheduler"))
    return problems


def _optimizer(value: Any) -> list[Problem]:
    return [] if value is None else _typed(value, OPTIMIZERS, "optim_wrapper.optimizer")


def _schedulers(value: Any) -> list[Problem]:
    problems: list[Problem] = []
    for i, item in enumerate(value if isinstance(value, list | tuple) else [] if value is None else [value]):
        path = f"param_scheduler.{i}" if isinstance(value, list | tuple) else "param_scheduler"
        if isinstance(item, Mapping):
            extra = {"by_epoch": bool, "begin": int, "end": int | None}
            for key in extra.keys() & item.keys():
                problems += _value(item[key], extra[key], f"{path}.{key}")
            item = {k: v for k, v in item.items() if k not in extra}
        problems += _typed(item, PARAM_SCHEDULERS, path)
    return problems


def _typed(value: Any, registry: Registry, path: str) -> list[Problem]:
    """Check a dict with ``type``, or a list of them."""
    if isinstance(value, list | tuple):
        return [p for i, item in enumerate(value) for p in _typed(item, registry, f"{path}.{i}")]
    if not isinstance(value, Mapping):
        return [(path, f"must be a dict with 'type', got {value!r}")]
    try:
        target = lookup(value.get("type"), registry)
    except UserError as error:
        return [(f"{path}.type", str(error))]
    return _call(target, {k: v for k, v in value.items() if k != "type"}, path)


def _call(target: Callable[..., Any], arguments: Any, path: str) -> list[Problem]:
    """Check keyword arguments against a signature: unknown, missing, of the wrong type."""
    if not isinstance(arguments, Mapping):
        return [(path, f"must be a dict, got {arguments!r}")]
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # a builtin tells nothing of itself
        return []
    named = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = _hints(target)
    problems: list[Problem] = []
    for key, value in arguments.items():
        if key in named and not _provided(key, path):
            problems += _argument(key, value, hints.get(key, Any), f"{path}.{key}")
        elif not takes_any:
            choices = [n for n in named if not _provided(n, path)]
            problems.append((f"{path}.{key}", f"{name_of(target)} takes no {key!r}{did_you_mean(key, choices)}"))
    for name, parameter in named.items():
        required = parameter.default is parameter.empty and name not in arguments
        if required and not _provided(name, path) and name not in INFERRED:
            problems.append((f"{path}.{name}", f"{name_of(target)} needs it"))
    return problems


def _provided(name: str, path: str) -> bool:
    in_schedule = path.startswith("param_scheduler")
    return path != "randomness" and (name in FROM_ENGINE or (name == "optimizer" and in_schedule))


def _argument(key: str, value: Any, hint: Any, path: str) -> list[Problem]:
    registry = SLOTS.get(key)
    items = value if isinstance(value, list | tuple) else [value]
    if registry is not None and any(isinstance(item, Mapping) for item in items):
        return _typed(value, registry, path)
    return _value(value, hint, path)


def _value(value: Any, hint: Any, path: str) -> list[Problem]:
    """Check a value against an annotation; a list may stand for a tuple, which a config need not tell apart."""
    candidates = [value]
    if isinstance(value, list | tuple):
        candidates += [tuple(value), list(value)]
    for candidate in candidates:
        try:
            check_type(candidate, hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
        except TypeCheckError:
            continue
        except Exception:  # an annotation that cannot be evaluated proves nothing about the value
            return []
        return []
    return [(path, f"must be {_spell(hint)}, got {value!r}")]


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(function)
    except Exception:  # another library's annotations need not resolve
        return {}


def _spell(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return text.replace("typing.", "").replace("collections.abc.", "")
