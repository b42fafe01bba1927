"""The micro-batches of a step that a run has done, rebuilt bit for bit from the key that the run wrote down."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmix.data.batch import Batch
from openmix.engine.build import open_loader, seed_of
from openmix.engine.distributed import World
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import OptimWrapper, Preprocessor
from openmix.engine.step import seed_global
from openmix.errors import UserError
from openmix.tasks.base import Task
from openmix.tasks.context import StepContext

__all__ = ["StepKey", "find_nonfinite", "read_key", "rebuild"]


@dataclass(frozen=True)
class StepKey:
    """Where in a run a process was: what ``nonfinite/step_N_rank_R.json`` holds.

    Attributes:
        seed: of the run.
        epoch: counts from 1, as in ``metrics.jsonl``.
        step: over the whole run, counts from 1.
        progress: the share of the run that was done.
        rank: of the process.
        world_size: how many there were.
        micro_batches: for each its ``shard``, and what the run knew of it: ``index``, ``loss``, ``sha256``.
    """

    seed: int
    epoch: int
    step: int
    progress: float
    rank: int
    world_size: int
    micro_batches: tuple[Mapping[str, Any], ...]

    def contexts(self) -> list[StepContext]:
        """Return the place of each micro-batch, from which all its draws come."""
        return [
            StepContext(self.seed, self.epoch - 1, self.step - 1, entry["shard"], self.progress)
            for entry in self.micro_batches
        ]


def read_key(path: str | Path) -> StepKey:
    """Read a key.

    Raises:
        UserError: the file is missing, damaged, or something else.
    """
    path, fields = Path(path), [field.name for field in dataclasses.fields(StepKey)]
    if not path.is_file():
        raise UserError(f"no file {path}; a run whose loss or gradient is no number writes WORK_DIR/nonfinite/*.json")
    try:
        content = json.loads(path.read_text())
        numbers = {name: content[name] for name in ("seed", "epoch", "step", "rank", "world_size")}
        key = StepKey(**numbers, progress=float(content["progress"]), micro_batches=tuple(content["micro_batches"]))
        right = all(type(number) is int for number in numbers.values()) and min(key.epoch, key.step) > 0
        right = right and 0 <= key.rank < key.world_size and len(key.micro_batches) > 0
        right = right and all(type(entry["shard"]) is int for entry in key.micro_batches)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        right = False
    if not right:
        raise UserError(f"{path} is damaged, or no key of a step: it needs {', '.join(fields)}")
    return key


def rebuild(key: StepKey, cfg: Mapping[str, Any]) -> list[tuple[StepContext, Batch]]:
    """Return a process's micro-batches of a step, normalised, as its task got them; on the CPU.

    Args:
        key: which.
        cfg: a checked config: the run's own, ``config.py`` in its work dir.

    Raises:
        UserError: the config is of another run.
    """
    if seed_of(cfg) != key.seed:
        raise UserError(f"the step was of a run with seed {key.seed}, the config has {seed_of(cfg)}")
    world, contexts = World(key.rank, key.world_size), key.contexts()
    with open_loader(cfg, "train_dataloader", world) as loader:
        assert loader is not None
        start = key.step - 1 - loader.timeline.start_of(key.epoch - 1)
        if not 0 <= start < loader.timeline.steps_in(key.epoch - 1):
            raise UserError(
                f"the config's epoch {key.epoch} has no step {key.step}: the config or the data are another run's"
            )
        found = list(islice(loader.epoch(key.epoch - 1, start_step=start), len(contexts)))
    accumulate = OptimWrapper(**cfg["optim_wrapper"]).accumulative_counts
    if accumulate != len(contexts) or [shard for shard, _ in found] != [context.shard for context in contexts]:
        raise UserError(f"the run had {len(contexts)} micro-batches a step and process, the config has {accumulate}")
    normalize = Normalize(Preprocessor(**cfg.get("data_preprocessor", {})))
    return [(context, normalize.batch(batch)) for context, (_, batch) in zip(contexts, found, strict=True)]


def find_nonfinite(task: Task, context: StepContext, batch: Batch) -> Iterator[str]:
    """Compute a micro-batch's loss and gradient in float32, and yield which outputs and gradients are no numbers.

    Args:
        task: with the weights of a checkpoint; its mode and statistics are changed.
        context: the micro-batch's place.
        batch: the micro-batch.
    """
    bad: list[str] = []
    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: _note(name, output, bad))
        for name, module in task.named_modules()
        if name
    ]
    task.train()
    seed_global(context.model_seed(), torch.device("cpu"))
    try:
        loss = task(batch, context)["loss"]
    finally:
        for handle in handles:
            handle.remove()
    yield f"loss {loss.item():.6g}"
    if bad:
        yield f"outputs that are not finite, the first to arise first: {_first(bad)}"
    loss.backward()
    gradients = [n for n, p in task.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    yield f"gradients that are not finite: {_first(gradients)}" if gradients else "all gradients are finite"


def _note(name: str, output: Any, bad: list[str]) -> None:
    tensors = output if isinstance(output, tuple | list) else [output]
    if any(isinstance(t, Tensor) and t.is_floating_point() and not t.isfinite().all() for t in tensors):
        bad.append(name)


def _first(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
