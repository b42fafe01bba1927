"""Whether RL-Mix's agents learn, and what they cost beside R-Mix: a small network, real CIFAR-10, one thread of a CPU.

Reward: for each policy and seed, a short training of the network, in which the agent learns every 20 steps (in its
authors' code every 1000, of 150,000), then 30 batches on which neither learns. There, each network is shown the mixes
of its own agent and those of a random policy, from the same batches, partners and lam: the difference is the agent's
alone. While the network trains, rewards also move with it. 'random' is R-Mix: an agent that never learns.
Cost: whole training steps, interleaved, of R-Mix and of both agents with their authors' memory of 1000 steps; what the
agent's learning takes once in 1000 steps is timed apart and shared out over them.
Run: python benchmarks/rlmix.py [--only {reward,cost}] [--data-root data/cifar10] [--out docs/benchmarks/rlmix.json]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import device_facts, interleaved, write_report
from rich.progress import track

from openmix.data import SOURCES
from openmix.data.batch import Batch
from openmix.models import ClsMixupHead, ConvNet
from openmix.ops.random import generator_for
from openmix.tasks import Classification, MixUpClassification, StepContext
from openmix.tasks.rlmix import RLMixClassification

BATCH, STEPS, HELD_OUT, SEEDS = 100, 300, 30, (0, 1, 2)
NEVER = 1e-30  # a learning rate that float32 does not notice
SHORT = {"n_steps": 20, "minibatch": 10, "agent_lr": 3e-3}
POLICIES: dict[str, dict[str, Any]] = {
    "random": {"agent": "per_image", **SHORT, "agent_lr": NEVER},
    "per_image": {"agent": "per_image", **SHORT},
    "authors": {"agent": "authors", **SHORT},
}


class Batches:
    """Random batches of CIFAR-10, flipped and normalised; a batch is a function of the seed and its number."""

    def __init__(self, root: str) -> None:
        source = SOURCES["CIFAR10"](data_root=root, split="train", download=False)
        self.images, self.labels = source.images, source.labels
        self.mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1) * 255
        self.std = torch.tensor([0.2023, 0.1994, 0.2010]).view(3, 1, 1) * 255

    def __call__(self, seed: int, number: int) -> Batch:
        generator = generator_for(seed, "batch", number)
        which = torch.randint(len(self.labels), (BATCH,), generator=generator)
        flipped = torch.rand(BATCH, 1, 1, 1, generator=generator) < 0.5
        images = (self.images[which].float() - self.mean) / self.std
        return Batch((torch.where(flipped, images.flip(3), images),), self.labels[which], which)


def network(seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    return {"backbone": ConvNet((16, 32, 64)), "head": ClsMixupHead(num_classes=10, in_channels=64)}


def optimizer_of(task: Classification) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(task.parameters()), lr=0.05, momentum=0.9, weight_decay=5e-4)


def step(task: Classification, batch: Batch, context: StepContext, optimizer: torch.optim.Optimizer | None) -> None:
    task(batch, context)["loss"].backward()
    if optimizer is not None:
        optimizer.step()
    task.zero_grad()
    task.after_step(context)


def rewards(
    task: RLMixClassification, batches: Batches, seed: int, first: int, steps: int, trains: bool
) -> list[float]:
    optimizer, found = optimizer_of(task) if trains else None, []
    for i in range(steps):
        context = StepContext(seed, i // 200, first + i, 0, i / steps if trains else 0.0)
        step(task, batches(seed, first + i), context, optimizer)
        found.append(float(task.learner.reward))
    return found


def learned(policy: str, batches: Batches, seed: int) -> dict[str, Any]:
    """Train with a policy, then compare its agent with a random one on the network that came of it."""
    arguments = POLICIES[policy]
    task = RLMixClassification(**network(seed), batch_size=BATCH, **arguments)
    begin = task.learner.theta.clone()
    trained = rewards(task, batches, seed, 0, STEPS, trains=True)
    held_out = {}
    for which, theta in {"random": begin, "own": task.learner.theta}.items():
        if torch.equal(theta, begin) and held_out:  # it never learned
            held_out[which] = held_out["random"]
            continue
        still = RLMixClassification(**network(seed), batch_size=BATCH, **{**arguments, "agent_lr": NEVER})
        still.load_state_dict(task.state_dict())
        still.learner.theta.copy_(theta)
        held_out[which] = rewards(still, batches, seed, STEPS, HELD_OUT, trains=False)
    gains = [own - random for own, random in zip(held_out["own"], held_out["random"], strict=True)]
    quarter = STEPS // 4
    return {
        "name": policy,
        "seed": str(seed),
        "quarters": " ".join(f"{statistics.mean(trained[q * quarter : (q + 1) * quarter]):.4f}" for q in range(4)),
        "own": statistics.mean(held_out["own"]),
        "random": statistics.mean(held_out["random"]),
        "gain": statistics.mean(gains),
        "gain_error": statistics.stdev(gains) / len(gains) ** 0.5,
    }


def costs(batches: Batches, rounds: int) -> list[dict[str, Any]]:
    """Time steps of R-Mix and of both agents, and apart from them what the agents' learning takes."""
    tasks: dict[str, Classification] = {
        "no mixing": MixUpClassification(**network(0), mix_mode="vanilla"),
        "R-Mix": MixUpClassification(**network(0), mix_mode="rmix"),
        "RL-Mix, per_image": RLMixClassification(**network(0), batch_size=BATCH, agent="per_image"),
        "RL-Mix, authors": RLMixClassification(**network(0), batch_size=BATCH, agent="authors"),
    }
    batch, context = batches(0, 0), StepContext(0, 0, 0, 0, 0.0)

    def call(task: Classification) -> Callable[[], None]:
        optimizer = optimizer_of(task)
        return lambda: step(task, batch, context, optimizer)

    rows = interleaved({name: call(task) for name, task in tasks.items()}, rounds)
    rmix = next(row["median_s"] for row in rows if row["name"] == "R-Mix")
    for row in rows:
        task, row["learning_s"], row["agent"] = tasks[row["name"]], 0.0, "0"
        if isinstance(task, RLMixClassification):
            row["learning_s"], row["agent"] = learning_time(task, batch), f"{task.learner.theta.numel():,}"
        row["per_step_s"] = row["median_s"] + row["learning_s"] / 1000
        row["x_rmix"] = row["per_step_s"] / rmix
    return rows


def learning_time(task: RLMixClassification, batch: Batch) -> float:
    """Return what the step that fills the memory of 1000 takes more than another."""
    task(batch, StepContext(0, 0, 0, 0, 0.0))["loss"].backward()
    task.after_step(StepContext(0, 0, 0, 0, 0.0))
    task.learner.memory[:] = task.learner.memory[0].clone()
    task(batch, StepContext(0, 0, 999, 0, 0.0))["loss"].backward()
    began = time.perf_counter()
    task.after_step(StepContext(0, 0, 999, 0, 0.0))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="data/cifar10")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/rlmix.json"))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", choices=("reward", "cost"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    batches = Batches(arguments.data_root)
    facts = {**device_facts(), "batch": BATCH, "steps": STEPS, "held-out batches": HELD_OUT, "agent": SHORT}
    if arguments.only != "reward":
        report_costs(
            arguments.out.with_name(arguments.out.stem + "_cost.json"), facts, costs(batches, arguments.rounds)
        )
    if arguments.only != "cost":
        rows = []
        for policy, seed in track([(policy, seed) for seed in SEEDS for policy in POLICIES], "trainings"):
            rows.append(learned(policy, batches, seed))
            report_rewards(arguments.out, facts, rows)


def report_costs(out: Path, facts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    columns = {
        "what": "name",
        "step, median (ms)": ("median_s", 1e3, ".1f"),
        "quartiles (ms)": ("quartiles_s", 1e3, ".1f"),
        "learning, once in 1000 steps (s)": ("learning_s", 1, ".2f"),
        "a step with its share (ms)": ("per_step_s", 1e3, ".1f"),
        "x R-Mix": ("x_rmix", 1, ".2f"),
        "agent's parameters": "agent",
    }
    write_report(out, "RL-Mix: what a step costs", facts, rows, columns)


def report_rewards(out: Path, facts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    columns = {
        "policy": "name",
        "seed": "seed",
        "reward in training, by quarters": "quarters",
        "then, on held-out batches: own agent": ("own", 1, ".4f"),
        "random": ("random", 1, ".4f"),
        "gain": ("gain", 1, "+.4f"),
        "standard error": ("gain_error", 1, ".4f"),
    }
    write_report(out, "RL-Mix: whether its reward rises", facts, rows, columns)


if __name__ == "__main__":
    main()
