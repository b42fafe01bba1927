"""``model_wrapper_cfg``: how a task lies on the processes, as dataclasses: their fields are the keys."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["WRAPPERS", "DistributedDataParallel", "FullyShard", "wrapper_of"]


@dataclass(frozen=True)
class DistributedDataParallel:
    """``model_wrapper_cfg`` with this type: every process has all weights, and gradients are averaged in each step.

    What a config without ``model_wrapper_cfg`` has. One process is left as it is.

    Attributes:
        bucket_cap_mb: gradients are sent in buckets of so many MiB during the backward pass. Default 25, torch's.
        find_unused_parameters: look in every step for parameters that the loss does not depend on, which takes time.
            Default False; a task of your own that leaves some out in some steps needs it.
    """

    bucket_cap_mb: float = 25.0
    find_unused_parameters: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.bucket_cap_mb < math.inf:
            raise ValueError(f"bucket_cap_mb must be a number of MiB above 0, got {self.bucket_cap_mb}")


@dataclass(frozen=True)
class FullyShard:
    """``model_wrapper_cfg`` with this type: each process keeps a part of weights, averages, gradients and optimizer.

    torch's FSDP2 (``torch.distributed.fsdp.fully_shard``), for transformers too large for one GPU: a block's weights
    are whole on a process while it computes with them, and all are in an evaluation. Checkpoints are those of any other
    run, and go on under any other number of processes and either wrapper. One process is left as it is.

    Attributes:
        reshard_after_forward: give a block's weights back after its forward pass and gather them anew for its backward
            pass. Default True, torch's; False takes more memory, and a third less exchange.
    """

    reshard_after_forward: bool = True


WRAPPERS: dict[str, type[Any]] = {"DistributedDataParallel": DistributedDataParallel, "FullyShard": FullyShard}


def wrapper_of(cfg: Mapping[str, Any]) -> DistributedDataParallel | FullyShard:
    """Return what ``model_wrapper_cfg`` of a checked config says, or the default."""
    given = dict(cfg.get("model_wrapper_cfg") or {"type": "DistributedDataParallel"})
    return WRAPPERS[given.pop("type")](**given)
