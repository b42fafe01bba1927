"""What the tests of gathering and of contrastive tasks see of two processes; started by them.

    python ranks_contrastive.py FOLDER PART

PART is 'gather' or 'tasks'. Two processes leave ``FOLDER/0.pt`` and ``FOLDER/1.pt``; of 'tasks' one that has their
batches to itself leaves ``FOLDER/alone.pt``.
"""

import os
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from openmix.data.batch import Batch
from openmix.engine.distributed import World
from openmix.engine.wrapping import wrap
from openmix.models import ClsHead, ConvNet, ProjectionMLP
from openmix.models.gather import Shuffle, gather
from openmix.tasks import MoCo, MoCoV3, SimCLR, SimSiam, StepContext

RANKS, STEPS, IMAGES = 2, 4, 3


class Plain(nn.Module):
    """A backbone without BatchNorm."""

    out_channels = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (torch.relu(self.conv(images)),)


def projector() -> ProjectionMLP:
    return ProjectionMLP(6, [8, 4], norm="none")


def predictor() -> ProjectionMLP:
    return ProjectionMLP(4, [5, 4], norm="none")


def moco(**options: Any) -> MoCo:
    return MoCo(Plain(), ClsHead(5, 6), projector(), queue_size=7, momentum=0.9, **options)


# those that are the same whether other processes or other micro-batches have the images, and those that are not
ACCUMULATING: dict[str, Callable[[], Any]] = {
    "MoCo": moco,
    "MoCo symmetric": lambda: moco(symmetric=True),
    "MoCo, two keys, a schedule": lambda: moco(momentum_end=1.0),
    "SimSiam": lambda: SimSiam(Plain(), ClsHead(5, 6), projector(), predictor()),
    "SimSiam one way": lambda: SimSiam(Plain(), ClsHead(5, 6), projector(), predictor(), symmetric=False),
}
GATHERING: dict[str, Callable[[], Any]] = {
    "SimCLR": lambda: SimCLR(Plain(), ClsHead(5, 6), projector(), temperature=0.2),
    "MoCoV3": lambda: MoCoV3(Plain(), ClsHead(5, 6), projector(), predictor()),
}


def batch_of(shards: list[int], step: int, views: int) -> Batch:
    """The images of some shards, one after the other."""
    generators = [torch.Generator().manual_seed(100 * step + shard) for shard in shards]
    images = [[torch.rand(IMAGES, 3, 8, 8, generator=g) for _ in range(views)] for g in generators]
    labels = torch.cat([torch.randint(5, (IMAGES,), generator=g) for g in generators])
    return Batch(tuple(torch.cat(view) for view in zip(*images, strict=True)), labels, torch.arange(len(labels)))


def train(make: Callable[[], Any], micro_batches: list[list[int]], views: int) -> dict[str, Any]:
    """Train as the engine does on the shards of each micro-batch; return the first gradients and the last state."""
    torch.manual_seed(0)
    task = make()
    model = DistributedDataParallel(task) if dist.is_initialized() else task
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.5, momentum=0.9)
    gradients: dict[str, Tensor] = {}
    losses = []
    for step in range(STEPS):
        contexts = [StepContext(0, 0, step, shards[0], step / STEPS) for shards in micro_batches]
        for context, shards in zip(contexts, micro_batches, strict=True):
            loss = model(batch_of(shards, step, views), context)["loss"]
            (loss / len(micro_batches)).backward()
            losses.append(loss.detach())
        gradients = gradients or {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}
        optimizer.step()
        optimizer.zero_grad()
        task.after_step(contexts[-1])
    return {"losses": losses, "gradients": gradients, "state": task.state_dict()}


def alone() -> dict[str, Any]:
    """Train on both processes' images: in micro-batches, or where these would not be the same in one batch."""
    accumulated = {name: train(make, [[0], [1]], 2 + ("two keys" in name)) for name, make in ACCUMULATING.items()}
    accumulated["four"] = train(moco, [[0], [1], [2], [3]], 2)
    return accumulated | {name: train(make, [[0, 1]], 2) for name, make in GATHERING.items()}


def normed(**options: Any) -> MoCo:
    """A network with BatchNorm, as every process makes it."""
    torch.manual_seed(0)
    return MoCo(ConvNet((4, 6)), ClsHead(5, 6), ProjectionMLP(6, [8, 4]), queue_size=7, **options)


def keys(rank: int, **options: Any) -> dict[str, Tensor]:
    """Return this process's keys of step 3, its teacher's running mean, and what is left of a queue of its own."""
    task = normed(**options)
    model = wrap({}, task, World(rank, RANKS)).model
    task.queue.features.fill_(rank)
    found = task.keys(batch_of([rank], 3, 2).views, 1, 2, StepContext(0, 0, 3, rank, 0.0))
    mean = task.teacher.get_submodule("backbone.layer1.1").running_mean.clone()
    model(batch_of([rank], 3, 2), StepContext(0, 0, 3, rank, 0.0))
    return {"keys": found, "mean": mean, "queue": task.queue.features}


def tasks(rank: int) -> dict[str, Any]:
    """Train every task on this process's images."""
    results: dict[str, Any] = {
        name: train(make, [[rank]], 2 + ("two keys" in name)) for name, make in (ACCUMULATING | GATHERING).items()
    }
    results["four"] = train(moco, [[rank], [rank + 2]], 2)
    results["shuffled"] = keys(rank)
    results["in order"] = keys(rank, shuffle=False)
    results["over all"] = keys(rank, key_splits=0)
    return results


def gathering(rank: int) -> dict[str, Any]:
    """Gather, with a gradient and without, and shuffle."""
    own = torch.arange(6.0).view(3, 2).add(10 * rank).requires_grad_()
    weights = torch.randn(6, 2, generator=torch.Generator().manual_seed(rank))
    everyone = gather(own, gradient=True)
    (everyone.rows.square() * weights).sum().backward()
    data = gather(own)
    shuffle = Shuffle(3, torch.Generator().manual_seed(7), own.device)
    dealt = shuffle.dealt(own)
    return {
        "rows": everyone.rows.detach(),
        "first": [everyone.first, data.first],
        "gradient": own.grad,
        "data": data.rows,
        "data takes none": not data.rows.requires_grad,
        "dealt": dealt,
        "returned": shuffle.returned(dealt + 0.5),
    }


def run(rank: int, folder: Path, part: str) -> None:
    """Be one process; never returns."""
    code = 1
    try:
        if part == "tasks" and rank == 0:
            torch.save(alone(), folder / "alone.pt")
        store = dist.FileStore(str(folder / "store"), RANKS)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS, timeout=timedelta(seconds=60))
        torch.save({"gather": gathering, "tasks": tasks}[part](rank), folder / f"{rank}.pt")
        # by way of the file, not of gloo's sockets: a process that leaves early may reset the other's connection
        store.set(f"done {rank}", "")
        store.wait([f"done {other}" for other in range(RANKS)])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    torch.set_num_threads(1)
    children = [os.fork() or run(rank, Path(sys.argv[1]), sys.argv[2]) for rank in range(RANKS)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]  # type: ignore[arg-type]
    print(f"exit codes {codes}", file=sys.stderr)
    sys.exit(any(codes))
