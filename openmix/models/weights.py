"""Weights from elsewhere: read from the files of other code bases, and fitted by their names on to a module.

``module.load_state_dict(fit_weights(read_weights(path), module).weights)`` is all that it takes.
"""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openmix.errors import UserError
from openmix.models.weight_parts import (
    BEHIND,
    BESIDE,
    CLASSIFIER,
    FC_NORM,
    HEAD,
    TRUNK,
    own_head,
    own_learnt,
    own_parts,
    replaced_norm,
    unfit,
    without_copies,
)  # fmt: skip
from openmix.models.weight_styles import STYLES, Style

__all__ = ["BESIDE", "Fitted", "check_weights", "fit_weights", "odd_form", "read_weights"]

# where a file keeps its weights, the first that is there: averages come before what they are averages of, as in a run's
# own validation. mmengine's 'ema_state_dict' is no average: it swaps the two when it saves.
CONTAINERS = (
    "ema", "state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "network", "net", "weights",
)  # fmt: skip
# what DataParallel, DistributedDataParallel, torch's AveragedModel and torch.compile put before every name
WRAPPERS = ("module.", "_orig_mod.")
DEPTH = 4  # of containers in containers; a file may hold one that holds itself
SHOWN = 3  # names of each kind in an error message


@dataclass(frozen=True)
class Fitted:
    """Weights by a module's own names.

    Attributes:
        weights: all that the module's ``load_state_dict`` wants.
        own: those of them that are the module's own: a classifier, because the file has one of another number of
            classes, or none; what stands before it, such as attention pooling, because the file has none; and what
            learning without labels takes beside the trunk, because the file has none that fits. They are to be trained
            before they are of use.
        ignored: the file's names that the network needs not: a teacher's, copies of averaged weights.
        style: whose names they were.
    """

    weights: dict[str, Tensor]
    own: tuple[str, ...]
    ignored: tuple[str, ...]
    style: str

    @property
    def begins_anew(self) -> tuple[str, ...]:
        """The parts that are the module's own, by name: 'head', or what else has weights in :attr:`own`."""
        parts = ((BEHIND.match(key), key.partition(".")[0]) for key in self.own)
        return tuple(dict.fromkeys(behind[1] if behind else first for behind, first in parts))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name, on to the CPU; nothing in the file is executed.

    Takes safetensors, and what ``torch.save`` made of a state dict or of a checkpoint that holds one: ``state_dict``
    (R-Mix, CropMix, OpenMixup), ``model`` (R-Mix's ``main.py``, MAE), openmix's own. Where there are averaged weights
    (openmix's EMA, timm's ``state_dict_ema``) these are taken. ``module.`` before every name is cut off.

    Args:
        path: a file; ``.safetensors`` is told by its name.

    Raises:
        UserError: the file is missing, damaged, or holds no tensors, or more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no file of weights {path}")
    weights = _strip(_tensors(_load(path)))
    if not weights:
        raise UserError(f"{path} holds no weights: expected tensors by name, or a checkpoint with a 'state_dict'")
    return weights


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # the options of the program that saved, which many keep beside the weights, are plain values in a Namespace
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both libraries raise whatever the bytes lead them to
        named = re.search(r"GLOBAL (\S+)", str(error))
        found = f"it needs {named[1]}, which is code" if named else type(error).__name__
        raise UserError(
            f"{path} is damaged, or not a file of tensors and plain values alone ({found}); a file that you trust can "
            "be opened with the code that wrote it, to save its state_dict() alone"
        ) from error


def _tensors(content: Any, depth: int = DEPTH) -> dict[str, Tensor]:
    """Return the tensors of the first container that has any, and where none is, of the content itself."""
    if not isinstance(content, Mapping):
        return {}
    for key in CONTAINERS if depth else ():
        if found := _tensors(content.get(key), depth - 1):
            return found
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _strip(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut off what wraps all names, and what AveragedModel counts beside them."""
    named = {key: value for key, value in weights.items() if key != "n_averaged"}
    for prefix in WRAPPERS:
        if named and all(key.startswith(prefix) for key in named):
            return _strip({key[len(prefix) :]: value for key, value in named.items()})
    return weights


def fit_weights(weights: Mapping[str, Tensor], module: nn.Module) -> Fitted:
    """Give weights the names that a task has for them.

    The task's network is ``backbone`` and its classifier ``head.fc``. Names are matched as torchvision, timm,
    OpenMixup, ResizeMix, R-Mix and CropMix have them. Values are cast to the module's types.

    Args:
        weights: by :func:`read_weights`.
        module: with a ``backbone`` and a ``head.fc``; it is not changed.

    Returns:
        The weights; a classifier of another number of classes is the module's own, as in fine-tuning, and so is what
        stands before it and the file knows nothing of: the norm of averaged tokens, pooling with weights.

    Raises:
        UserError: the weights are another network's; the message names the first few that are missing, unexpected (a
            second name for what has one already, too), or of another shape. Or they can be no network's: other than
            finite floating-point numbers where the module has such, or not dense.
    """
    target = module.state_dict()
    backbone = getattr(module, "backbone", module)
    kept, ignored = without_copies(weights, target)
    _refuse({key: form for key, value in kept.items() if (form := odd_form(value))})
    prefixes = [TRUNK, *(f"{TRUNK}{name}." for name, _ in backbone.named_children())]
    attempts = [(style, _rename(kept, style, prefixes, target)) for style in STYLES if style.suits(backbone)]
    style, renamed = max(attempts, key=lambda attempt: _score(attempt[1], target))
    own = (*own_parts(renamed, target), *own_learnt(renamed, target), *own_head(renamed, target))
    dropped = replaced_norm(renamed, target) if any(key.startswith(FC_NORM) for key in own) else ()
    ignored += dropped
    dropped += unfit("teacher.", renamed, target)  # a run begins it as a copy of the network
    fitted = {key: value for key, value in renamed.items() if key not in (*own, *dropped)}
    # files that are older than this counter lack it, and BatchNorm with a momentum does not read it
    counters = {k: v for k, v in target.items() if k.endswith(".num_batches_tracked") and k not in fitted}
    # a guide has weights of its own, and an average begins anew
    beside = {k: v for k, v in target.items() if k.startswith(BESIDE) and k not in fitted}
    modules_own = counters | beside | {key: target[key] for key in own}
    fitted |= modules_own
    check_weights(fitted, target)
    cast = {key: fitted[key].to(dtype=value.dtype) for key, value in target.items()}
    return Fitted(cast, own, ignored, style.name)


def check_weights(weights: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Raise UserError unless weights can take the place of a module's own, with which they share names and shapes.

    Args:
        weights: by the module's names.
        target: the module's ``state_dict()``.

    Raises:
        UserError: names the first few that are missing, unexpected, of another shape or no numbers of a network's.
    """
    _refuse({key: form for key, value in weights.items() if (form := odd_form(value))})
    _check(weights, target)
    _refuse({key: why for key, value in weights.items() if (why := _odd_values(value, target[key]))})


def _rename(
    weights: Mapping[str, Tensor], style: Style, prefixes: Sequence[str], target: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the weights by the task's names, as far as a style leads to them.

    A name that is not the task's own is looked for in the backbone and then in its parts: it may be another library's
    network, wrapped or divided. Where two names lead to one, the task's own keeps it, wherever it stands in the file,
    and the other stays as it is: nothing of the task's, and so an error.
    """
    renamed: dict[str, Tensor] = {}
    for key in sorted(weights, key=lambda key: key not in target):
        bare = key.removeprefix(TRUNK)
        name = style.rename(bare)
        classifier = CLASSIFIER.match(bare)
        candidates = (key, *(prefix + name for prefix in prefixes))
        found = next((candidate for candidate in candidates if candidate in target), None)
        if found is None:
            found = HEAD + classifier[1] if classifier else key
        renamed[key if found in renamed else found] = weights[key]
    return renamed


def _score(renamed: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> int:
    return sum(key in target and value.shape == target[key].shape for key, value in renamed.items())


def _check(fitted: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    wrong = {
        "missing": [key for key in target if key not in fitted],
        "unexpected": [key for key in fitted if key not in target],
        "of another shape": [
            f"{key} ({_size(fitted[key])}, not {_size(value)})"
            for key, value in target.items()
            if key in fitted and fitted[key].shape != value.shape
        ],
    }
    if any(wrong.values()):
        found = "; ".join(f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in wrong.items() if keys)
        raise UserError(f"the checkpoint holds another network than the config's: {found}")


def odd_form(value: Tensor) -> str:
    """Say what keeps a tensor from being plain numbers in memory; nothing if it is."""
    if value.is_quantized:
        return "quantised"
    return "not dense" if value.is_nested or value.layout is not torch.strided else ""


def _odd_values(value: Tensor, own: Tensor) -> str:
    """Say what keeps a file's values from taking the place of a module's own; nothing if they can be cast to them."""
    dtype = own.dtype
    if value.is_complex() or (dtype.is_floating_point and not value.is_floating_point()):
        return f"{value.dtype}, not {dtype}".replace("torch.", "")
    if value.is_meta:  # as a module's own may be, to see whether the names fit
        return "" if own.is_meta else "without values, of the meta device"
    if not dtype.is_floating_point and value.is_floating_point() and (value != value.round()).any():
        return "not whole numbers"
    lost = ~value.to(dtype).isfinite()
    if lost.any() and not own.is_meta:  # the module's own may have infinities, such as a mask's
        lost = lost.to(own.device) & own.isfinite()
    return "not all finite" if lost.any() else ""


def _refuse(odd: Mapping[str, str]) -> None:
    """Raise UserError for tensors by name and what is wrong with each, if there are any."""
    if odd:
        raise UserError(
            f"{len(odd)} of the checkpoint's tensors cannot be a network's weights: "
            + _first(f"{key} ({why})" for key, why in odd.items())
        )


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def _first(names: Iterable[str]) -> str:
    names = [name if name.isprintable() else ascii(name) for name in names]
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
