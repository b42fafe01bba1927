"""Checkpoints of OpenMixup, ResizeMix, R-Mix, CropMix, torchvision and timm to files by openmix's names."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from openmix.engine.config import load_config
from openmix.engine.files import write_atomically
from openmix.errors import UserError
from openmix.models.weights import Fitted, fit_weights, read_weights
from openmix.registry import build_task

__all__ = ["Converted", "convert_checkpoint"]

SUFFIXES = (".safetensors", ".pth")


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        fitted: the weights and where they came from.
        tensors: how many were written.
        numbers: how many numbers they hold.
    """

    fitted: Fitted
    tensors: int
    numbers: int

    def lines(self) -> list[str]:
        """Return what there is to say, for the terminal."""
        said = [f"{self.tensors} tensors, {self.numbers:,} numbers; names: {self.fitted.style}"]
        for part in self.fitted.begins_anew:
            what = "classifier of the config's classes" if part == "head" else part
            said.append(f"no {what}: left out, and the {part} has to be trained")
        if self.fitted.ignored:
            said.append(f"left out, as the network needs them not: {len(self.fitted.ignored)} tensors of copies")
        return said


def convert_checkpoint(old: str, new: str, config: str) -> Converted:
    """Fit a checkpoint's weights to a config's network and write them, whole or not at all.

    Args:
        old: a file that :func:`openmix.models.weights.read_weights` reads.
        new: ``.safetensors``, with the source's name and SHA-256 in its metadata, or ``.pth``, with the same beside the
            ``state_dict``; replaced if it is there.
        config: the file of a config of openmix.

    Raises:
        UserError: the weights or the config cannot be read, or are of different networks; another suffix; the file
            cannot be written.
    """
    path = Path(new)
    if path.suffix not in SUFFIXES:
        raise UserError(f"weights are written as {' or '.join(SUFFIXES)}, not as {path.name}")
    weights = read_weights(old)
    task = build_task(load_config(config).model, device="meta")
    fitted = fit_weights(weights, task)
    written = {key: value.contiguous().clone() for key, value in fitted.weights.items() if key not in fitted.own}
    meta = {"format": "pt", "source": Path(old).name, "source_sha256": _sha256(old), "names": fitted.style}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda beside: _write(written, meta, beside, path.suffix))
    except OSError as error:
        raise UserError(f"cannot write {new}: {error.strerror or error}") from error
    return Converted(fitted, len(written), sum(value.numel() for value in written.values()))


def _write(weights: dict[str, Tensor], meta: dict[str, str], path: Path, suffix: str) -> None:
    if suffix == ".safetensors":
        from safetensors.torch import save

        path.write_bytes(save(weights, meta))  # save_file would let nobody else read it
    else:
        torch.save({"meta": meta, "state_dict": weights}, path)


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
