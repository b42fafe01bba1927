"""One optimizer step: forward and backward of its micro-batches, clip, finite check, update."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from openmix.data.batch import Batch
from openmix.engine.distributed import sum_over_ranks
from openmix.engine.nonfinite import FiniteCheck, NonFiniteError
from openmix.engine.settings import OptimWrapper
from openmix.engine.sharding import is_sharded, local, sync_gradients, whole
from openmix.errors import UserError
from openmix.tasks.base import WATCHING
from openmix.tasks.context import StepContext

__all__ = ["NonFiniteError", "TrainStep", "seed_global"]

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
SMALLEST_SCALE = 1e-4  # of the loss in fp16: fairseq's


class TrainStep:
    """Computes optimizer steps.

    Args:
        model: the task, DistributedDataParallel around it, or the task as FSDP2's module.
        optimizer: over its parameters.
        settings: accumulation, clipping and precision.
        device: where everything lives.
        replays: whether a network replays CUDA graphs, as in the compile mode 'reduce-overhead'.

    Raises:
        UserError: fp16 on a CPU, whose kernels are slower in it than in float32.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        settings: OptimWrapper,
        device: torch.device,
        replays: bool = False,
    ) -> None:
        if settings.amp == "fp16" and device.type == "cpu":
            raise UserError("fp16 needs a GPU; on a CPU use --amp bf16, or leave --amp out")
        self.model = model
        self.optimizer = optimizer
        self.settings = settings
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.amp == "fp16")
        self.finite = FiniteCheck(device)
        self.fused = any(group.get("fused") for group in optimizer.param_groups)
        self.found_inf, self.inv_scale = torch.zeros((), device=device), torch.ones((), device=device)
        self.sharded, self.on_gpu = is_sharded(model), device.type == "cuda"
        self.replays = replays and self.on_gpu
        self.names: tuple[str, ...] = ()
        self._gather()

    def _gather(self) -> None:
        """Look at which parameters the optimizer moves; a hook may add a group to them later."""
        groups = self.optimizer.param_groups
        self.groups = len(groups)
        self.parameters = [p for group in groups for p in group["params"]]
        # what only watches a network must not have a say in how far that moves: each is clipped by itself
        parts = ([g for g in groups if (g.get("name") == WATCHING) is watches] for watches in (False, True))
        self.clipped_apart = [[p for group in part for p in group["params"]] for part in parts if part]
        dtypes = dict.fromkeys(p.dtype for p in self.parameters)
        self.by_dtype = [[p for p in self.parameters if p.dtype == dtype] for dtype in dtypes]

    def __call__(self, micro_batches: Sequence[tuple[StepContext, Batch]]) -> Sequence[Tensor]:
        """Do one step and return the mean of what the task reports, in the order of :attr:`names`, on the device.

        Raises:
            NonFiniteError: on a CPU at once; on a GPU :attr:`finite` knows of it later, as nothing waits for that.
        """
        if len(self.optimizer.param_groups) != self.groups:
            self._gather()
        reports, losses = [], []
        for i, (context, batch) in enumerate(micro_batches):
            last = i + 1 == len(micro_batches)
            if self.sharded:
                sync_gradients(self.model, last)
            if not last and isinstance(self.model, DistributedDataParallel):
                with self.model.no_sync():  # gradients are summed over the processes once a step
                    outputs = self._backward(context, batch, i, len(micro_batches))
            else:
                outputs = self._backward(context, batch, i, len(micro_batches))
            self.names = tuple(outputs)
            losses.append(outputs["loss"].detach())
            reports.append([value.detach() for value in outputs.values()])
        found_inf = self._clipped(losses)
        try:
            self.finite(found_inf, losses, micro_batches)
        except NonFiniteError:
            self._drop_gradients()  # who goes on does so without them
            raise
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            if self.fused and not self.finite.waits:  # as a scaler tells them
                self.optimizer.found_inf = found_inf  # type: ignore[attr-defined]
            self.optimizer.step()
        if self.on_gpu:  # where memory is scarce
            self._drop_gradients()
        if len(reports) == 1:
            return reports[0]
        return torch.stack([torch.stack(report).float() for report in reports]).mean(0).unbind()

    def _drop_gradients(self) -> None:
        for parameter in self.parameters:  # as zero_grad does, in a fifth of its time
            parameter.grad = None

    def _backward(self, context: StepContext, batch: Batch, number: int, count: int) -> Mapping[str, Tensor]:
        """Run the task forward and backward on one of ``count`` micro-batches, and return what it reports."""
        seed_global(context.model_seed(), self.device)  # dropout and the like draw from torch's own generators
        if self.replays:
            torch.compiler.cudagraph_mark_step_begin()  # what a recorded network returned last may be written over
        if self.settings.amp is None:
            outputs = self.model(batch, context)
        else:
            with torch.autocast(self.device.type, DTYPES[self.settings.amp]):
                outputs = self.model(batch, context)
        loss = outputs["loss"]
        share = loss if count == 1 else loss / count
        if number == 0 and not self.on_gpu:
            # not before the forward pass: the system would take their memory back, to give it out again page by page
            self._drop_gradients()
        self.scaler.scale(share).backward(self.finite.weight(loss))
        return outputs

    def _clipped(self, losses: Sequence[Tensor]) -> Tensor | bool:
        """Clip the gradient where the config says so, and return 0 if it is finite, else 1."""
        norm = None
        if self.settings.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
            clip = self.settings.clip_grad
            norm = torch.stack([whole(nn.utils.clip_grad_norm_(part, **clip)) for part in self.clipped_apart]).sum()
        if self.scaler.is_enabled():  # a gradient that overflows is its daily business: it skips the step; a loss, not
            norm = sum_over_ranks(torch.stack(list(losses)).sum())  # so that all processes stop at the same step
        return self._gradient() if norm is None else (~norm.isfinite()).float()

    def _gradient(self) -> Tensor | bool:
        """Return 0 if the gradient is finite, else 1, as cheaply as can be."""
        found_inf = self.found_inf if self.finite.waits else torch.zeros_like(self.found_inf)
        for alike in self.by_dtype:
            gradients = [p.grad for p in alike if p.grad is not None]
            if self.sharded:
                gradients = [local(gradient) for gradient in gradients]
            try:  # what loss scaling asks: one call for all of them; it multiplies by 1 besides, which changes nothing
                if gradients:
                    torch._amp_foreach_non_finite_check_and_unscale_(gradients, found_inf, self.inv_scale)
            except RuntimeError:  # of sparse or complex numbers, which it has not
                found_inf.copy_(torch.maximum(found_inf, _found_inf_one_by_one(gradients)))
        if self.sharded:  # where each process knows its part alone
            found_inf = sum_over_ranks(found_inf)
        if not self.finite.waits:
            return found_inf
        found = bool(found_inf)
        if found:
            self.found_inf.zero_()  # for the next step, should there be one
        return found

    def check_scale(self) -> None:
        """Raise NonFiniteError where the loss scale has become so small that no gradient can be finite any more.

        Waits for the device.
        """
        if self.scaler.is_enabled() and self.scaler.get_scale() < SMALLEST_SCALE:
            raise NonFiniteError("the gradient overflows in fp16 at any loss scale; try --amp bf16, or a smaller lr")


def _found_inf_one_by_one(gradients: Sequence[Tensor]) -> Tensor:
    """Return 0 if gradients of whatever kind are finite, else 1."""
    dense = [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in gradients]
    return (~torch.stack([gradient.abs().sum().isfinite() for gradient in dense]).all()).float()


def seed_global(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of this device.

    ``torch.manual_seed`` would do so for every kind of device, at 0.3 ms a call where CUDA is not initialised.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
