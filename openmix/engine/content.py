"""Whether what a checkpoint holds can be what training wrote. Nothing in it is trusted: no value's type is given.

What depends on the config, such as the shapes of the weights, is for those to check who take them over.
"""

import math
import reprlib
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmix.errors import UserError

__all__ = [
    "is_count", "is_number", "is_plain", "not_plain", "printable", "read_plain", "spell", "unfit_value", "zip_differs",
]  # fmt: skip

PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
DEPTH = 100  # of containers in containers
MAX_PHASES = 1000  # of a timeline; a look-up takes their number squared


def read_plain(path: Path, mmap: bool = False) -> Any:
    """Load a file of tensors and plain values; nothing in it is executed.

    Args:
        path: the file.
        mmap: read no tensor's content, which must not be looked at then: it may lie beyond the file's end.

    Raises:
        UserError: it is not as plain as it looks, or larger inside than outside.
        Exception: of whatever kind the bytes lead torch to.
    """
    if difference := zip_differs(path, sums=False):
        raise UserError(f"checkpoint {path} is damaged: {difference}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what there is to say of odd contents is said by errors
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    if odd := _odd_structure(state):
        raise UserError(f"checkpoint {path} is damaged: {odd}")
    return state


def zip_differs(path: Path, sums: bool = True) -> str:
    """Say in what a zip file is not what it says of itself; nothing if it is, or for any other file.

    Args:
        path: the file.
        sums: read all of it, and compare each part with its CRC-32, which torch does not.
    """
    if not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as file:
        if sum(entry.file_size for entry in file.infolist()) > path.stat().st_size:  # not to unpack a bomb
            return "it is larger inside than outside"
        return "its CRC-32 sums differ" if sums and file.testzip() is not None else ""


def unfit_value(state: Mapping[str, Any]) -> str:
    """Say which value of a loaded checkpoint is not what it must be; nothing if all are.

    >>> unfit_value({"step": -1})
    'its step is -1, not a number of steps'
    """
    for name, (what, fits) in VALUES.items():
        if name in state and not fits(state[name]):
            return f"its {name} is {spell(state[name])}, not {what}"
    return ""


def _odd_structure(value: Any, depth: int = DEPTH, seen: set[int] | None = None) -> str:
    """Say what in a loaded structure is not as plain as it looks; nothing if all is.

    An OrderedDict or a tensor may come with attributes that hide its methods.
    """
    seen = set() if seen is None else seen
    if isinstance(value, Tensor | OrderedDict) and any(hasattr(type(value), str(name)) for name in vars(value)):
        return f"a {type(value).__name__} in it has other values in place of its methods"
    if not isinstance(value, Mapping | list | tuple) or id(value) in seen:
        return ""
    if not depth:
        return f"it is nested more than {DEPTH} deep"
    seen.add(id(value))
    inner = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
    return next((odd for one in inner if (odd := _odd_structure(one, depth - 1, seen))), "")


def not_plain(value: Any, where: str = "") -> str:
    """Say where in a structure there is something else than tensors and plain values; nothing if there is nothing.

    >>> import pathlib
    >>> not_plain({"model": {}, "hooks": {"Mine-1": {"seen": [pathlib.PurePosixPath("x")]}}})
    'hooks.Mine-1.seen.0 is a PurePosixPath'
    """
    if isinstance(value, Mapping):
        inner = [*((key, f"{where}'s key") for key in value), *_named(value.items(), where)]
    elif isinstance(value, list | tuple | set):
        inner = _named(enumerate(value), where)
    else:
        plain = value is None or isinstance(value, Tensor) or type(value) in PLAIN
        return "" if plain else f"{where.removeprefix('.')} is a {type(value).__name__}"
    return next((found for one, place in inner if (found := not_plain(one, place))), "")


def _named(items: Iterable[tuple[Any, Any]], where: str) -> list[tuple[Any, str]]:
    return [(one, f"{where}.{key}") for key, one in items]


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 0 on, of no more than 63 bits."""
    return type(value) is int and 0 <= value < 1 << 63


def is_plain(value: Any) -> bool:
    """Tell whether a value is a tensor of numbers that lie in memory, in as much of it as they take."""
    if not isinstance(value, Tensor) or value.is_quantized or value.is_meta or value.is_nested:
        return False
    return value.layout is torch.strided and value.nbytes <= value.untyped_storage().nbytes()


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number, of a size that floats have, too."""
    return type(value) in (int, float) and abs(value) < 1e300


def _is_score(value: Any) -> bool:
    """Tell whether a value is a number, or the infinity that anything is better than."""
    return is_number(value) or (type(value) is float and not math.isnan(value))


def _is_timeline(value: Any) -> bool:
    """Tell whether phases begin at epoch 0, one after the other, with at least a step an epoch."""
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_PHASES:
        return False
    if not all(isinstance(phase, list | tuple) and len(phase) == 2 and all(map(is_count, phase)) for phase in value):
        return False
    firsts = [first for first, _ in value]
    return firsts[0] == 0 and firsts == sorted(set(firsts)) and all(steps for _, steps in value)


def _is_named(value: Any, fits: Callable[[Any], bool] = lambda _: True) -> bool:
    """Tell whether this is a dict by name, of values that fit."""
    return isinstance(value, dict) and all(isinstance(key, str) and fits(one) for key, one in value.items())


def _are_metrics(value: Any) -> bool:
    """Tell whether these are figures by name; a hook may have put anything beside top-1."""
    if not _is_named(value):
        return False
    top1 = value.get("top1", 0.0)
    return is_number(top1) or (type(top1) is float and math.isnan(top1))


def _are_weights(value: Any) -> bool:
    return _is_named(value, lambda one: isinstance(one, Tensor)) and bool(value)


def _is_optimizer(value: Any) -> bool:
    """Tell whether this is an optimizer's state, by number of the parameter and name, and its groups."""
    if not _is_named(value) or not value.keys() >= {"state", "param_groups"}:
        return False
    state, groups = value["state"], value["param_groups"]  # some optimizers keep more, beside them or in the state
    if not isinstance(state, dict) or not all(is_count(key) or isinstance(key, str) for key in state):
        return False
    if not all(_is_named(one) for key, one in state.items() if is_count(key)):
        return False
    return isinstance(groups, list) and all(_is_named(one) and isinstance(one.get("params"), list) for one in groups)


def _are_averages(value: Any) -> bool:
    """Tell whether these are sums of the tasks' reports, a row a process, and how many steps they are of."""
    if not _is_named(value) or value.keys() != {"count", "totals"} or not is_count(value["count"]):
        return False
    count, totals = value["count"], value["totals"]
    if totals is None or not count:
        return totals is None and not count
    real = is_plain(totals) and totals.dtype in (torch.float32, torch.float64)
    return real and totals.ndim == 2 and all(totals.shape)


def _are_circumstances(value: Any) -> bool:
    """Tell whether this is what :func:`~openmix.engine.resuming.circumstances` says."""
    if not _is_named(value) or not value.keys() >= CIRCUMSTANCES.keys():
        return False
    return all(fits(value[name]) for name, fits in CIRCUMSTANCES.items())


CIRCUMSTANCES: dict[str, Callable[[Any], bool]] = {
    "data": lambda value: value is None or isinstance(value, str),
    "processes": is_count,
    "accumulate": is_count,
    "batch_size": lambda value: value is None or is_count(value),
    "code": lambda value: _is_named(value, lambda one: isinstance(one, str)),
    "device": lambda value: isinstance(value, str),
    "threads": is_count,
}

# what a checkpoint's values must be
VALUES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "step": ("a number of steps", is_count),
    "timeline": ("[first epoch, steps of an epoch] of each phase", _is_timeline),
    "seed": ("a whole number", lambda value: type(value) is int),
    "best": ("a number", _is_score),
    "metrics": ("figures by name", _are_metrics),
    "config": ("text", lambda value: isinstance(value, str)),
    "circumstances": ("what a run depends on", _are_circumstances),
    "model": ("tensors by name", _are_weights),
    "ema": ("tensors by name", lambda value: value is None or _are_weights(value)),
    "optimizer": ("an optimizer's state", _is_optimizer),
    "scaler": ("numbers by name", lambda value: _is_named(value, lambda one: is_number(one) and one >= 0)),
    "averages": ("sums over steps", _are_averages),
    "damaged": ("a number of images", is_count),
    "hooks": ("a state by name", _is_named),
}


def spell(value: Any) -> str:
    """Return a short spelling of a value from a file, on one line.

    >>> spell("a\\n"), spell([1])
    ("'a\\\\n'", 'a list')
    """
    if isinstance(value, int) and value.bit_length() > 99:  # Python spells no more than 4,300 digits
        return f"a number of {value.bit_length()} bits"
    plain = value is None or isinstance(value, str | int | float)
    return printable(reprlib.repr(value)) if plain else f"a {type(value).__name__}"


def printable(text: str) -> str:
    """Return a text from a file or a file system without what would move a terminal's cursor or cannot be encoded."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
