"""Two processes that take one step of manifoldmix under DistributedDataParallel; started by its test.

    python ranks_manifoldmix.py FOLDER

Each process leaves ``FOLDER/RANK.pt``: the weights before, and by step the loss and the gradients.
"""

import os
import sys
import traceback
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from openmix.data.batch import Batch
from openmix.models import ClsMixupHead, ConvNet
from openmix.tasks import MixUpClassification, StepContext

RANKS, STEPS = 2, 6


def batch_of(rank: int, step: int) -> Batch:
    """A batch that only this process has."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    images = torch.rand(5, 3, 8, 8, generator=generator)
    return Batch((images,), torch.randint(5, (5,), generator=generator), torch.arange(5))


def compute(rank: int) -> dict:
    """Return what this process saw of :data:`STEPS` backward passes with the same weights."""
    torch.manual_seed(0)
    task = MixUpClassification(ConvNet((4, 8)), ClsMixupHead(5, 8), mix_mode="manifoldmix")
    torch.nn.init.normal_(task.head.fc.weight)
    result: dict = {"state": {k: v.clone() for k, v in task.state_dict().items()}, "steps": []}
    model = DistributedDataParallel(task)
    for step in range(STEPS):
        model.zero_grad()
        loss = model(batch_of(rank, step), StepContext(0, 0, step, rank, 0.0))["loss"]
        loss.backward()
        grads = {name: p.grad.clone() for name, p in task.named_parameters()}
        result["steps"].append({"loss": loss.detach(), "grads": grads})
    return result


def run(rank: int, folder: Path) -> None:
    """Be one process; never returns."""
    code = 1
    try:
        store = dist.FileStore(str(folder / "store"), RANKS)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS, timeout=timedelta(seconds=60))
        torch.save(compute(rank), folder / f"{rank}.pt")
        # by way of the file, not of gloo's sockets: a process that leaves early may reset the other's connection
        store.set(f"done {rank}", "")
        store.wait([f"done {other}" for other in range(RANKS)])
        dist.destroy_process_group()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    torch.set_num_threads(1)
    children = [os.fork() or run(rank, Path(sys.argv[1])) for rank in range(RANKS)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]  # type: ignore[arg-type]
    print(f"exit codes {codes}", file=sys.stderr)
    sys.exit(any(codes))
