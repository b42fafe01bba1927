"""Optimizer and learning-rate schedule from a config."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from openmix.errors import UserError
from openmix.registry import OPTIMIZERS, PARAM_SCHEDULERS, build, lookup
from openmix.tasks.base import Task

__all__ = ["Schedule", "build_optimizer"]

# the argument by which torch's schedulers are told their length; left out, it is what the schedule spans
LENGTHS = ("T_max", "total_iters", "total_steps")


def build_optimizer(cfg: Mapping[str, Any], task: Task) -> Optimizer:
    """Build an optimizer over the task's parameter groups."""
    return build(cfg, OPTIMIZERS, params=list(task.parameter_groups()))


class Schedule:
    """A list of torch's schedulers, each over a span of epochs or steps of its own, applied one on the other.

    Args:
        cfg: one dict or several, of torch's arguments and three more: ``by_epoch`` (default True) tells whether the
            scheduler moves on once an epoch or once a step, ``begin`` (default 0) and ``end`` (default: the run's) in
            which epochs or steps. A length that torch asks for (T_max, total_iters, total_steps) may be left out.
        optimizer: whose learning rate they set.
        max_epochs: of the run.
        max_iters: of the run.
    """

    def __init__(
        self, cfg: Mapping[str, Any] | Sequence[Any] | None, optimizer: Optimizer, max_epochs: int, max_iters: int
    ) -> None:
        self.optimizer = optimizer
        self.spans: list[_Span] = []
        for item in [] if cfg is None else [cfg] if isinstance(cfg, Mapping) else cfg:
            arguments = dict(item)
            by_epoch = arguments.pop("by_epoch", True)
            begin, end = arguments.pop("begin", 0), arguments.pop("end", None)
            end = end if end is not None else (max_epochs if by_epoch else max_iters)
            if not 0 <= begin < end:
                raise UserError(f"param_scheduler {arguments.get('type')}: begin {begin} must lie before end {end}")
            self.spans.append(_Span(arguments, by_epoch, begin, end))
        self.start(epoch=0, step=0)

    def start(self, epoch: int, step: int) -> None:
        """Build the schedulers whose span has begun: building one may already change the learning rate."""
        for span in self.spans:
            if span.scheduler is None and (epoch if span.by_epoch else step) >= span.begin:
                span.scheduler = span.build(self.optimizer)

    def after_step(self, step: int) -> None:
        """Move on those that count steps, ``step`` of which are done."""
        self._advance(False, step)

    def after_epoch(self, epoch: int) -> None:
        """Move on those that count epochs, ``epoch`` of which are done."""
        self._advance(True, epoch)

    def _advance(self, by_epoch: bool, done: int) -> None:
        for span in self.spans:
            if span.by_epoch == by_epoch:
                if span.scheduler is not None and span.begin < done <= span.end:
                    span.scheduler.step()
                elif span.scheduler is None and done >= span.begin:
                    span.scheduler = span.build(self.optimizer)

    def state_dict(self) -> list[dict[str, Any] | None]:
        """Return the schedulers' states, None for those that have not begun."""
        return [s.scheduler and s.scheduler.state_dict() for s in self.spans]

    def load_state_dict(self, states: Sequence[dict[str, Any] | None]) -> None:
        """Restore; the optimizer's state, with the learning rates, is to be loaded after it."""
        if len(states) != len(self.spans):
            raise UserError(f"the checkpoint has {len(states)} schedulers, the config {len(self.spans)}")
        for span, state in zip(self.spans, states, strict=True):
            if state is not None:
                span.scheduler = span.scheduler or span.build(self.optimizer)
                span.scheduler.load_state_dict(state)


class _Span:
    def __init__(self, arguments: Mapping[str, Any], by_epoch: bool, begin: int, end: int) -> None:
        self.arguments, self.by_epoch, self.begin, self.end = arguments, by_epoch, begin, end
        self.scheduler: LRScheduler | None = None

    def build(self, optimizer: Optimizer) -> LRScheduler:
        parameters = inspect.signature(lookup(self.arguments.get("type"), PARAM_SCHEDULERS)).parameters
        lengths = {name: self.end - self.begin for name in LENGTHS if name in parameters}
        return build({**lengths, **self.arguments}, PARAM_SCHEDULERS, optimizer=optimizer)
