"""Mixing inside any network: a hook on each stage that is empty until a step arms it.

The hooks are installed once, before the network is compiled: torch does not look for hooks added later, and training
would go on unmixed without a word.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from openmix.ops.plans import Plan

__all__ = ["MixPoints"]


class MixPoints:
    """A slot at the output of each named stage of a network; state-dict keys do not change.

    Args:
        network: any module.
        stages: names of its sub-modules whose output is one tensor (B, C, h, w).

    Raises:
        ValueError: the network has no such stage.

    >>> import torch
    >>> from openmix.ops.plans import BlendPlan
    >>> net = nn.Sequential(nn.Identity())
    >>> points = MixPoints(net, ["0"])
    >>> swap = BlendPlan(torch.tensor([1, 0]), torch.zeros(2, 1, 1, 1))
    >>> with points.armed("0", swap):
    ...     net(torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)).flatten()
    tensor([2., 1.])
    """

    def __init__(self, network: nn.Module, stages: Sequence[str]) -> None:
        self.stages = tuple(stages)
        self._slots: dict[str, Plan | None] = dict.fromkeys(self.stages)
        modules = dict(network.named_modules())
        for stage in self.stages:
            if stage not in modules:
                known = ", ".join(name for name in modules if name)
                raise ValueError(f"{type(network).__name__} has no stage {stage!r}; it has: {known}")
            modules[stage].register_forward_hook(self._hook_of(stage))

    def _hook_of(self, stage: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            plan = self._slots[stage]
            return output if plan is None else plan.apply(output)

        return hook

    @contextmanager
    def armed(self, stage: str | None, plan: Plan) -> Iterator[None]:
        """Mix at ``stage`` by ``plan`` for as long as the context lasts; None arms nothing."""
        if stage is None:
            yield
            return
        self._slots[stage] = plan
        try:
            yield
        finally:
            self._slots[stage] = None
