"""Rebuild the batch of a step whose loss or gradient was no number, from the key that the run wrote.

Writes what the process's task was given in that step, bit for bit: for each micro-batch a .safetensors file of its
views, labels and indices, and a picture. With --checkpoint it also computes the step again, in float32 on the CPU, and
says which outputs and gradients are no numbers.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmix.errors import UserError

if TYPE_CHECKING:
    from openmix.data.batch import Batch

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("key", metavar="KEY.json", help="WORK_DIR/nonfinite/step_N_rank_R.json")
    parser.add_argument("--config", help="default: config.py of the work dir that KEY.json lies in (it is executed)")
    parser.add_argument("--checkpoint", metavar="FILE", help="weights to compute the step with, such as last.pth")
    parser.add_argument("--out", metavar="FOLDER", help="where to write; default: beside KEY.json, under its name")


def main(arguments: argparse.Namespace) -> int:
    """Rebuild, write and describe; 1 where the batch is not the one that the run had."""
    from openmix.engine.config import load_config
    from openmix.engine.files import writing
    from openmix.engine.replay import read_key, rebuild

    path = Path(arguments.key)
    key = read_key(path)
    config = arguments.config or str(path.parent.parent / "config.py")
    if not Path(config).is_file():
        raise UserError(f"no config {config}: name the run's config.py with --config")
    cfg = load_config(config)
    out = Path(arguments.out or path.with_suffix(""))
    if out.exists() and not out.is_dir():
        raise UserError(f"--out must name a folder, and {out} is a file")
    micro_batches = rebuild(key, cfg)
    same = True
    for (context, batch), entry in zip(micro_batches, key.micro_batches, strict=True):
        print(f"epoch {key.epoch}, step {key.step}, process {key.rank}, shard {context.shard}: {_describe(batch)}")
        verdict = _compare(batch, entry)
        same = same and not verdict.startswith("NOT")
        print(f"  {verdict}")
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
            _write(batch, out / f"shard_{context.shard}")
        print(f"  wrote {out / f'shard_{context.shard}'}.safetensors and .png")
    if arguments.checkpoint:
        for line in _compute(cfg, arguments.checkpoint, micro_batches):
            print(f"  {line}")
    return 0 if same else 1


def _describe(batch: "Batch") -> str:
    images = batch.images
    bad = int((~images.isfinite()).sum())
    values = f"{bad} values that are no numbers" if bad else f"values {images.min():.4g} to {images.max():.4g}"
    shown = ", ".join(map(str, batch.index[:8].tolist())) + (", ..." if len(batch) > 8 else "")
    return f"{len(batch)} images {tuple(images.shape[1:])}, {values}, of index {shown}"


def _compare(batch: "Batch", entry: Mapping[str, Any]) -> str:
    from openmix.engine.nonfinite import digest

    if "sha256" in entry:
        if entry["sha256"] == digest(batch) and entry.get("index") == batch.index.tolist():
            return f"the batch that the run had, bit for bit (SHA-256 {entry['sha256'][:16]})"
        return "NOT the batch that the run had: the data, the pipeline or the code are others now"
    if "index" in entry:
        if entry["index"] == batch.index.tolist():
            return "the images that the run had; it was on a GPU, and left no sum of their values"
        return "NOT the images that the run had: the data set or the config is another"
    return "the run left no sum of its values to compare with"


def _write(batch: "Batch", stem: Path) -> None:
    from safetensors.torch import save
    from torchvision.utils import save_image

    from openmix.engine.files import write_atomically

    views = {f"view_{number}": view.contiguous() for number, view in enumerate(batch.views)}
    tensors = {**views, "labels": batch.labels, "index": batch.index}
    write_atomically(stem.with_suffix(".safetensors"), lambda beside: beside.write_bytes(save(tensors)))
    images = batch.images
    if batch.pixel_range is not None:
        black, white = batch.pixel_range[:, :, None, None]
        images = (images - black) / (white - black)
    shown = images[:, :3] if images.shape[1] >= 3 else images[:, :1]
    save_image(shown.nan_to_num(0).clamp(0, 1), stem.with_suffix(".png"), nrow=16, padding=1)


def _compute(cfg: Any, checkpoint: str, micro_batches: Any) -> Iterator[str]:
    import torch

    from openmix.engine.build import initialise
    from openmix.engine.checkpoint import load_checkpoint
    from openmix.engine.replay import find_nonfinite
    from openmix.engine.weights import load_weights

    state = load_checkpoint(checkpoint)
    task = initialise(cfg, torch.device("cpu"))
    load_weights(task, state["model"])
    yield f"with the weights of {checkpoint}, after step {state['step']}:"
    for context, batch in micro_batches:
        task.zero_grad()
        for line in find_nonfinite(task, context, batch):
            yield f"  shard {context.shard}: {line}"
