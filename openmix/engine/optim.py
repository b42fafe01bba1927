"""Optimizer and learning-rate schedule from a config."""

import copy
import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from openmix.data.timeline import Timeline
from openmix.engine import optimizers, schedulers  # noqa: F401  they register theirs
from openmix.engine.content import is_count, is_plain, spell
from openmix.engine.fused import begin_momentum, fused_where_possible, lying_as
from openmix.engine.param_groups import apply_multipliers, groups_of, split_groups
from openmix.engine.settings import OptimWrapper, ParamwiseCfg
from openmix.engine.sharding import laid_out
from openmix.errors import UserError
from openmix.registry import OPTIMIZERS, PARAM_SCHEDULERS, build, lookup
from openmix.tasks.base import Task

__all__ = ["Schedule", "build_optimizer", "load_optimizer_state"]

# the argument by which torch's schedulers are told their length; left out, it is what the schedule spans
LENGTHS = ("T_max", "total_iters", "total_steps")
# the arguments that name places, counted from a span's beginning, which convert_to_iter_based turns into steps
PLACES: dict[str, Callable[[Any, Callable[[float], int]], list[Any]]] = {
    "milestones": lambda at, step: [step(epoch) for epoch in at],
    "knots": lambda at, step: [(step(epoch), rate) for epoch, rate in at],
}
# rates that a schedule has of its own, for which a group's lr_mult counts as well
RATES = ("max_lr", "base_lr")
# and those that it cannot turn
IN_EPOCHS = (*LENGTHS, "step_size", "T_0", "epochs", "steps_per_epoch")


def build_optimizer(cfg: OptimWrapper, task: Task) -> Optimizer:
    """Build the optimizer over the task's parameter groups, divided where the config tells parameters apart."""
    groups = list(task.parameter_groups())
    if cfg.paramwise_cfg is not None:
        groups = split_groups(groups, task, ParamwiseCfg(**cfg.paramwise_cfg))
    optimizer = build({**fused_where_possible(cfg.optimizer, groups), **cfg.optimizer}, OPTIMIZERS, params=groups)
    apply_multipliers(optimizer)
    begin_momentum(optimizer)
    return optimizer


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Restore what an optimizer has gathered, such as momentum, and leave it the hyper-parameters that it has now.

    Args:
        optimizer: built from this run's config, its learning rates set by the schedule.
        state: another's ``state_dict()``.

    Raises:
        UserError: it is of another kind of optimizer or of other parameters.
    """
    saved, example = state["param_groups"], _example_state(optimizer)
    numbers = [[group["params"] for group in groups] for groups in (saved, example["param_groups"])]
    if numbers[0] != numbers[1] or any(optimizer.defaults.keys() - group.keys() for group in saved):
        name = type(optimizer).__name__
        raise UserError(f"the checkpoint holds the state of another optimizer than this config's {name}")
    # without momentum, SGD says of every parameter that it has gathered nothing
    of_parameters = {k: one for k, one in state["state"].items() if is_count(k)}
    gathered = {k: one for k, one in of_parameters.items() if any(value is not None for value in one.values())}
    for number, one in gathered.items():
        _check_alike(one, example["state"].get(number, {}), f"parameter {number}")
    # some optimizers count their steps in the groups, beside the hyper-parameters
    groups = []
    for number, (before, now) in enumerate(zip(saved, optimizer.param_groups, strict=True)):
        counted = example["param_groups"][number].keys() - now.keys()
        _check_alike(
            {key: value for key, value in before.items() if key in counted},
            {key: example["param_groups"][number][key] for key in counted},
            f"group {number}",
        )
        groups.append({**{key: before[key] for key in counted}, **now, "params": before["params"]})
    own = {
        number: {name: laid_out(_own(value), example["state"].get(number, {}).get(name)) for name, value in one.items()}
        for number, one in gathered.items()
    }
    of_all = {k: one for k, one in state["state"].items() if k not in of_parameters}
    optimizer.load_state_dict({"state": own | of_all, "param_groups": groups})
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            one = optimizer.state.get(parameter, {})
            one.update({name: lying_as(parameter, value) for name, value in one.items()})
    begin_momentum(optimizer)


def _example_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer like this one after a step: what it gathers, and in which shapes."""
    copied = copy.deepcopy(optimizer)
    for group in copied.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    copied.step()
    return copied.state_dict()


def _own(value: Any) -> Any:
    """Return a tensor that can be written to, even if the file lets several of its numbers be one."""
    return value.clone() if isinstance(value, Tensor) and not value.is_contiguous() else value


def _check_alike(found: Mapping[str, Any], example: Mapping[str, Any], where: str) -> None:
    """Raise UserError unless what a checkpoint holds can take the place of what an optimizer would have gathered."""
    for name, value in {**dict.fromkeys(example), **found}.items():
        like = example.get(name, value)
        plain = is_plain(value) and not value.is_complex() and bool(value.isfinite().all())
        number = (plain and not value.ndim) or (type(value) in (int, float) and math.isfinite(value))
        if isinstance(like, Tensor) and like.ndim:
            fits = plain and value.shape == like.shape
        elif isinstance(like, Tensor) or type(like) in (int, float):
            fits = number and (name != "step" or value >= 0)
        else:
            fits = type(value) is type(like)
        if not fits:
            raise UserError(f"the checkpoint's {spell(name)} of {where} is {_form(value)}, expected {_form(like)}")


def _form(value: Any) -> str:
    """Say what a value is like."""
    if not isinstance(value, Tensor) or not value.ndim:
        return spell(value)
    return f"{tuple(value.shape)} {value.dtype}".removeprefix("torch.")


class Schedule:
    """A list of torch's schedulers, each over a span of epochs or steps of its own, applied one on the other.

    The learning rate is a function of the config and of the place in the run: nothing of it is saved, and a resumed run
    may be a longer one.

    Args:
        cfg: one dict or several, of torch's arguments and five more: ``by_epoch`` (default True) tells whether the
            scheduler moves on once an epoch or once a step, ``begin`` (default 0) and ``end`` (default: the run's) in
            which epochs or steps; places such as ``milestones`` and ``knots`` count from ``begin``. With
            ``convert_to_iter_based`` (default False) all these are epochs, but the scheduler moves on once a step.
            ``group`` (default None: all) names the task's parameter groups that it moves, and it leaves the others
            alone. A length that torch asks for (T_max, total_iters, total_steps) may be left out.
        optimizer: whose learning rate they set.
        timeline: how long epochs are.
        max_epochs: of the run.
        max_iters: of the run.

    Raises:
        UserError: a span that is empty, a group that there is not, or arguments that do not go together.
    """

    def __init__(
        self,
        cfg: Mapping[str, Any] | Sequence[Any] | None,
        optimizer: Optimizer,
        timeline: Timeline,
        max_epochs: int,
        max_iters: int,
    ) -> None:
        self.timeline = timeline
        self.spans: list[_Span] = []
        for item in [] if cfg is None else [cfg] if isinstance(cfg, Mapping) else cfg:
            arguments = dict(item)
            groups = groups_of(optimizer, arguments.pop("group", None))
            if arguments.pop("convert_to_iter_based", False):
                arguments = _in_steps(arguments, timeline)
            by_epoch = arguments.pop("by_epoch", True)
            begin, end = arguments.pop("begin", 0), arguments.pop("end", None)
            if end is None:  # a run may be over before a late one begins
                end = max(max_epochs if by_epoch else max_iters, begin + 1)
            if not 0 <= begin < end:
                raise UserError(f"param_scheduler {arguments.get('type')}: begin {begin} must lie before end {end}")
            self.spans.append(_Span(groups, arguments, by_epoch, begin, end))
        for span in self.spans:
            if span.begin == 0:
                span.scheduler = span.build()

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
                    span.scheduler = span.build()  # which may already change the learning rate


def _in_steps(arguments: Mapping[str, Any], timeline: Timeline) -> dict[str, Any]:
    """Return a schedule by steps for one whose places are told in epochs."""
    kind = arguments.get("type")
    if not arguments.get("by_epoch", True):
        raise UserError(f"param_scheduler {kind}: convert_to_iter_based is for what is told in epochs, by_epoch=True")
    for name in IN_EPOCHS:
        if name in arguments:
            raise UserError(f"param_scheduler {kind}: leave {name} out beside convert_to_iter_based; end says it")
    begin = arguments.get("begin", 0)

    def step(epoch: float) -> int:
        return timeline.start_of(begin + epoch) - timeline.start_of(begin)

    try:
        converted = {name: turn(arguments[name], step) for name, turn in PLACES.items() if name in arguments}
        span = {n: timeline.start_of(arguments[n]) for n in ("begin", "end") if arguments.get(n) is not None}
    except (TypeError, ValueError) as error:
        raise UserError(f"param_scheduler {kind}: places must be numbers of epochs: {error}") from error
    return {**arguments, **converted, **span, "by_epoch": False}


class _Span:
    def __init__(
        self, optimizer: Optimizer, arguments: Mapping[str, Any], by_epoch: bool, begin: int, end: int
    ) -> None:
        self.optimizer, self.arguments = optimizer, arguments
        self.by_epoch, self.begin, self.end = by_epoch, begin, end
        self.scheduler: LRScheduler | None = None

    def build(self) -> LRScheduler:
        kind, length = self.arguments.get("type"), self.end - self.begin
        parameters = inspect.signature(lookup(kind, PARAM_SCHEDULERS)).parameters
        lengths = {name: length for name in LENGTHS if name in parameters}
        if "total_steps" in lengths:  # which torch refuses to exceed
            if "epochs" in self.arguments or "steps_per_epoch" in self.arguments:
                raise UserError(f"param_scheduler {kind}: leave epochs and steps_per_epoch out; begin and end say them")
            if self.arguments.get("total_steps", length) < length:
                raise UserError(f"param_scheduler {kind}: total_steps must be at least {length}, what it spans")
        own = {name: self.arguments[name] for name in RATES if isinstance(self.arguments.get(name), int | float)}
        rates = {
            name: [rate * g.get("lr_mult", 1.0) for g in self.optimizer.param_groups] for name, rate in own.items()
        }
        return build({**lengths, **self.arguments, **rates}, PARAM_SCHEDULERS, optimizer=self.optimizer)
