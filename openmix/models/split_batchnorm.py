"""BatchNorm over parts of a batch, as if each part were on a GPU of its own."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from openmix.errors import UserError
from openmix.ops.checks import check_integer
from openmix.ops.planes import is_channels_last

__all__ = ["SplitBatchNorm", "SplitBatchNormAct", "split_batchnorm"]


class SplitBatchNorm(_BatchNorm):
    """BatchNorm that in training normalises each of several equal parts of the batch by that part's own statistics.

    Image i is in part ``i % splits``, as in MoCo's CIFAR demo: what a batch lies in memory as needs no copy for it.
    The running statistics move towards the mean of the parts' means, and the mean of their unbiased variances. Names
    and shapes in checkpoints are BatchNorm's; evaluation is BatchNorm's.

    :func:`split_batchnorm` makes one of a BatchNorm.

    Raises:
        ValueError: in training, a batch that is no multiple of ``splits``; a part with one value a channel.

    Attributes:
        splits: how many parts.
    """

    splits: int

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected (N, C, ...), got {input.ndim} dimensions")

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input`` (N, C, ...), normalised."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        count, channels, splits = len(input), input.shape[1], self.splits
        if count % splits:
            raise UserError(
                f"a batch of {count} images cannot be divided into splits={splits} equal parts for BatchNorm: let the "
                f"batch size of a process be a multiple of {splits}"
            )
        running = self._repeated(self.running_mean), self._repeated(self.running_var)
        parts = F.batch_norm(
            input.reshape(count // splits, splits * channels, *input.shape[2:]),
            *running,
            self._repeated(self.weight),
            self._repeated(self.bias),
            training=True,
            momentum=self._share(),
            eps=self.eps,
        )
        self._keep(*running)
        output = parts.reshape(input.shape)
        return output.contiguous(memory_format=torch.channels_last) if _is_channels_last(input) else output

    def _repeated(self, values: Tensor | None) -> Tensor | None:
        """Return what each channel has for every part's channels."""
        return None if values is None else values.repeat(self.splits)

    def _share(self) -> float:
        """Count the batch, and return the share that it has in the running statistics."""
        if not self.track_running_stats:
            return 0.0
        tracked = cast("Tensor", self.num_batches_tracked)
        tracked.add_(1)
        return 1 / float(tracked) if self.momentum is None else self.momentum

    @torch.no_grad()
    def _keep(self, mean: Tensor | None, variance: Tensor | None) -> None:
        for own, parts in ((self.running_mean, mean), (self.running_var, variance)):
            if own is not None and parts is not None:
                own.copy_(parts.view(self.splits, -1).mean(0))


class SplitBatchNormAct(SplitBatchNorm):
    """timm's ``BatchNormAct2d``, which has dropout and an activation behind the norm, over parts of a batch."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input`` (N, C, H, W), normalised and activated."""
        return self.act(self.drop(super().forward(input)))


def split_batchnorm(module: nn.Module, splits: int) -> int:
    """Let every BatchNorm in a module normalise parts of the batch, in place, and return how many there are.

    A norm stays the object that it is and gets another class: its names in checkpoints, its parameters in an optimizer
    and the hooks on it stay. One part is BatchNorm as it is: nothing is changed.

    Raises:
        ValueError: splits below 1; a kind of BatchNorm of which it is not known how it would be done.
    """
    check_integer("splits", splits, 1)
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    if splits > 1:
        for norm, kind in [(norm, _kind_of(norm)) for norm in norms]:  # all are known before the first is changed
            norm.__class__ = cast("Any", kind)
            cast("SplitBatchNorm", norm).splits = splits
    return len(norms)


def _kind_of(norm: nn.Module) -> type[SplitBatchNorm]:
    if type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
        return SplitBatchNorm
    from timm.layers.norm_act import BatchNormAct2d  # which takes two seconds, where nothing of it is in use

    if type(norm) is BatchNormAct2d:
        return SplitBatchNormAct
    raise ValueError(f"it is not known how to divide a batch for a {type(norm).__name__}")


def _is_channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and is_channels_last(x)
