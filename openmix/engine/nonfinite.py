"""A loss or gradient that is no number: found before the weights are updated, on every process, and written down."""

import hashlib
import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmix.data.batch import Batch
from openmix.engine.distributed import World
from openmix.engine.records import write_json
from openmix.errors import Reported
from openmix.tasks.context import StepContext

__all__ = ["FiniteCheck", "NonFiniteError", "digest", "write_key"]

AHEAD = 1024  # steps that the host may be ahead of a GPU, at most; each takes four bytes


class NonFiniteError(Reported, RuntimeError):
    """The loss, the gradient or the weights are NaN or infinite: the run has diverged.

    Attributes:
        contexts: the places of the step's micro-batches on this process; none where the weights were found.
        batches: the micro-batches, where they can still be read.
        losses: their losses, likewise.
    """

    def __init__(
        self,
        message: str,
        contexts: Sequence[StepContext] = (),
        batches: Sequence[Batch] = (),
        losses: Sequence[float] = (),
    ) -> None:
        super().__init__(message)
        self.contexts, self.batches, self.losses = tuple(contexts), tuple(batches), tuple(losses)


class FiniteCheck:
    """Finds a step whose losses or gradient are no numbers, on every process alike, and before its update on a CPU.

    Nothing is exchanged for it: a loss that is no number turns its whole gradient into NaN, and the gradients' sum over
    the processes takes that to all of them. And nothing waits for a GPU: there a number a step travels to the host
    beside the computing, and whoever looks next finds those that have arrived. Until then a fused optimizer leaves the
    weights alone; others go on with what is lost anyway, as nothing is saved after such a step. (An assertion on the
    device would stop it at once, and take the process with it: CUDA cannot be used after one, to free memory even.)

    Args:
        device: where the steps are computed.
    """

    def __init__(self, device: torch.device) -> None:
        self.waits = device.type == "cpu"  # where looking takes no time
        self._flags = torch.zeros(AHEAD, pin_memory=not self.waits)  # 0 where all is well
        self._contexts: deque[list[StepContext]] = deque(maxlen=AHEAD)

    def weight(self, loss: Tensor) -> Tensor | None:
        """Return what to begin the backward pass of a loss with: 1, which is also None, or NaN if it is no number."""
        if self.waits:
            return None if math.isfinite(loss.item()) else torch.full_like(loss, math.nan)
        loss = loss.detach()
        return (loss - loss).add_(1)  # an infinity less itself is NaN; asking isfinite takes twice as many kernels

    def __call__(
        self, found_inf: Tensor | bool, losses: Sequence[Tensor], micro_batches: Sequence[tuple[StepContext, Batch]]
    ) -> None:
        """Look at a step, or have it looked at later.

        Args:
            found_inf: 0 if the whole gradient is finite, else another number; on a GPU a float32 tensor.
            losses: of the micro-batches, for the message.
            micro_batches: of this process.

        Raises:
            NonFiniteError: on a CPU.
        """
        if self.waits and not found_inf:
            return
        contexts = [context for context, _ in micro_batches]
        if self.waits:
            values = [float(loss) for loss in losses]
            batches = [batch for _, batch in micro_batches]
            raise NonFiniteError(_tell(contexts, values), contexts, batches, values)
        assert isinstance(found_inf, Tensor)
        self._contexts.append(contexts)
        self._flags[contexts[0].step % AHEAD].copy_(found_inf, non_blocking=True)

    def found(self) -> bool:
        """Tell whether such a step is among those that the host knows of by now."""
        return not self.waits and bool(self._flags.any())

    def look(self) -> None:
        """Raise NonFiniteError for the first such step; to be asked when the device has done all that it was given."""
        for contexts in self._contexts if self.found() else ():
            if self._flags[contexts[0].step % AHEAD]:
                raise NonFiniteError(_tell(contexts, []), contexts)


def _tell(contexts: Sequence[StepContext], losses: Sequence[float]) -> str:
    where = f"epoch {contexts[0].epoch + 1}, step {contexts[0].step + 1}"
    bad = [(context, loss) for context, loss in zip(contexts, losses, strict=False) if not math.isfinite(loss)]
    if bad:
        return f"the loss is {bad[0][1]} in {where}, shard {bad[0][0].shard}; the weights were not updated"
    if not losses:
        return f"the gradient is not finite in {where}; nothing was saved after it"
    own = ", ".join(f"{loss:.4g}" for loss in losses)
    return f"the gradient is not finite in {where}, though this process's loss is ({own}); the weights were not updated"


def write_key(error: NonFiniteError, indices: Sequence[Tensor], folder: Path, world: World) -> Path:
    """Write down which images this process computed on in the step that failed, and return the file.

    Every process writes a file of its own, for none knows whose gradient it was. ``openmix replay`` reads it.

    Args:
        error: with contexts.
        indices: of the images of each micro-batch, by the loader's plan; none where it has no plan.
        folder: made where it is missing.
        world: this process among all.

    Raises:
        OSError, WriteError: it cannot be written.
    """
    first = error.contexts[0]
    micro_batches: list[dict[str, Any]] = [{"shard": context.shard} for context in error.contexts]
    for entry, index in zip(micro_batches, indices, strict=False):
        entry["index"] = index.tolist()
    for entry, batch, loss in zip(micro_batches, error.batches, error.losses, strict=False):
        entry["loss"] = loss if math.isfinite(loss) else str(loss)
        entry |= {"index": batch.index.tolist(), "sha256": digest(batch)}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{first.step + 1}_rank_{world.rank}.json"
    key = {
        "schema": 1, "seed": first.seed, "epoch": first.epoch + 1, "step": first.step + 1, "progress": first.progress,
        "rank": world.rank, "world_size": world.size, "micro_batches": micro_batches,
    }  # fmt: skip
    write_json(path, key)
    return path


def digest(batch: Batch) -> str:
    """Return the SHA-256 of a batch's views and labels."""
    found = hashlib.sha256()
    for tensor in (*batch.views, batch.labels):
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
