"""The other end of the fixture ``ranks``: forks processes that join one gloo group and call a function below.

Imports once, then forks for each request, so that a test of three processes does not wait for three imports of torch.
"""

import json
import logging
import os
import signal
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from openmix.data import Digits, ResidentLoader, Shards
from openmix.engine import peers
from openmix.engine.config import load_config
from openmix.engine.damage import DamageLog
from openmix.engine.distributed import World, main_only, sum_over_ranks
from openmix.engine.evaluate import evaluate
from openmix.engine.nonfinite import NonFiniteError
from openmix.engine.preprocess import Normalize
from openmix.engine.run import test, train
from openmix.engine.settings import Preprocessor
from openmix.engine.trainer import Stopped, Trainer
from openmix.errors import UserError
from openmix.tasks import Task


def train_config(world: World, config: str, overrides: dict, resume: Any = False, stops: dict | None = None) -> Any:
    """Train; ``stops`` says after which step which rank is sent SIGTERM. Return the metrics and the last step."""
    after_iter, seen = Trainer._after_iter, []

    def stopping(trainer: Trainer, ends_epoch: bool) -> None:
        seen.append(trainer.iter)
        if (stops or {}).get(str(world.rank)) == trainer.iter:
            os.kill(os.getpid(), signal.SIGTERM)
        after_iter(trainer, ends_epoch)

    Trainer._after_iter = stopping
    try:
        metrics = train(load_config(config, overrides), config, world, resume, quiet=True)
    except Stopped:
        metrics = None
    return {"metrics": metrics, "last_step": seen[-1] if seen else None}


def train_until_nonfinite(world: World, config: str, overrides: dict) -> Any:
    """Train until a number is none; return what is said, and whether the weights are those of before the step."""
    sys.path.insert(0, str(Path(config).parent))  # where the config's own modules are
    trainers: list[Trainer] = []
    original = Trainer.train
    Trainer.train = lambda self: (trainers.append(self), original(self))[1]
    try:
        train(load_config(config, overrides), config, world, quiet=True)
    except NonFiniteError as error:
        (trainer,) = trainers
        pairs = zip(trainer.before, trainer.task.parameters(), strict=True)
        return {"message": str(error), "same": all(torch.equal(before, now) for before, now in pairs)}
    return {"message": None, "same": False}


def test_checkpoint(world: World, config: str, overrides: dict, checkpoint: str) -> Any:
    """Evaluate a checkpoint on the validation set."""
    return test(load_config(config, overrides), checkpoint, world)


def main_only_fails(world: World) -> str:
    """Return what each process is told where rank 0 finds the input wrong."""

    def fail() -> None:
        raise UserError("the work dir is wrong")

    try:
        main_only(world, fail)
    except UserError as error:
        return str(error)
    return ""


def wait_in_vain(world: World, how: str) -> str:
    """Exchange something while rank 1 does otherwise, and return what every process is told."""
    peers.ROLL_CALL = 2.0
    world = World(world.rank, world.size, timeout=1)
    group = dist.new_group(timeout=timedelta(seconds=world.timeout))
    store = dist.distributed_c10d._get_default_store()
    try:
        with peers.peers_watched(world):
            if world.rank != 1:
                dist.all_reduce(torch.zeros(1), group=group)
            elif how == "raise":
                raise KeyError("a bug")
    except peers.PeerError as error:
        store.set(f"told{world.rank}", "")
        return str(error)
    except KeyError as error:
        return f"KeyError: {error}"
    for rank in set(range(world.size)) - {world.rank}:
        store.get(f"told{rank}")  # hangs until they have given up
    return "came too late"


class TwoNetworks(Task):
    """Two that know nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)) for _ in range(2))

    def predictions(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits of both."""
        return {"q": self.q(images), "k": self.k(images)}


def evaluate_two_networks(world: World, batch_size: int) -> dict[str, float | int]:
    """Return what every process knows of two networks on 60 digits."""
    loader = ResidentLoader(Digits("val", size=8).take(60), batch_size, shards=Shards(world.rank, world.size))
    return evaluate(TwoNetworks(), loader, Normalize(Preprocessor()), DamageLog(logging.getLogger(), world))


def sum_of_ranks(world: World) -> float:
    """Return the sum of rank + 1 over all processes."""
    return float(sum_over_ranks(torch.tensor(world.rank + 1.0)))


def serve() -> None:
    """Answer requests, one JSON object a line, with the exit codes of the processes."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a run prints must not come between the answers
    for line in sys.stdin:
        request = json.loads(line)
        children = [os.fork() or run(rank, **request) for rank in range(request["size"])]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), file=out, flush=True)


def run(rank: int, size: int, function: str, folder: str, arguments: dict[str, Any]) -> None:
    """Be one process of a group: never returns."""
    code = 1
    try:
        store = dist.FileStore(str(Path(folder) / "store"), size)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timedelta(seconds=120))
        result = globals()[function](World(rank, size), **arguments)
        torch.save(result, Path(folder) / f"{rank}.pt")
        code = 0  # and no destroy_process_group(), which may dead-lock: see leave_at_once
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
