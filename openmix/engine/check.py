"""Finds in a config what nothing would read, before anything is built: each key is held against a signature."""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from mmengine.registry import VISBACKENDS, Registry
from mmengine.runner.priority import Priority
from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

from openmix.engine import settings
from openmix.engine.wrapper_settings import WRAPPERS
from openmix.errors import UserError, did_you_mean
from openmix.mixers.catalog import list_mixers
from openmix.mixers.mixer import mixer_class
from openmix.registry import HOOKS, LOADERS, OPTIMIZERS, PARAM_SCHEDULERS, SLOTS, TASKS, lookup, name_of

__all__ = ["Problem", "find_problems"]

Problem = tuple[str, str]  # the dotted key, and what is wrong with it

# arguments that the program provides: a config must not, and need not
FROM_ENGINE = frozenset({"seed", "shards", "device", "params", "save_dir"})
# required arguments that a config may leave out: a head's channels are its backbone's, a schedule's length the run's
INFERRED = frozenset({"in_channels", "T_max"})

TYPED: dict[str, Registry] = {
    "model": TASKS,
    "train_dataloader": LOADERS,
    "val_dataloader": LOADERS,
    "test_dataloader": LOADERS,
    "custom_hooks": HOOKS,
    "vis_backends": VISBACKENDS,
    "param_scheduler": PARAM_SCHEDULERS,
}
LISTS = (
    "custom_hooks",
    "vis_backends",
    "param_scheduler",
    "loaders",
    "pipeline",
    "transforms",
    "views",
)  # where several may stand
# keys beside a part's own arguments, which say how the run is to use it
NOTHING: dict[str, Any] = {}
EXTRA: dict[str, dict[str, Any]] = {
    "custom_hooks": {"priority": int | Literal[tuple(p.name for p in Priority)]},  # type: ignore[valid-type]
    "param_scheduler": {
        "by_epoch": bool,
        "begin": int,
        "end": int | None,
        "convert_to_iter_based": bool,
        "group": str | None,
    },
}
PLAIN: dict[str, Any] = {
    "resume": bool,
    "load_from": str | None,
    "work_dir": str | None,
    "custom_imports": Mapping | None,
    "sync_bn": Literal["torch"] | None,
}
REQUIRED = ("model", "train_dataloader", "train_cfg", "optim_wrapper")


def find_problems(cfg: Mapping[str, Any]) -> list[Problem]:
    """Return everything in a config that is misspelt, missing or of the wrong type, by dotted key."""
    known = [*settings.SECTIONS, *TYPED, *PLAIN, "model_wrapper_cfg"]
    problems: list[Problem] = [(key, "is missing") for key in REQUIRED if cfg.get(key) is None]
    for key, value in cfg.items():
        if key in settings.SECTIONS:
            problems += _call(settings.SECTIONS[key], value, key)
        elif key in TYPED and value is not None:
            several = key in LISTS and isinstance(value, list | tuple)
            for path, item in [(f"{key}.{i}", item) for i, item in enumerate(value)] if several else [(key, value)]:
                if isinstance(item, Mapping):
                    problems += _typed(item, TYPED[key], path, EXTRA.get(key, {}))
                else:
                    problems.append((path, f"must be a dict with 'type', got {item!r}"))
        elif key in PLAIN:
            problems += _value(value, PLAIN[key], key)
        elif key == "model_wrapper_cfg":
            problems += [] if value is None else _one_of(value, WRAPPERS, key)
        elif key not in TYPED:
            problems.append((key, f"nothing reads this key{did_you_mean(key, known)}"))
    for key, section in settings.NESTED.items():
        outer, inner = key.split(".")
        if isinstance(cfg.get(outer), Mapping) and cfg[outer].get(inner) is not None:
            problems += _call(section, cfg[outer][inner], key)
    if isinstance(cfg.get("optim_wrapper"), Mapping) and cfg["optim_wrapper"].get("optimizer") is not None:
        optimizer, path = cfg["optim_wrapper"]["optimizer"], "optim_wrapper.optimizer"
        if isinstance(optimizer, Mapping):  # what else it may be is told above
            problems += _typed(optimizer, OPTIMIZERS, path)
    return problems


def _typed(value: Any, registry: Registry, path: str, extra: Mapping[str, Any] = NOTHING) -> list[Problem]:
    """Check a dict with ``type``, or a list of them; ``extra`` annotates keys that the built object does not get."""
    if isinstance(value, list | tuple):
        return [p for i, item in enumerate(value) for p in _typed(item, registry, f"{path}.{i}", extra)]
    if not isinstance(value, Mapping):
        return [(path, f"must be a dict with 'type', got {value!r}")]
    try:
        target = lookup(value.get("type"), registry)
    except UserError as error:
        return [(f"{path}.type", str(error))]
    problems = [p for key in extra.keys() & value.keys() for p in _value(value[key], extra[key], f"{path}.{key}")]
    return problems + _call(target, {k: v for k, v in value.items() if k != "type" and k not in extra}, path)


def _one_of(value: Any, kinds: Mapping[str, type[Any]], path: str) -> list[Problem]:
    """Check a dict whose ``type`` names one of a few classes."""
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        return [(path, f"must be a dict with 'type', got {value!r}")]
    kind = value["type"]
    if kind not in kinds:
        return [(f"{path}.type", f"there is no {kind!r}{did_you_mean(kind, kinds)}")]
    return _call(kinds[kind], {k: v for k, v in value.items() if k != "type"}, path)


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
            hints = getattr(getattr(target, "method", None), "hints", {})  # a mixing method's own
            hint = hints.get(key) or did_you_mean(key, choices)
            problems.append((f"{path}.{key}", f"{name_of(target)} takes no {key!r}{hint}"))
    for name, parameter in named.items():
        required = parameter.default is parameter.empty and name not in arguments
        if required and not _provided(name, path) and name not in INFERRED:
            problems.append((f"{path}.{name}", f"{name_of(target)} needs it"))
    return problems


def _provided(name: str, path: str) -> bool:
    in_schedule = path.startswith("param_scheduler")
    return path != "randomness" and (name in FROM_ENGINE or (name == "optimizer" and in_schedule))


def _argument(key: str, value: Any, hint: Any, path: str) -> list[Problem]:
    if key == "mix_mode":
        return _value(value, hint, path) or _modes(value if isinstance(value, list | tuple) else [value], path)
    if key == "mix_args" and isinstance(value, Mapping):
        known = [mode for mode in value if not _modes([mode], path)]
        return _modes(value, path) + [
            p for mode in known for p in _call(mixer_class(mode), value[mode], f"{path}.{mode}")
        ]
    registry = SLOTS.get(key)
    items = value if isinstance(value, list | tuple) else [value]
    if registry is not None and any(isinstance(part, Mapping) for item in items for part in _flat(item)):
        if items is value and key not in LISTS:
            return [(path, f"must be a dict with 'type', got {value!r}")]
        return _typed(value, registry, path)
    return _value(value, hint, path)


def _flat(value: Any) -> Iterable[Any]:
    """Return the parts of a list of lists, or a value itself."""
    return [part for item in value for part in _flat(item)] if isinstance(value, list | tuple) else [value]


def _modes(names: Iterable[str], path: str) -> list[Problem]:
    """Check names of mixing methods."""
    known = list_mixers()
    return [(path, f"unknown mixing method {n!r}{did_you_mean(n, known)}") for n in names if n not in known]


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
    if "__signature__" in vars(target):  # made by hand, annotations included
        return {p.name: p.annotation for p in inspect.signature(target).parameters.values()}
    function = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(function)
    except Exception:  # another library's annotations need not resolve
        return {}


def _spell(hint: Any) -> str:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):  # Python 3.10 may spell one of them Optional
        return " | ".join("None" if arg is type(None) else _spell(arg) for arg in typing.get_args(hint))
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return text.replace("typing.", "").replace("collections.abc.", "")
