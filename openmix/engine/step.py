"""One optimizer step: forward and backward of its micro-batches, finite check, clip, update."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from openmix.data.batch import Batch
from openmix.engine.settings import OptimWrapper
from openmix.errors import Reported, UserError
from openmix.tasks.context import StepContext

__all__ = ["NonFiniteError", "TrainStep"]

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class NonFiniteError(Reported, RuntimeError):
    """The loss or the weights are NaN or infinite: the run has diverged."""


class TrainStep:
    """Computes optimizer steps.

    Args:
        model: the task, or DistributedDataParallel around it.
        optimizer: over its parameters.
        settings: accumulation, clipping and precision.
        device: where everything lives.

    Raises:
        UserError: fp16 on a CPU, whose kernels are slower in it than in float32.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, settings: OptimWrapper, device: torch.device) -> None:
        if settings.amp == "fp16" and device.type == "cpu":
            raise UserError("fp16 needs a GPU; on a CPU use --amp bf16, or leave --amp out")
        self.model = model
        self.optimizer = optimizer
        self.settings = settings
        self.device = device
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.amp == "fp16")
        self.names: tuple[str, ...] = ()

    def __call__(self, micro_batches: Sequence[tuple[StepContext, Batch]]) -> Tensor:
        """Do one step and return the mean of what the task reports, in the order of :attr:`names`, on the device.

        Raises:
            NonFiniteError: on a CPU at once; on a GPU the device stops at an assertion, as nothing waits for it.
        """
        reports = []
        for i, (context, batch) in enumerate(micro_batches):
            _seed_global(context.model_seed(), self.device)  # dropout and the like draw from torch's own generators
            with self._sync(last=i + 1 == len(micro_batches)):
                with self._autocast():
                    outputs = self.model(batch, context)
                self._check_finite(outputs["loss"], context)
                self.scaler.scale(outputs["loss"] / len(micro_batches)).backward()
            self.names = tuple(outputs)
            reports.append(torch.stack([value.detach().float() for value in outputs.values()]))
        self._update()
        return reports[0] if len(reports) == 1 else torch.stack(reports).mean(0)

    def _update(self) -> None:
        if self.settings.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, **self.settings.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _check_finite(self, loss: Tensor, context: StepContext) -> None:
        if self.scaler.is_enabled():  # an overflow is the scaler's daily business: it skips the step
            return
        if self.device.type == "cpu":
            if not torch.isfinite(loss):
                where = f"epoch {context.epoch + 1}, step {context.step + 1}, shard {context.shard}"
                raise NonFiniteError(f"the loss is {loss.item()} in {where}; the weights were not updated")
        else:
            torch._assert_async(torch.isfinite(loss))

    def _autocast(self) -> Any:
        dtype = DTYPES.get(self.settings.amp or "")
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype)

    def _sync(self, last: bool) -> Any:
        """Let the processes' gradients be summed once a step, with the last micro-batch."""
        waits = isinstance(self.model, DistributedDataParallel) and not last
        return self.model.no_sync() if waits else nullcontext()  # type: ignore[operator]


def _seed_global(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of this device.

    ``torch.manual_seed`` would do so for every kind of device, at 0.3 ms a call where CUDA is not initialised.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
