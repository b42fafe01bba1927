"""Write a checkpoint's weights as safetensors, which other programs read."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from openmix.commands._ckpt_content import unfit_tensor
from openmix.engine.checkpoint import ForeignFileError, load_checkpoint
from openmix.engine.content import printable
from openmix.engine.files import sha256, write_atomically
from openmix.engine.weights import final_weights
from openmix.errors import UserError
from openmix.version import __version__

__all__ = ["export"]

SUFFIX = ".safetensors"
TRUNK, TEACHER = "backbone.", "teacher."


def export(source: Path, out: Path, which: str, backbone: bool, force: bool) -> str:
    """Write a checkpoint's weights, whole or not at all, and return what was written, in words.

    Args:
        source: a checkpoint that training wrote.
        out: ``.safetensors``. Its metadata name the source, its SHA-256, step and seed, and which weights these are.
        which: ``model``, ``ema``, or ``final``: what the run validated; ``teacher`` is the momentum encoder within it.
        backbone: leave out all but the backbone, and name its tensors as the backbone itself does.
        force: replace ``out`` if it is there.

    Raises:
        UserError: the checkpoint is missing, damaged, or has no such weights; ``out`` is there, or cannot be written.
    """
    if out.suffix != SUFFIX:
        raise UserError(f"weights are exported as {SUFFIX}, not as {printable(out.name)}")
    if os.path.lexists(out) and (out.is_dir() or not force):
        raise UserError(f"{out} is there already" + ("" if out.is_dir() else "; --force replaces it"))
    state = _load(source)
    which = ("model" if state["ema"] is None else "ema") if which == "final" else which
    weights = _weights(state, which, source)
    if backbone:
        weights = {key.removeprefix(TRUNK): value for key, value in weights.items() if key.startswith(TRUNK)}
        if not weights:
            raise UserError(f"{source} holds no {TRUNK[:-1]}: leave out --backbone")
    metadata = {
        "format": "pt",
        "openmix_version": __version__,
        "source": printable(source.name),
        "source_sha256": sha256(source),
        "step": str(state["step"]),
        "seed": str(state["seed"]),
        "weights": which,
        "part": "backbone" if backbone else "all",
    }
    _write(weights, metadata, out)
    numbers = sum(value.numel() for value in weights.values())
    name = {"ema": "averaged weights (EMA)", "teacher": "the momentum encoder's weights"}.get(which, "weights")
    return f"{name} after step {state['step']}: {len(weights)} tensors, {numbers:,} numbers"


def _load(source: Path) -> dict[str, Any]:
    """Return a checkpoint of which every value that an export needs is right."""
    try:
        state = load_checkpoint(source)
    except ForeignFileError as error:
        raise UserError(f"{source} was not written by openmix's training; see 'openmix convert --help'") from error
    if problem := unfit_tensor(state, source.stat().st_size):
        raise UserError(f"checkpoint {source} is damaged: {problem}")
    return state


def _weights(state: Mapping[str, Any], which: str, source: Path) -> Mapping[str, Tensor]:
    if which == "ema" and state["ema"] is None:
        raise UserError(f"{source} has no averaged weights, as its run had no EMAHook; --weights model exports its own")
    weights = final_weights(state if which in ("ema", "teacher") else {**state, "ema": None})
    if which != "teacher":
        return weights
    own = {key.removeprefix(TEACHER): value for key, value in weights.items() if key.startswith(TEACHER)}
    if not own:
        raise UserError(f"{source} has no momentum encoder: AutoMix, SAMix and AdAutoMix have one")
    return own


def _write(weights: Mapping[str, Tensor], metadata: dict[str, str], out: Path) -> None:
    def write(beside: Path) -> None:
        # in memory of its own each: the format has no shared tensors; and by Python's own way to the file, as
        # safetensors would make one that only its owner may read
        beside.write_bytes(save({key: value.contiguous().clone() for key, value in weights.items()}, metadata))
        with safe_open(beside, "pt"):  # it opens: of a tensor named as the metadata are, none would come back
            pass

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, write)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    except Exception as error:  # a name or a type that the format lacks; what is raised depends on which
        reason = printable(str(error).split("\n")[0])
        raise UserError(f"the weights cannot be written as {SUFFIX}: {reason} ({type(error).__name__})") from error
