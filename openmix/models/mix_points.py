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

    A deep copy of a module that owns both the network and its mix points mixes by its own slots.

    Args:
        network: any module.
        stages: names of its sub-modules whose output is one tensor: feature maps (B, C, h, w), or a transformer's
            tokens (B, N, C), which are mixed as maps of N places.
        channels_last: whether their maps are (B, h, w, C), as those of Swin in timm.

    Raises:
        ValueError: the network has no such stage, or one is named twice.

    >>> import torch
    >>> from openmix.ops.plans import BlendPlan
    >>> net = nn.Sequential(nn.Identity())
    >>> points = MixPoints(net, ["0"])
    >>> swap = BlendPlan(torch.tensor([1, 0]), torch.zeros(2, 1, 1, 1))
    >>> with points.armed("0", swap):
    ...     net(torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)).flatten()
    tensor([2., 1.])
    """

    def __init__(self, network: nn.Module, stages: Sequence[str], channels_last: bool = False) -> None:
        self.stages = tuple(stages)
        modules = dict(network.named_modules())
        for stage in self.stages:
            if stage not in modules:
                known = ", ".join(name for name in modules if name)
                raise ValueError(f"{type(network).__name__} has no stage {stage!r}; it has: {known}")
        self._points = {stage: _MixPoint(channels_last) for stage in self.stages}
        if len(self._points) < len(self.stages):
            raise ValueError(f"a stage is named twice, and would be mixed twice: {list(self.stages)}")
        for stage, point in self._points.items():
            modules[stage].register_forward_hook(point)

    @contextmanager
    def armed(self, stage: str | None, plan: Plan) -> Iterator[None]:
        """Mix at ``stage`` by ``plan`` for as long as the context lasts; None arms nothing.

        Raises:
            ValueError: no mix point was installed there, or it is armed already.
            RuntimeError: the stage was never run, so that features went on unmixed while labels did not. Some networks
                run a stage's blocks by themselves when they save activations (timm's ``set_grad_checkpointing``).
        """
        if stage is None:
            yield
            return
        if stage not in self._points:
            raise ValueError(f"no mix point at {stage!r}; there are: {', '.join(self.stages)}")
        point = self._points[stage]
        if point.plan is not None:
            raise ValueError(f"the mix point at {stage!r} is armed already")
        point.plan, point.has_mixed = plan, False
        try:
            yield
        finally:
            point.plan = None
        if not point.has_mixed:
            raise RuntimeError(f"nothing was mixed at {stage!r}: the network did not run this module")


class _MixPoint:
    """A forward hook that mixes a stage's output while a plan lies in it.

    It is an object, not a closure, so that a copied or pickled network takes its own slots along.
    """

    def __init__(self, channels_last: bool) -> None:
        self.channels_last = channels_last
        self.plan: Plan | None = None
        self.has_mixed = False

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        if self.plan is None:
            return output
        if not isinstance(output, Tensor):
            kind = type(output).__name__
            raise TypeError(f"a stage's output must be one tensor; that of {type(module).__name__} is a {kind}")
        self.has_mixed = True
        if output.ndim == 3:  # tokens (B, N, C): N places, as a map (B, C, N, 1)
            return self.plan.apply(output.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
        if self.channels_last:
            return self.plan.apply(output.movedim(-1, 1)).movedim(1, -1)
        return self.plan.apply(output)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "channels_last": self.channels_last,
            "plan": None,
            "has_mixed": False,
        }  # a copy made while armed would mix for ever
