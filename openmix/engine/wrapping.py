"""How a task lies on the processes that train it: whole on each, or a part on each."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from openmix.engine.distributed import World
from openmix.engine.sharding import Sharded
from openmix.engine.wrapper_settings import FullyShard, wrapper_of
from openmix.errors import UserError
from openmix.models.split_batchnorm import SplitBatchNorm
from openmix.models.sync_batchnorm import synchronize_batchnorm
from openmix.tasks import MixUpClassification, MoCo, RLMixClassification, Task
from openmix.tasks.learned import LearnedMixing

__all__ = ["Replicated", "check_division", "check_sync_bn", "wrap"]

T = TypeVar("T")


class Replicated:
    """A task that each process has whole; its methods are :class:`~openmix.engine.sharding.Sharded`'s.

    Attributes:
        model: what a step calls.
    """

    def __init__(self, task: Task, model: nn.Module) -> None:
        self._task, self.model = task, model

    def to_average(self) -> nn.Module:
        """Return what an average of the weights begins as a copy of."""
        return self._task

    @contextmanager
    def evaluated(self, module: nn.Module) -> Iterator[nn.Module]:
        """Have the task, or the average of it, to evaluate."""
        yield module

    def saved(self, state: T, is_main: bool) -> T:
        """Return a state as it goes into a checkpoint."""
        return state


def wrap(cfg: Mapping[str, Any], task: Task, world: World) -> Replicated | Sharded:
    """Prepare a task for the processes that train it, as ``model_wrapper_cfg`` and ``sync_bn`` say.

    Raises:
        UserError: the task cannot be trained so.
    """
    check_sync_bn(cfg, task)
    check_division(cfg, task)
    if world.size == 1:
        return Replicated(task, task)
    for option, module in _to_synchronise(cfg, task).items():
        try:
            synchronize_batchnorm(module, world.device)
        except ValueError as error:
            raise UserError(f"{option}: {error}") from error
    wrapper = wrapper_of(cfg)
    if isinstance(wrapper, FullyShard):
        return Sharded(task, world, wrapper)
    # rank 0's buffers are sent to all at every forward pass, so its checkpoint says all there is to say
    model = DistributedDataParallel(
        task,
        bucket_cap_mb=wrapper.bucket_cap_mb,  # type: ignore[arg-type]  torch multiplies it and says int
        find_unused_parameters=wrapper.find_unused_parameters,
        gradient_as_bucket_view=True,
    )
    return Replicated(task, model)


def check_sync_bn(cfg: Mapping[str, Any], task: Task) -> None:
    """Raise UserError if ``sync_bn`` is on and not for this task, on any number of processes."""
    if not cfg.get("sync_bn"):
        return
    if reason := _unequal_passes(task):
        raise UserError(f"sync_bn is not for this task: {reason}; processes would wait for what others do not send")
    split = next((m for m in task.modules() if isinstance(m, SplitBatchNorm)), None)
    if split is not None:
        raise UserError(
            f"sync_bn lets BatchNorm see the images of all processes at once, and splits={split.splits} a part of one "
            "process's: leave one of them out"
        )


def check_division(cfg: Mapping[str, Any], task: Task) -> None:
    """Raise UserError if ``model_wrapper_cfg`` divides a task that it cannot, on any number of processes."""
    if isinstance(wrapper_of(cfg), FullyShard) and (reason := _indivisible(task)):
        raise UserError(f"FullyShard is not for this task: {reason}; leave model_wrapper_cfg out")


def _to_synchronise(cfg: Mapping[str, Any], task: Task) -> dict[str, nn.Module]:
    """Return which part of a task has BatchNorm over all processes, by the option that says so."""
    if cfg.get("sync_bn"):
        return {"sync_bn": task}
    return {"key_splits=0": task.teacher} if isinstance(task, MoCo) and task.key_splits == 0 else {}


def _unequal_passes(task: Task) -> str:
    """Say why processes may run a step's networks unequally often in mode 'train'; nothing where they do not."""
    if isinstance(task, LearnedMixing | RLMixClassification):
        return f"which networks {type(task).__name__} runs is drawn by each process"
    if isinstance(task, MixUpClassification):
        passes = [_clean_needs(m) if task._pass_of(m) == "train" else () for m in task.mixers]
        if len(set(passes)) > 1:
            name = next(m.name for m, needs in zip(task.mixers, passes, strict=True) if needs)
            return f"each process draws its method, and {name} runs the network on clean images as well"
    return ""


def _indivisible(task: Task) -> str:
    """Say why a task's parameters cannot be parts; nothing where they can."""
    if any(isinstance(m, _BatchNorm) and m.track_running_stats for m in task.modules()):
        return "its networks have BatchNorm, whose running statistics would be each process's own"
    guided = [m.name for m in task.mixers if _clean_needs(m)] if isinstance(task, MixUpClassification) else []
    if guided:
        return f"{guided[0]} has a look of its own at the network, in which processes do not take part alike"
    if getattr(task, "guide", None) is not None:
        return "its guide follows the network's whole weights"
    if type(task).after_step not in (Task.after_step, MixUpClassification.after_step):
        return f"{type(task).__name__} moves networks of its own after each step"
    return ""


def _clean_needs(mixer: Any) -> tuple[str, ...]:
    """Return what a method must know of the clean images, for which the network runs on them."""
    of_mixed = [need for need in mixer.needs if mixer.kind == "label" and not need.startswith("clean_")]
    needs = [*(need for need in mixer.needs if need not in of_mixed), *(mixer.base.needs if mixer.base else ())]
    return tuple(sorted(need.removeprefix("clean_") for need in needs))
