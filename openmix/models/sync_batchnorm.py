"""BatchNorm over the images of all processes."""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["SyncBatchNorm", "SyncBatchNormAct", "synchronize_batchnorm"]


class SyncBatchNorm(_BatchNorm):
    """BatchNorm whose mean and variance in training are those of all processes' images, on CPUs.

    torch's own, :class:`torch.nn.SyncBatchNorm`, is for GPUs alone; this one computes the same. Processes count by how
    many values a channel they have, which may be none. Gradients of weight and bias are each process's own, as
    everywhere under DistributedDataParallel. Arguments are ``torch.nn.BatchNorm2d``'s; without a process group it is
    BatchNorm. All processes must call it equally often.

    Raises:
        ValueError: in training, if all processes together have one value a channel, or none.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected (N, C, ...), got {input.ndim} dimensions")

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input`` (N, C, ...), normalised, in its own dtype."""
        if not (self.training and dist.is_initialized()):
            return super().forward(input)
        self._check_input_dim(input)
        output, mean, variance = _normalise(input, self.weight, self.bias, self.eps)  # type: ignore[call-arg]  as torch types what it decorates
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            tracked = cast("Tensor", self.num_batches_tracked)
            tracked.add_(1)
            share = 1 / float(tracked) if self.momentum is None else self.momentum
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
                self.running_var.lerp_(variance.to(self.running_var.dtype), share)
        return output


class SyncBatchNormAct(SyncBatchNorm):
    """timm's ``BatchNormAct2d``, which has dropout and an activation behind the norm, over all processes' images."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input`` (N, C, H, W), normalised and activated."""
        return self.act(self.drop(super().forward(input)))


def synchronize_batchnorm(module: nn.Module, device: torch.device) -> int:
    """Let every BatchNorm in a module look at all processes' images, in place, and return how many there are.

    A norm stays the object that it is and gets another class: its names in checkpoints, its parameters in an optimizer
    and the hooks on it stay. On GPUs the class is torch's, or timm's of it; elsewhere it is :class:`SyncBatchNorm`.

    Raises:
        ValueError: there is a kind of BatchNorm of which it is not known how it would be done.
    """
    from timm.layers.norm_act import BatchNormAct2d
    from timm.layers.norm_act import SyncBatchNormAct as TimmSyncBatchNormAct

    plain, with_act = (
        (nn.SyncBatchNorm, TimmSyncBatchNormAct) if device.type == "cuda" else (SyncBatchNorm, SyncBatchNormAct)
    )
    kinds: dict[type[nn.Module], type[nn.Module]] = {
        **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), plain),
        BatchNormAct2d: with_act,
    }
    done = (nn.SyncBatchNorm, SyncBatchNorm)
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and not isinstance(m, done)]
    for norm in norms:
        if type(norm) not in kinds:
            raise ValueError(f"it is not known how to synchronise a {type(norm).__name__} over processes")
    for norm in norms:
        norm.__class__ = cast("Any", kinds[type(norm)])
        if device.type == "cuda":
            norm.process_group = None  # type: ignore[assignment]  all processes
    return len(norms)


@torch.compiler.disable
def _normalise(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return normalised values, and the mean and the unbiased variance of all processes' values."""
    return cast("Any", _Normalise.apply(x, weight, bias, eps))


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance, total = _statistics(_precise(x))
        if total < 2:
            raise ValueError(f"BatchNorm needs more than 1 value per channel when training, got {total:g} in all")
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.total = eps, total
        unbiased = variance * (total / (total - 1))
        ctx.mark_non_differentiable(mean, unbiased)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps), mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor, *_: Any
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight, mean, variance = ctx.saved_tensors
        inverse = (variance + ctx.eps).rsqrt()
        scale = inverse if weight is None else inverse * weight.to(inverse.dtype)
        normal = (_precise(x) - _by_channel(mean, x)) * _by_channel(inverse, x)
        wide = _precise(grad)
        dims = _all_but_channels(x)
        of_bias, of_weight = wide.sum(dims), (wide * normal).sum(dims)
        of_x = None
        if ctx.needs_input_grad[0]:
            sums = torch.stack([of_bias, of_weight])
            dist.all_reduce(sums)
            average, along = sums / ctx.total
            of_x = (wide - _by_channel(average, x) - normal * _by_channel(along, x)) * _by_channel(scale, x)
            of_x = of_x.to(x.dtype)
        if weight is None:
            return of_x, None, None, None
        return of_x, of_weight.to(weight.dtype), of_bias.to(weight.dtype), None


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return mean and variance by channel over all processes, and how many values a channel that were.

    Each sends its mean, its sum of squared differences from that, and its count (Chan et al. 1979): sums of squares
    alone would lose what is left of two large numbers.
    """
    dims, channels = _all_but_channels(x), x.shape[1]
    count = x.numel() // max(channels, 1)
    mean = x.sum(dims) / max(count, 1)
    spread = (x - _by_channel(mean, x)).square().sum(dims)
    own = torch.cat([mean, spread, mean.new_tensor([count])]).double()
    rows = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, own)
    means, spreads, counts = torch.stack(rows).split([channels, channels, 1], dim=1)
    total = counts.sum()
    of_all = (counts * means).sum(0) / total
    squares = (spreads + counts * (means - of_all).square()).sum(0)
    return of_all.to(x.dtype), (squares / total).to(x.dtype), total.item()  # on a CPU, where nothing waits


def _precise(x: Tensor) -> Tensor:
    """Return at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


def _by_channel(values: Tensor, x: Tensor) -> Tensor:
    """Return values (C,) in a shape that broadcasts over x (N, C, ...)."""
    return values.view(1, -1, *[1] * (x.ndim - 2))
