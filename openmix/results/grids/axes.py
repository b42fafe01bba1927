"""What a grid may vary: the axes that have a name, and any other key of a config."""

import ast
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openmix.engine import settings
from openmix.engine.check import PLAIN, TYPED
from openmix.errors import UserError, did_you_mean
from openmix.mixers.catalog import list_mixers

__all__ = ["AXES", "Axis", "axis_of", "read_values", "value_of"]

OF_THE_STUDY = ("work_dir", "resume")  # keys that say where a run lies and how it is started


@dataclass(frozen=True)
class Axis:
    """Something that runs of a study differ in.

    Attributes:
        name: what the manifest calls it, and, with hyphens, the option of the command.
        key: the dotted key that it sets; empty for the network, which is another base.
        short: what stands before its value in a run's name.
        words: how a docstring says it, with ``{}`` for the value.
        read: takes a value over, as what the config is to say; ValueError says what would be right.
    """

    name: str
    key: str
    short: str
    words: str
    read: Callable[[Any], Any]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("takes finite numbers")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("takes whole numbers")
    return value


def _numbers_or_none(value: Any) -> Any:
    """Take a number, None, or a list of these: one for each mode."""
    if isinstance(value, list | tuple):
        return [_numbers_or_none(item) for item in value]
    return None if value is None else _number(value)


def _probabilities(value: Any) -> list[float] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise ValueError("takes a probability for each mode, 0.4+0.6 on a command line, or none for equal ones")
    return [_number(item) for item in value]


def _modes(value: Any) -> Any:
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    if not names or len(set(map(str, names))) < len(names):
        raise ValueError("takes a method's name, or a list of different ones (mixup+cutmix on a command line)")
    for name in names:
        if name not in list_mixers():
            raise UserError(f"there is no mixing method {name!r}{did_you_mean(str(name), list_mixers())}")
    return value if isinstance(value, str) else names


def _network(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\w+", value, re.ASCII):
        raise ValueError("takes what a config's name begins with, such as r18 or rx50")
    return value


def _any(value: Any) -> Any:
    """Take what a config can hold."""
    if isinstance(value, dict):
        return {str(key): _any(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_any(item) for item in value]
    if not isinstance(value, str | int | float | None):
        raise ValueError("takes plain values, lists and dicts")
    return _number(value) if isinstance(value, float) else value


# in the order in which a run's name has them; keys without a name of their own stand before max_epochs
AXES = {
    axis.name: axis
    for axis in (
        Axis("backbone", "", "", "{}", _network),
        Axis("mix_mode", "model.mix_mode", "", "{}", _modes),
        Axis("alpha", "model.alpha", "a", "alpha {}", _numbers_or_none),
        Axis("mix_prob", "model.mix_prob", "p", "with probabilities {}", _probabilities),
        Axis("mix_repeat", "model.mix_repeat", "rep", "{} mixes a batch", _whole),
        Axis("lr", "optim_wrapper.optimizer.lr", "lr", "rate {}", _number),
        Axis("weight_decay", "optim_wrapper.optimizer.weight_decay", "wd", "weight decay {}", _number),
        Axis("batch_size", "train_dataloader.batch_size", "b", "batches of {}", _whole),
        Axis("max_epochs", "train_cfg.max_epochs", "ep", "{} epochs", _whole),
        Axis("seed", "randomness.seed", "s", "seed {}", _whole),
    )
}


def axis_of(name: str) -> Axis:
    """Return the axis of a name or of a config's dotted key.

    Raises:
        UserError: it is neither; the message suggests the nearest name.

    >>> axis_of("randomness.seed").name, axis_of("model.head.loss.type").short
    ('seed', 'type')
    """
    by_key = {axis.key: axis for axis in AXES.values() if axis.key}
    if known := AXES.get(name.replace("-", "_")) or by_key.get(name):
        return known
    parts = name.split(".")
    if name in OF_THE_STUDY or not all(re.fullmatch(r"[A-Za-z]\w*", part, re.ASCII) for part in parts):
        of_list = any(part.isdigit() for part in parts)
        why = "; a list is given whole, under its own key" if of_list else ""
        raise UserError(f"{name!r} is no key that the runs of a grid can differ in{why}")
    if len(parts) == 1 and name not in {*settings.SECTIONS, *TYPED, *PLAIN}:
        raise UserError(f"{name!r} is no axis, and no key of a config{did_you_mean(name, AXES)}")
    return Axis(name, name, parts[-1], parts[-1] + " {}", _any)


def read_values(axis: Axis, values: Any) -> list[Any]:
    """Take the values of an axis over, each once.

    Raises:
        UserError: they are no list, one cannot be a value, one is there twice, or there is none.
    """
    if not isinstance(values, list | tuple):
        raise UserError(f"the axis {axis.name} takes a list of values, got {values!r}")
    taken: list[Any] = []
    for value in values:
        try:
            read = axis.read(value)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{axis.name} {error}, got {value!r}") from None
        if any(read == other and type(read) is type(other) for other in taken):
            raise UserError(f"{axis.name} has {value!r} twice")
        taken.append(read)
    if not taken:
        raise UserError(f"{axis.name} has no values")
    return taken


def value_of(text: str) -> Any:
    """Return what a word of the command line stands for; ``+`` joins the parts of a list.

    Raises:
        UserError: it begins as a list or a dict does, and is none.

    >>> value_of("0.2"), value_of("mixup+cutmix"), value_of("0.1+1"), value_of("none"), value_of("1e+3")
    (0.2, ['mixup', 'cutmix'], [0.1, 1], None, 1000.0)
    """
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    if text.startswith(("[", "{")):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise UserError(f"{text!r} is neither a list nor a dict of plain values, as Python writes them") from None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    if "+" in text.strip("+"):
        return [value_of(part) for part in text.split("+")]
    return text
