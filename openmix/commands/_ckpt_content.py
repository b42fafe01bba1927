"""Whether what a checkpoint holds can be what it should be. Nothing in it is trusted, and no value's type is given."""

import math
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmix.data.timeline import Timeline
from openmix.engine.checkpoint import load_checkpoint
from openmix.engine.weights import final_weights
from openmix.errors import UserError

__all__ = ["epoch_of", "is_count", "is_number", "load", "printable", "spell", "unfit_tensor", "unfit_value"]

MAX_PHASES = 1000  # of a timeline; a look-up takes their number squared
SPARE = 1 << 30  # bytes that a file's tensors may take beyond ten times what the file has


def load(path: Path) -> dict[str, Any]:
    """Load a checkpoint of openmix on to the CPU.

    Raises:
        ForeignFileError: the file is not a checkpoint of openmix.
        UserError: the file is missing or damaged, in whatever way.
    """
    try:
        return load_checkpoint(path)
    except UserError:
        raise
    except Exception as error:  # a tensor where a number should be does not even compare
        raise UserError(f"checkpoint {path} is damaged: it cannot be read ({type(error).__name__})") from error


def unfit_value(state: Mapping[str, Any]) -> str:
    """Say which value of a loaded checkpoint is not what it must be; nothing if all are."""
    for name, (what, fits) in VALUES.items():
        if not fits(state[name]):
            return f"its {name} is {spell(state[name])}, not {what}"
    return ""


def unfit_tensor(state: Mapping[str, Any], size: int) -> str:
    """Say which of a checkpoint's weights can be no network's; nothing if all can.

    Args:
        state: a loaded checkpoint.
        size: of its file. A tensor may say that it repeats a number as often as it likes, and fill the memory.
    """
    try:
        weights = [final_weights({**state, "ema": None}), *([] if state["ema"] is None else [final_weights(state)])]
    except UserError as error:
        return str(error).removeprefix("the checkpoint is damaged: ")
    if not all(weights):
        return "it holds no weights"
    tensors = [(name, tensor) for found in weights for name, tensor in found.items()]
    for name, tensor in tensors:
        if why := _odd_form(tensor):
            return f"its weights {spell(name)} are {why}"
    if sum(tensor.nbytes for _, tensor in tensors) > 10 * size + SPARE:
        return "its weights are larger than the file can hold"
    for name, tensor in tensors:
        try:
            finite = bool(tensor.isfinite().all())
        except RuntimeError:  # torch has types of a few bits, which it cannot compute with
            return f"its weights {spell(name)} are {str(tensor.dtype).removeprefix('torch.')}, which no network has"
        if not finite:
            return f"its weights {spell(name)} are not all finite"
    return ""


def _odd_form(tensor: Tensor) -> str:
    """Say what keeps a tensor from being plain numbers in memory; nothing if it is."""
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_meta:
        return "without values"
    return "not dense" if tensor.is_nested or tensor.layout is not torch.strided else ""


def epoch_of(state: Mapping[str, Any]) -> str:
    """Return the epoch of a checkpoint's step, counted from 1; of one that is not finished also how far it had come.

    >>> epoch_of({"step": 12, "timeline": [[0, 6]]}), epoch_of({"step": 16, "timeline": [[0, 6]]})
    ('2', '3 (4/6)')
    """
    timeline, step = Timeline(tuple((first, steps) for first, steps in state["timeline"])), state["step"]
    if step == 0:
        return "0"
    epoch = timeline.epoch_of(step - 1)
    done, steps = step - timeline.start_of(epoch), timeline.steps_in(epoch)
    return f"{epoch + 1}" if done == steps else f"{epoch + 1} ({done}/{steps})"


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 0 on, of no more than 63 bits."""
    return type(value) is int and 0 <= value < 1 << 63


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return type(value) in (int, float) and abs(value) < 1e300  # an int beyond has no float


def _is_timeline(value: Any) -> bool:
    """Tell whether phases begin at epoch 0, one after the other, with at least a step an epoch."""
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_PHASES:
        return False
    if not all(isinstance(phase, list | tuple) and len(phase) == 2 and all(map(is_count, phase)) for phase in value):
        return False
    firsts = [first for first, _ in value]
    return firsts[0] == 0 and firsts == sorted(set(firsts)) and all(steps for _, steps in value)


def _are_metrics(value: Any) -> bool:
    """Tell whether these are figures by name; a hook may have put anything beside top-1."""
    if not isinstance(value, Mapping):
        return False
    top1 = value.get("top1", 0.0)
    return is_number(top1) or (type(top1) is float and math.isnan(top1))


# what a checkpoint's plain values must be
VALUES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "step": ("a number of steps", is_count),
    "timeline": ("[first epoch, steps of an epoch] of each phase", _is_timeline),
    "seed": ("a whole number", lambda value: type(value) is int),
    "best": ("a number", lambda value: type(value) in (int, float)),
    "metrics": ("figures by name", _are_metrics),
    "optimizer": ("a state by name", lambda value: isinstance(value, Mapping)),
    "hooks": ("a state by name", lambda value: isinstance(value, Mapping)),
}


def spell(value: Any) -> str:
    """Return a short spelling of a value from a file, on one line."""
    plain = value is None or isinstance(value, str | int | float)
    return printable(reprlib.repr(value)) if plain else f"a {type(value).__name__}"


def printable(text: str) -> str:
    """Return a text from a file or a file system without what would move a terminal's cursor or cannot be encoded."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
