"""Some steps of RL-Mix on several processes, or with their micro-batches one after the other; started by its test.

    python ranks_rlmix.py FOLDER

Two processes leave ``FOLDER/0.pt`` and ``FOLDER/1.pt``, and one that accumulates their batches ``FOLDER/alone.pt``: by
step the loss and the reward, and the weights and the agent at the end.
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
from openmix.tasks import StepContext
from openmix.tasks.rlmix import RLMixClassification

RANKS, STEPS = 2, 7


def batch_of(rank: int, step: int) -> Batch:
    """A batch that only this process has."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    images = torch.rand(5, 3, 8, 8, generator=generator)
    return Batch((images,), torch.randint(5, (5,), generator=generator), torch.arange(5))


def compute(shards: list[int], agent: str) -> dict:
    """Train as the engine does, on the micro-batches ``shards`` of each step."""
    torch.manual_seed(0)
    task = RLMixClassification(
        ConvNet((4, 8)), ClsMixupHead(5, 8), batch_size=6, agent=agent, n_steps=6, minibatch=4, n_epochs=2, agent_lr=0.1
    )
    model = DistributedDataParallel(task) if dist.is_initialized() else task
    optimizer = torch.optim.SGD(list(task.parameters()), lr=0.1)
    result: dict = {"steps": []}
    for step in range(STEPS):
        contexts = [StepContext(0, step // 4, step, shard, step / STEPS) for shard in shards]
        losses = []
        for context in contexts:
            loss = model(batch_of(context.shard, step), context)["loss"]
            (loss / len(shards)).backward()
            losses.append(loss.detach())
        optimizer.step()
        optimizer.zero_grad()
        task.after_step(contexts[-1])
        result["steps"].append({"losses": losses, "reward": task.learner.reward.clone()})
    return result | {"state": task.state_dict()}


def run(rank: int, folder: Path) -> None:
    """Be one process; never returns."""
    code = 1
    try:
        torch.save({agent: compute([0, 1], agent) for agent in AGENTS}, folder / "alone.pt") if rank == 0 else None
        store = dist.FileStore(str(folder / "store"), RANKS)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS, timeout=timedelta(seconds=60))
        torch.save({agent: compute([rank], agent) for agent in AGENTS}, folder / f"{rank}.pt")
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


AGENTS = ("per_image", "authors")

if __name__ == "__main__":
    torch.set_num_threads(1)
    children = [os.fork() or run(rank, Path(sys.argv[1])) for rank in range(RANKS)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]  # type: ignore[arg-type]
    print(f"exit codes {codes}", file=sys.stderr)
    sys.exit(any(codes))
