"""Learned methods as mixers: made of the networks in a run's checkpoint, which stay as they are."""

import importlib
from collections.abc import Callable
from os import PathLike

from openmix.ops.target import Mixed

__all__ = ["from_checkpoint"]


def from_checkpoint(
    title: str, checkpoint: str | PathLike[str] | None, **changes: float | None
) -> Callable[..., Mixed]:
    """Return what mixes as a run's student was shown, called as functions of kind 'input' are.

    Args:
        title: the method's, as its task ``{title}Classification`` has it.
        checkpoint: a file that the run wrote.
        **changes: arguments of the task that are to have other values than in the run, where they are not None.

    Raises:
        TypeError: no checkpoint.
        UserError: the file is missing or damaged, or another task's; or a value is out of range.
    """
    if checkpoint is None:
        raise TypeError(f"{title} needs the checkpoint of a run of {title}Classification")
    # Networks are built of a config by what lies above this layer, and pays with mmengine. So that functions cost torch
    # alone, it is not imported with this module, but by name and when a checkpoint is given.
    engine = importlib.import_module("openmix.engine.frozen")
    return engine.frozen_mixer(title, checkpoint, **{k: v for k, v in changes.items() if v is not None})
