"""Processes: who am I, how many are we, which device is mine, and do we agree."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from openmix.engine.network import interface_towards
from openmix.errors import Reported, UserError

__all__ = [
    "Launcher", "World", "broadcast_buffers", "check_same", "join_world", "leave_at_once", "main_only", "of_main",
    "sum_over_ranks",
]  # fmt: skip

T = TypeVar("T")
Launcher = Literal["none", "pytorch", "slurm"]


CPU = torch.device("cpu")
# NCCL ends a process that waits too long with an abort; the stop flags' group is to notice first, and to say who it is
NCCL_MARGIN = 60.0


@dataclass(frozen=True)
class World:
    """This process among all of the run.

    Attributes:
        rank: its number.
        size: how many there are.
        device: where it computes.
        timeout: seconds to wait for another one before it counts as lost.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    timeout: float = 1800.0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0


def join_world(launcher: Launcher = "none", timeout: float = 1800.0) -> World:
    """Join the process group that the launcher's environment describes: NCCL on GPUs, gloo on CPUs.

    Args:
        launcher: 'none' is a single process; 'pytorch' reads torchrun's variables, 'slurm' Slurm's.
        timeout: seconds to wait for the others, now and at every exchange later on.

    Raises:
        UserError: the environment lacks a variable, or there are more processes than GPUs on this machine.
        Reported: not all processes came.
    """
    if launcher == "none":
        return World(device=_device(0))
    names = {
        "pytorch": ("RANK", "LOCAL_RANK", "WORLD_SIZE"),
        "slurm": ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"),
    }[launcher]
    missing = [n for n in (*names, "MASTER_ADDR", "MASTER_PORT") if n not in os.environ]
    if missing:
        raise UserError(f"--launcher {launcher} needs {', '.join(missing)} in the environment; use tools/dist_train.sh")
    rank, local_rank, size = (int(os.environ[n]) for n in names)
    device = _device(local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    on_gpus = device.type == "cuda"
    patience = timedelta(seconds=timeout + NCCL_MARGIN * on_gpus)
    _lead_gloo_to_the_others()
    try:
        dist.init_process_group("nccl" if on_gpus else "gloo", rank=rank, world_size=size, timeout=patience)
    except RuntimeError as error:  # gloo's errors have no type of their own
        where, why = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}", str(error).splitlines()[0]
        raise Reported(
            f"process {rank} of {size} did not meet the others at {where} within {timeout:g} s: {why}"
        ) from error
    return World(rank, size, device, timeout)


def _lead_gloo_to_the_others() -> None:
    """Let gloo, which stop flags use on GPUs as well, take the interface that leads to the first process.

    By itself it takes the one that the machine's name resolves to: in many containers, and on Debian, the loopback.
    """
    if "GLOO_SOCKET_IFNAME" not in os.environ:
        interface = interface_towards(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        if interface is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = interface


def leave_at_once(code: int) -> None:
    """End a process that has joined others, with this exit code, and without what an interpreter does in the end.

    Taking a group of gloo's apart may dead-lock or abort the process, where a thread of it wants the interpreter to let
    go of a tensor; NCCL's, after an error, waits for exchanges that never come. The system closes connections as well.
    """
    if dist.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    gpus = torch.cuda.device_count()
    if local_rank >= gpus:
        raise UserError(
            f"process {local_rank} of this machine has no GPU: it has {gpus}; start {gpus} processes, "
            "or set CUDA_VISIBLE_DEVICES= to compute on CPUs"
        )
    return torch.device("cuda", local_rank)


def main_only(world: World, action: Callable[[], None]) -> None:
    """Let rank 0 act while the others wait; where it finds the user's input wrong, all ranks stop alike.

    Raises:
        UserError: on every rank.
    """
    error: UserError | None = None
    if world.is_main:
        try:
            action()
        except UserError as e:
            error = e
    failed = torch.tensor([float(error is not None)], device=world.device)
    if sum_over_ranks(failed).item():
        raise error or UserError("rank 0 found the input wrong")


def check_same(world: World, value: str, rule: str) -> None:
    """Raise UserError on every process unless all of them have the same value.

    Args:
        world: the processes.
        value: what this one has, as the message is to spell it.
        rule: what is to be done about a difference.
    """
    if not dist.is_initialized():
        return
    values = [""] * world.size
    dist.all_gather_object(values, value)
    for rank, other in enumerate(values):
        if other != values[0]:
            raise UserError(f"process 0 of {world.size} has {values[0]}, and process {rank} has {other}: {rule}")


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place, and return it."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def of_main(value: T) -> T:
    """Return rank 0's value, a plain one such as a list of names, on every process."""
    told = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(told, src=0)
    return told[0]


def broadcast_buffers(module: nn.Module) -> None:
    """Give every process rank 0's buffers: each has seen other images, and BatchNorm's statistics with them."""
    if dist.is_initialized():
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)
