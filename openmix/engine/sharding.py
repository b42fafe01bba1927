"""FSDP2: each process keeps a part of every parameter, and a block is whole only while it computes.

Parameters, their averages and what an optimizer gathers of them are ``DTensor``s. Outside the step they are made whole
where somebody wants to see all of them, in :func:`whole` and :meth:`Sharded.evaluated`; :func:`laid_out` takes a whole
tensor apart again. Elementwise work is done on the parts, :func:`local`.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from openmix.engine.distributed import World
from openmix.engine.wrapper_settings import FullyShard
from openmix.errors import UserError
from openmix.tasks.base import Task

__all__ = ["Sharded", "blocks_of", "is_sharded", "laid_out", "local", "sync_gradients", "whole"]

T = TypeVar("T")


class Sharded:
    """A task of which each process has a part.

    Args:
        task: whole, and the same on every process; its modules become FSDP2's.
        world: the processes.
        wrapper: options.

    Raises:
        UserError: this torch cannot do so on CPUs.

    Attributes:
        model: what a step calls.
    """

    def __init__(self, task: Task, world: World, wrapper: FullyShard) -> None:
        if world.device.type == "cpu" and not hasattr(torch.cpu.Stream, "record_event"):
            raise UserError(f"FullyShard on CPUs needs a later torch than {torch.__version__}")
        self._task = task
        # FSDP2's modules can be neither copied nor run apart from the others: an ordinary one like it can
        self._ordinary = copy.deepcopy(task)
        self._forget()
        mesh = init_device_mesh(world.device.type, (world.size,))
        for block in blocks_of(task):
            block.register_forward_hook(_not_a_view)
            fully_shard(block, mesh=mesh, reshard_after_forward=wrapper.reshard_after_forward)
        fully_shard(task, mesh=mesh, reshard_after_forward=wrapper.reshard_after_forward)
        self.model: nn.Module = task  # it has changed its class

    def to_average(self) -> nn.Module:
        """Return what an average of the weights begins as a copy of: an ordinary module of this process's parts."""
        self._ordinary.load_state_dict(self._task.state_dict(), assign=True)
        return self._ordinary

    @contextmanager
    def evaluated(self, module: nn.Module) -> Iterator[nn.Module]:
        """Have a task with whole weights, which every process may run as often as it likes.

        Args:
            module: the task, or an average of it; all processes take part.
        """
        self._ordinary.load_state_dict(whole(module.state_dict()), assign=True)
        try:
            yield self._ordinary
        finally:
            self._forget()

    def _forget(self) -> None:
        """Leave no numbers in the ordinary task's parameters, and so no memory."""
        empty = {name: torch.empty_like(p, device="meta") for name, p in self._ordinary.named_parameters()}
        self._ordinary.load_state_dict(empty, strict=False, assign=True)

    def saved(self, state: T, is_main: bool) -> T:
        """Return a state with whole tensors on the CPU for the main process, and as it is for others; all take part."""

        def gathered(part: DTensor) -> Tensor:
            full = part.full_tensor()
            return full.cpu() if is_main else part

        return _each(state, gathered)


def _not_a_view(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """Copy a view, such as tokens that were mixed: of one that is then changed in place, FSDP2 would lose sight."""
    return output.clone() if isinstance(output, Tensor) and output._is_view() else output


def blocks_of(task: nn.Module) -> list[nn.Module]:
    """Return the repeated blocks of a network: modules of one class, with parts, that stand together in a container.

    Of blocks within blocks, such as those of Swin's stages, the inner ones.

    >>> block = nn.TransformerEncoderLayer(8, nhead=2, batch_first=True)
    >>> [len(blocks_of(net)) for net in (nn.TransformerEncoder(block, num_layers=3), block)]
    [3, 0]
    """
    blocks: list[nn.Module] = []
    for container in task.modules():
        children = list(container.children()) if isinstance(container, nn.ModuleList | nn.Sequential) else []
        has_parts = all(any(True for _ in child.children()) for child in children)
        if len(children) > 1 and has_parts and len({type(child) for child in children}) == 1:
            outer = [block for block in blocks if any(part is container for part in block.modules())]
            blocks = [block for block in blocks if block not in outer] + children
    return blocks


def is_sharded(model: nn.Module) -> bool:
    """Tell whether a model is FSDP2's."""
    return isinstance(model, FSDPModule)


def sync_gradients(model: nn.Module, last: bool) -> None:
    """Let the next backward pass exchange a sharded model's gradients if it is the step's last."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
        model.set_is_last_backward(last)


def local(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor, in the same memory; the tensor itself where it is not divided."""
    return cast("Tensor", tensor.to_local()) if isinstance(tensor, DTensor) else tensor


def whole(state: T) -> T:
    """Return nested structures with whole tensors in place of parts; every process must call it."""
    return _each(state, lambda part: part.full_tensor())


def laid_out(value: Any, like: Any) -> Any:
    """Return a whole tensor as a part where ``like`` is one; anything else as it is. Every process must call it."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def _each(state: Any, change: Any) -> Any:
    if isinstance(state, DTensor):
        return change(state)
    if isinstance(state, Mapping):
        return cast("Any", type(state))((key, _each(value, change)) for key, value in state.items())
    if isinstance(state, list | tuple):
        return type(state)(_each(value, change) for value in state)
    return state
