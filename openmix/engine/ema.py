"""An exponential moving average of the weights, which validation and testing then use."""

from collections.abc import Callable
from typing import Any

from mmengine.hooks import Hook
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from openmix.engine.sharding import local
from openmix.registry import HOOKS

__all__ = ["EMAHook"]


@HOOKS.register_module()
class EMAHook(Hook):
    """After every step: ``ema = (1 - momentum) * ema + momentum * weights``, BatchNorm's statistics included.

    The average begins as the weights after the first step.

    Args:
        momentum: the share of the new weights, in (0, 1). Default 0.0002, mmengine's, for long runs; short ones want
            more: about one over the number of steps that the average should span.

    Raises:
        ValueError: momentum out of range.
    """

    def __init__(self, momentum: float = 0.0002) -> None:
        if not 0 < momentum < 1:
            raise ValueError(f"momentum must be in (0, 1), got {momentum}")
        self.momentum = momentum

    def before_run(self, runner: Any) -> None:
        """Make room for the average; a resumed run loads its own after this."""
        average = _of_parts(get_ema_multi_avg_fn(1 - self.momentum))
        runner.ema = AveragedModel(runner.wrapped.to_average(), multi_avg_fn=average, use_buffers=True)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Move the average on."""
        runner.ema.update_parameters(runner.task)


def _of_parts(average: Callable[..., None]) -> Callable[..., None]:
    """Return a way to average tensors that is applied to this process's parts of them."""

    def of_parts(averages: list[Tensor], news: list[Tensor], count: Any) -> None:
        average([local(tensor) for tensor in averages], [local(tensor) for tensor in news], count)

    return of_parts
