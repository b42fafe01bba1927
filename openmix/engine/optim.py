"""Optimizer and learning-rate schedule from a config."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from openmix.data.timeline import Timeline
from openmix.engine import schedulers  # noqa: F401  registers its schedulers
from openmix.engine.param_groups import apply_multipliers, split_groups
from openmix.engine.settings import OptimWrapper, ParamwiseCfg
from openmix.errors import UserError
from openmix.registry import OPTIMIZERS, PARAM_SCHEDULERS, build, lookup
from openmix.tasks.base import Task

__all__ = ["Schedule", "build_optimizer", "load_optimizer_state"]

# the argument by which torch's schedulers are told their length; left out, it is what the schedule spans
LENGTHS = ("T_max", "total_iters", "total_steps")
# the arguments that name places in the run, which convert_to_iter_based turns from epochs to steps
PLACES = {"milestones": lambda at, line: [line.start_of(epoch) for epoch in at],
          "knots": lambda at, line: [(line.start_of(epoch), rate) for epoch, rate in at]}  # fmt: skip
# and those that it cannot turn
IN_EPOCHS = (*LENGTHS, "step_size", "T_0", "epochs", "steps_per_epoch")


def build_optimizer(cfg: OptimWrapper, task: Task) -> Optimizer:
    """Build the optimizer over the task's parameter groups, divided where the config tells parameters apart."""
    groups = list(task.parameter_groups())
    if cfg.paramwise_cfg is not None:
        groups = split_groups(groups, task, ParamwiseCfg(**cfg.paramwise_cfg))
    optimizer = build(cfg.optimizer, OPTIMIZERS, params=groups)
    apply_multipliers(optimizer)
    return optimizer


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Restore what an optimizer has gathered, such as momentum, and leave it the hyper-parameters that it has now.

    Args:
        optimizer: built from this run's config, its learning rates set by the schedule.
        state: another's ``state_dict()``.

    Raises:
        UserError: it is of another kind of optimizer or of other parameters.
    """
    saved = state["param_groups"]
    sizes = [[len(group["params"]) for group in groups] for groups in (saved, optimizer.param_groups)]
    if sizes[0] != sizes[1] or any(optimizer.defaults.keys() - group.keys() for group in saved):
        name = type(optimizer).__name__
        raise UserError(f"the checkpoint holds the state of another optimizer than this config's {name}")
    # some optimizers count their steps in the groups, beside the hyper-parameters
    groups = [
        {**before, **now, "params": before["params"]} for before, now in zip(saved, optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
    for parameter, gathered in optimizer.state.items():
        for name, value in gathered.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                raise UserError(f"the checkpoint's {name} is {tuple(value.shape)}, its weight {tuple(parameter.shape)}")


class Schedule:
    """A list of torch's schedulers, each over a span of epochs or steps of its own, applied one on the other.

    The learning rate is a function of the config and of the place in the run: nothing of it is saved, and a resumed run
    may be a longer one.

    Args:
        cfg: one dict or several, of torch's arguments and four more: ``by_epoch`` (default True) tells whether the
            scheduler moves on once an epoch or once a step, ``begin`` (default 0) and ``end`` (default: the run's) in
            which epochs or steps. With ``convert_to_iter_based`` (default False) these are epochs, and ``milestones``
            and ``knots`` as well, but the scheduler moves on once a step. A length that torch asks for (T_max,
            total_iters, total_steps) may be left out.
        optimizer: whose learning rate they set.
        timeline: how long epochs are.
        max_epochs: of the run.
        max_iters: of the run.

    Raises:
        UserError: a span that is empty, or arguments that do not go together.
    """

    def __init__(
        self,
        cfg: Mapping[str, Any] | Sequence[Any] | None,
        optimizer: Optimizer,
        timeline: Timeline,
        max_epochs: int,
        max_iters: int,
    ) -> None:
        self.optimizer, self.timeline = optimizer, timeline
        self.spans: list[_Span] = []
        for item in [] if cfg is None else [cfg] if isinstance(cfg, Mapping) else cfg:
            arguments = dict(item)
            if arguments.pop("convert_to_iter_based", False):
                arguments = _in_steps(arguments, timeline)
            by_epoch = arguments.pop("by_epoch", True)
            begin, end = arguments.pop("begin", 0), arguments.pop("end", None)
            if end is None:  # a run may be over before a late one begins
                end = max(max_epochs if by_epoch else max_iters, begin + 1)
            if not 0 <= begin < end:
                raise UserError(f"param_scheduler {arguments.get('type')}: begin {begin} must lie before end {end}")
            self.spans.append(_Span(arguments, by_epoch, begin, end))
        for span in self.spans:
            if span.begin == 0:
                span.scheduler = span.build(optimizer)

    def after_step(self, step: int) -> None:
        """Move on those that count steps, ``step`` of which are done."""
        self._advance(False, step)

    def after_epoch(self, epoch: int) -> None:
        """Move on those that count epochs, ``epoch`` of which are done."""
        self._advance(True, epoch)

    def fast_forward(self, steps: int) -> None:
        """Bring a new schedule to where it is after ``steps`` steps."""
        epoch, epoch_end = 0, self.timeline.start_of(1)
        with warnings.catch_warnings():
            # torch wonders that the optimizer has not stepped; it did, in the run that is being resumed
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            for step in range(1, steps + 1):
                self.after_step(step)
                if step == epoch_end:
                    epoch, epoch_end = epoch + 1, self.timeline.start_of(epoch + 2)
                    self.after_epoch(epoch)

    def _advance(self, by_epoch: bool, done: int) -> None:
        for span in self.spans:
            if span.by_epoch == by_epoch:
                if span.scheduler is not None and span.begin < done <= span.end:
                    span.scheduler.step()
                elif span.scheduler is None and done == span.begin:
                    span.scheduler = span.build(self.optimizer)  # which may already change the learning rate


def _in_steps(arguments: Mapping[str, Any], timeline: Timeline) -> dict[str, Any]:
    """Return a schedule by steps for one whose places are told in epochs."""
    kind = arguments.get("type")
    if not arguments.get("by_epoch", True):
        raise UserError(f"param_scheduler {kind}: convert_to_iter_based is for what is told in epochs, by_epoch=True")
    for name in IN_EPOCHS:
        if name in arguments:
            raise UserError(f"param_scheduler {kind}: leave {name} out beside convert_to_iter_based; end says it")
    converted = {name: turn(arguments[name], timeline) for name, turn in PLACES.items() if name in arguments}
    span = {n: timeline.start_of(arguments[n]) for n in ("begin", "end") if arguments.get(n) is not None}
    return {**arguments, **converted, **span, "by_epoch": False}


class _Span:
    def __init__(self, arguments: Mapping[str, Any], by_epoch: bool, begin: int, end: int) -> None:
        self.arguments, self.by_epoch, self.begin, self.end = arguments, by_epoch, begin, end
        self.scheduler: LRScheduler | None = None

    def build(self, optimizer: Optimizer) -> LRScheduler:
        parameters = inspect.signature(lookup(self.arguments.get("type"), PARAM_SCHEDULERS)).parameters
        lengths = {name: self.end - self.begin for name in LENGTHS if name in parameters}
        return build({**lengths, **self.arguments}, PARAM_SCHEDULERS, optimizer=optimizer)
