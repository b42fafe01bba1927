"""What not losing a run costs: a step's checks, and a checkpoint's.

A step with everything on (loss and gradient checked before the update, the processes' stop flags agreed upon, damaged
images noted) and the same step without, alternating; with a network so small that a millisecond would show, on one
process and on two. The check of larger networks' gradients, alone: their steps take too long to show it. And a save
(hashed, synced, read back, with manifest and pointer) beside ``torch.save`` to a file. Run:
python benchmarks/reliability.py
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from common import device_facts, interleaved, write_report
from torch.nn.parallel import DistributedDataParallel

from openmix.data import Batch, Synthetic
from openmix.engine.checkpoint_folder import CheckpointFolder
from openmix.engine.damage import DamageLog
from openmix.engine.distributed import World
from openmix.engine.log import open_logger
from openmix.engine.settings import OptimWrapper
from openmix.engine.signals import StopRequest
from openmix.engine.step import TrainStep
from openmix.models import ClsMixupHead, ConvNet
from openmix.registry import MODELS
from openmix.tasks import MixUpClassification, StepContext

STEPS, BATCH = 200, 32
SGD = OptimWrapper(optimizer={"type": "SGD"})


def step_pair(world: World) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return STEPS steps of a tiny network with all checks and without."""
    torch.manual_seed(0)
    images = Synthetic(10, (3, 8, 8), BATCH)
    batch = Batch((images.images.float() / 255,), images.labels, torch.arange(BATCH))

    def loop(checked: bool) -> Callable[[], None]:
        task = MixUpClassification(ConvNet([4, 8]), ClsMixupHead(10, 8))
        model = task if world.size == 1 else DistributedDataParallel(task, gradient_as_bucket_view=True)
        step = TrainStep(model, torch.optim.SGD(task.parameters(), lr=0.1, momentum=0.9), SGD, world.device)
        stop, damage = StopRequest(), DamageLog(open_logger(None, world, quiet=True)[0], world)
        if not checked:
            step.finite.weight = lambda loss: None  # type: ignore[method-assign]
            step.finite = type("Unchecked", (), {"weight": lambda self, loss: None, "__call__": lambda *a: None})()
            step._clipped = lambda losses: None  # type: ignore[assignment, method-assign, return-value]

        def run() -> None:
            for number in range(STEPS):
                if checked:
                    damage.note(batch)
                step([(StepContext(0, 0, number, world.rank, 0.0), batch)])
                if checked:
                    stop.agreed()

        return run

    return loop(True), loop(False)


def steps_of(world: World, rounds: int) -> list[dict[str, Any]]:
    checked, unchecked = step_pair(world)
    rows = interleaved({f"step, {world.size} process(es), unchecked": unchecked, "checked": checked}, rounds)
    rows[1]["name"] = f"step, {world.size} process(es), checked"
    for row in rows:
        row["ms"] = row["median_s"] / STEPS * 1e3
        row["beyond_ms"] = row["ms"] - rows[0]["ms"]
    return rows


def rank(number: int, store: str, rounds: int, out: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", store=dist.FileStore(store, 2), rank=number, world_size=2, timeout=timedelta(minutes=5)
    )
    rows = steps_of(World(number, 2), rounds)
    if number == 0:
        out.put(rows)
    dist.barrier()
    dist.destroy_process_group()


def steps_of_two(rounds: int) -> list[dict[str, Any]]:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        out = context.Queue()
        ranks = [context.Process(target=rank, args=(n, os.path.join(folder, "store"), rounds, out)) for n in (0, 1)]
        for process in ranks:
            process.start()
        rows = out.get(timeout=600)
        for process in ranks:
            process.join()
    return rows


NETWORKS = {
    "ConvNet, 0.29 M": {"type": "ConvNet"},
    "ResNet-18 (CIFAR), 11 M": {"type": "ResNet_CIFAR", "depth": 18},
    "WRN-28-10, 36 M": {"type": "WideResNet", "depth": 28, "widen_factor": 10},
}


def gradients_of(name: str, rounds: int) -> dict[str, Any]:
    """Time the look at a whole gradient that has left the caches."""
    network = MODELS.build(dict(NETWORKS[name]))
    step = TrainStep(network, torch.optim.SGD(network.parameters(), lr=0.1), SGD, torch.device("cpu"))
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    loss, rubbish, seconds = torch.tensor(1.0), torch.zeros(1 << 26), []
    for _ in range(rounds + 1):
        rubbish.add_(1)
        began = time.perf_counter()
        step.finite.weight(loss)
        step.finite(step._clipped([loss]), [loss], [(StepContext(0, 0, 0, 0, 0.0), None)])  # type: ignore[list-item]
        seconds.append(time.perf_counter() - began)
    ms = sorted(seconds[1:])[rounds // 2] * 1e3
    return {"name": f"check of the gradient, {name}", "median_s": ms / 1e3, "ms": ms, "beyond_ms": ms, "rounds": rounds}


def saves_of(name: str, rounds: int) -> list[dict[str, Any]]:
    """Time a save of a network with SGD's momentum, in both ways."""
    network = MODELS.build(dict(NETWORKS[name]))
    model = network.state_dict()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    sum(p.sum() for p in network.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    state: dict[str, Any] = {
        "step": 1, "timeline": [[0, 100]], "seed": 0, "best": 0.0, "metrics": {}, "model": model, "ema": None,
        "optimizer": optimizer.state_dict(), "scaler": {}, "averages": {"count": 0, "totals": None},
        "hooks": {}, "config": "",
    }  # fmt: skip
    with tempfile.TemporaryDirectory(dir=".") as folder:
        checkpoints, number = CheckpointFolder(folder), iter(range(10**6))

        def on() -> None:
            step = next(number)
            checkpoints.save(f"epoch_{step}.pth", {**state, "step": step}, is_best=step % 2 == 0)

        rows = interleaved({"torch.save": lambda: torch.save(state, f"{folder}/plain"), "openmix": on}, rounds)
        megabytes = os.path.getsize(f"{folder}/plain") / 1e6
    for row in rows:
        row["name"] = f"save of {megabytes:.0f} MB ({name}), {row['name']}"
        row["ms"] = row["median_s"] * 1e3
        row["beyond_ms"] = row["ms"] - rows[0]["median_s"] * 1e3
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/reliability.json"))
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    rows = steps_of(World(), arguments.rounds) + steps_of_two(arguments.rounds)
    rows += [gradients_of(name, 4 * arguments.rounds) for name in NETWORKS]
    rows += [row for name in NETWORKS for row in saves_of(name, arguments.rounds)]
    columns = {"what": "name", "median (ms)": ("ms", 1, ".3f"), "beyond without (ms)": ("beyond_ms", 1, ".3f")}
    write_report(arguments.out, "What not losing a run costs", device_facts(), rows, columns)


if __name__ == "__main__":
    main()
