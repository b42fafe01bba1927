"""An exponential moving average of the weights, which validation and testing then use."""

from typing import Any

from mmengine.hooks import Hook
from torch import nn
from torch.optim.swa_utils import AveragedModel

from openmix.engine.sharding import local
from openmix.models.averages import move
from openmix.registry import HOOKS

__all__ = ["EMAHook"]

Place = tuple[dict[str, Any], str]  # a module's table of tensors, and the name in it


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
        self._places: tuple[list[Place], list[Place]] = [], []

    def before_run(self, runner: Any) -> None:
        """Make room for the average; a resumed run loads its own after this."""
        runner.ema = AveragedModel(runner.wrapped.to_average(), use_buffers=True)
        self._places = _places(runner.ema.module), _places(runner.task)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Move the average on."""
        self.move(runner.ema)

    def move(self, average: AveragedModel) -> None:
        """Take a step."""
        averages, news = ([local(table[name]) for table, name in places] for places in self._places)
        move(averages, news, self.momentum if average.n_averaged else 1.0)
        average.n_averaged += 1


def _places(network: nn.Module) -> list[Place]:
    """Return where a network's tensors are found, each once; a module may put another tensor into a buffer's place.

    To look for them at every step would take longer than to average them.
    """
    tables = [table for m in network.modules() for table in (m._parameters, m._buffers)]
    found = {id(tensor): (table, name) for table in tables for name, tensor in table.items() if tensor is not None}
    return list(found.values())
