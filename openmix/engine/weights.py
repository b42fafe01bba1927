"""The weights that a checkpoint holds, on to a task: an openmix run's as it validated them, or another program's."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openmix.engine.checkpoint import ForeignFileError, load_checkpoint
from openmix.engine.sharding import laid_out
from openmix.errors import UserError
from openmix.models.weights import Fitted, check_weights, fit_weights, read_weights

__all__ = ["check_average", "check_trainable", "final_weights", "fitted_weights", "lacking", "load_weights"]

LOSS_ALONE = ("predictor", "queue", "decoder")  # what only the loss goes through


def final_weights(state: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Return the weights in a loaded checkpoint that its run validated: the averaged ones where it averages."""
    if state["ema"] is None:
        return state["model"]
    prefix = "module."
    return {key[len(prefix) :]: value for key, value in state["ema"].items() if key.startswith(prefix)}


def fitted_weights(path: str | Path, module: nn.Module) -> Fitted:
    """Return a file's weights by a task's names: those that an openmix run validated, or any program's, by their names.

    Raises:
        UserError: the file is missing or damaged, or its weights are another network's.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            raise ForeignFileError(str(path))
        # timm's, DeiT's and MAE's files hold their options, too, and are to be known as foreign, not as damaged
        with torch.serialization.safe_globals([argparse.Namespace]):
            weights = final_weights(load_checkpoint(path))
    except ForeignFileError:
        weights = read_weights(path)
    try:
        return fit_weights(weights, module)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def lacking(fitted: Fitted, features: str) -> list[str]:
    """Return the parts that a file has no weights of, and that an evaluation would go through.

    Args:
        fitted: the file's weights.
        features: 'backbone', or 'projection' where kNN is of these.
    """
    unused = LOSS_ALONE if features == "projection" else (*LOSS_ALONE, "projector")
    return [part for part in fitted.begins_anew if part not in unused]


def check_trainable(fitted: Fitted, module: nn.Module) -> None:
    """Raise UserError if something that a file has no weights of is not trained either: it would stay random."""
    frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
    if stays := [part for part in fitted.begins_anew if any(name.startswith(f"{part}.") for name in frozen)]:
        raise UserError(
            f"load_from has no weights of {' and '.join(stays)}, and {type(module).__name__} does not train "
            f"{'it' if len(stays) == 1 else 'them'}: take a network without, or other weights"
        )


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights from a checkpoint.

    Raises:
        UserError: they are another network's, or no numbers.
    """
    own = module.state_dict()
    check_weights(weights, own)
    module.load_state_dict({name: laid_out(value, own[name]) for name, value in weights.items()})


def check_average(ema: Mapping[str, Tensor], module: nn.Module) -> None:
    """Raise UserError unless a checkpoint's averaged weights are those of this network, and of at least one step.

    Args:
        ema: an ``AveragedModel``'s state, whose names begin with ``module.``.
        module: the task.
    """
    target = {f"module.{key}": value for key, value in module.state_dict().items()}
    check_weights(ema, target | {"n_averaged": torch.tensor(1)})
    if not ema["n_averaged"] > 0:
        raise UserError("the checkpoint is damaged: its average is of no steps")
