"""The other end of the fixture ``ranks``: forks processes that join one gloo group and call a function below.

Imports once, then forks for each request, so that a test of three processes does not wait for three imports of torch.
"""

import importlib
import json
import logging
import os
import signal
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import timm  # noqa: F401  once, and not in every fork
import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

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
from openmix.engine.sharding import blocks_of, local
from openmix.engine.step import TrainStep
from openmix.engine.trainer import Stopped, Trainer
from openmix.errors import UserError
from openmix.models.sync_batchnorm import synchronize_batchnorm
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


def norm_steps(world: World, kind: str, counts: list[int], options: dict[str, Any], cast: dict[str, Any]) -> Any:
    """Return what a synchronised norm makes of this process's share of some images, over two steps and a look at them.

    ``kind`` is a norm's path; ``counts`` says how many images each process has; ``cast`` goes to ``Tensor.to``.
    """
    norm = synchronised(norm_of(kind, options), world.size)
    steps = []
    for step in range(2):
        images, weights = (t.split(counts)[world.rank] for t in norm_images(sum(counts), step, cast))
        images.requires_grad_()
        output = norm(images)
        (output * weights).sum().backward()
        steps.append({"output": output.detach(), "gradient": images.grad, "strides": output.stride()})
    return norm_outcome(norm, steps, images)


def norm_of(kind: str, options: dict[str, Any]) -> torch.nn.Module:
    """Return a norm of 3 channels with weights that are not all alike."""
    module, name = kind.rsplit(".", 1)
    norm = getattr(importlib.import_module(module), name)(3, **options)
    for i, parameter in enumerate(norm.parameters()):
        torch.nn.init.normal_(parameter, mean=1.0, generator=torch.Generator().manual_seed(i))
    return norm


def synchronised(norm: torch.nn.Module, size: int) -> torch.nn.Module:
    """Return the norm over all processes; of one process, the norm itself."""
    assert size == 1 or synchronize_batchnorm(norm, torch.device("cpu")) == 1
    return norm


def norm_images(count: int, step: int, cast: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images far from 0, whose variance is small against their mean, and weights for a loss."""
    generator = torch.Generator().manual_seed(step)
    images, weights = (torch.randn(count, 3, 2, 4, generator=generator) for _ in range(2))
    to = {key: getattr(torch, value) for key, value in cast.items()}
    return (images + 5 * step).to(**to), weights.to(**to)


def norm_outcome(norm: torch.nn.Module, steps: list[dict[str, Any]], images: torch.Tensor) -> dict[str, Any]:
    """Return all that a norm's steps have left, and what it evaluates to."""
    return {
        "steps": steps,
        "gradients": [p.grad for p in norm.parameters()],
        "state": norm.state_dict(),
        "eval": norm.eval()(images).detach(),
    }


def lone_value(world: World) -> str:
    """Return what is said of a single value a channel, which one process has and the other has not."""
    norm = synchronised(torch.nn.BatchNorm1d(3), world.size)
    try:
        norm(torch.ones(1 - world.rank, 3))
    except ValueError as error:
        return str(error)
    return ""


def gradient_exchanges(world: World, config: str, overrides: dict) -> list[list[int]]:
    """Train, and return the step and the bucket of every exchange of gradients under DistributedDataParallel."""
    seen: list[list[int]] = []
    original = Trainer.train

    def watched(trainer: Trainer) -> Any:
        def hook(_: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
            seen.append([trainer.iter, bucket.index()])
            return allreduce_hook(dist.group.WORLD, bucket)

        trainer.model.register_comm_hook(None, hook)
        return original(trainer)

    Trainer.train = watched
    train(load_config(config, overrides), config, world, quiet=True)
    return seen


def sharded_training(world: World, config: str, overrides: dict) -> dict[str, Any]:
    """Train under FullyShard; return how many numbers this process keeps, of how many, and its gradients' exchanges."""
    original, seen = Trainer.train, {}

    def watched(trainer: Trainer) -> Any:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            metrics = original(trainer)
        momenta = [state["momentum_buffer"] for state in trainer.optimizer.state.values()]
        averages = list(trainer.ema.module.parameters())
        tensors = {"weights": list(trainer.task.parameters()), "momenta": momenta, "averages": averages}
        seen["kept"] = {key: sum(local(t).numel() for t in of) for key, of in tensors.items()}
        seen["all"] = {key: sum(t.numel() for t in of) for key, of in tensors.items()}
        seen["groups"] = 1 + len(blocks_of(trainer.task))
        calls = {event.key: event.count for event in profile.key_averages() if event.key.startswith("c10d::")}
        seen["exchanges"] = sum(count for name, count in calls.items() if "reduce_scatter" in name)
        return metrics

    Trainer.train = watched
    train(load_config(config, overrides), config, world, quiet=True)
    return seen


def infinite_part(world: World, config: str, overrides: dict) -> dict[str, Any]:
    """Train until the last process's part of a gradient is infinite in step 3; return what is said, as above."""
    original, befores = TrainStep._clipped, []

    def spoilt(step: TrainStep, losses: Any) -> torch.Tensor:
        befores[:] = [local(p).detach().clone() for p in step.parameters]
        step.calls = getattr(step, "calls", 0) + 1
        if step.calls == 3 and world.rank == world.size - 1:
            local(step.parameters[-2].grad).view(-1)[-1] = torch.inf
        now.append(step)
        return original(step, losses)

    now: list[TrainStep] = []
    TrainStep._clipped = spoilt
    try:
        train(load_config(config, overrides), config, world, quiet=True)
    except NonFiniteError as error:
        pairs = zip(befores, now[-1].parameters, strict=True)
        return {"message": str(error), "same": all(torch.equal(before, local(p)) for before, p in pairs)}
    return {"message": None, "same": False}


def lost_part(world: World, config: str, overrides: dict) -> str:
    """Train; the last process's part of the weights is lost before they are saved. Return what is said."""
    original = Trainer.save

    def spoilt(trainer: Trainer, is_best: bool = False) -> None:
        if world.rank == world.size - 1:
            local(max(trainer.step.parameters, key=torch.numel)).data.fill_(torch.nan)
        original(trainer, is_best)

    Trainer.save = spoilt
    try:
        train(load_config(config, overrides), config, world, quiet=True)
    except NonFiniteError as error:
        return str(error)
    return ""


def refused(world: World, config: str, overrides: dict) -> str:
    """Return what is said of input that is wrong."""
    try:
        train(load_config(config, overrides), config, world, quiet=True)
    except UserError as error:
        return str(error)
    return ""


def refused_apart(world: World, configs: list[str], overrides: list[dict], resume: bool = False) -> str:
    """Return what each process is told where each has a config or a work dir of its own."""
    config, own = configs[world.rank], overrides[world.rank]
    try:
        train(load_config(config, own), config, world, resume, quiet=True)
    except UserError as error:
        return str(error)
    return ""


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
