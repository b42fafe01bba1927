"""The weights that a checkpoint holds, on to a task: an openmix run's as it validated them, or another program's."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openmix.engine.checkpoint import ForeignFileError, load_checkpoint
from openmix.errors import UserError
from openmix.models.weights import Fitted, fit_weights, read_weights

__all__ = ["final_weights", "fitted_weights", "load_weights"]


def final_weights(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the weights in a checkpoint that its run validated: the averaged ones where it averages.

    Raises:
        UserError: what stands in their place is no dict of tensors by name.
    """
    name = "model" if state["ema"] is None else "ema"
    weights = state[name]
    if not isinstance(weights, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    ):
        raise UserError(f"the checkpoint is damaged: its {name!r} is no dict of tensors by name")
    if name == "model":
        return weights
    prefix = "module."
    return {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}


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
    return fit_weights(weights, module)


def load_weights(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Load weights from a checkpoint.

    Raises:
        UserError: they are another network's.
    """
    try:
        module.load_state_dict(weights)
    except Exception as error:  # what a damaged file holds in their place may be anything
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise UserError(f"the checkpoint holds another network than the config's: {' '.join(lines)[:400]}") from error
