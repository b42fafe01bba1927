"""What a training step of openmix costs beyond a bare PyTorch loop's: on toy networks, where almost all is Python."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from openmix.bench.bare import BareLoop
from openmix.bench.beside import Beside
from openmix.bench.measure import Estimate, estimate, one_thread
from openmix.bench.mmengine_loop import train_by_mmengine
from openmix.bench.recipe import SGD, Recipe
from openmix.bench.report import Bar, Options, Section
from openmix.bench.rows import rounded, spelt
from openmix.data.sources import Synthetic
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import Preprocessor
from openmix.models import ConvNet
from openmix.tasks.context import StepContext

__all__ = ["Perceptron", "TaskLoop", "run"]

BATCH, SIZE, BLOCK, WARMUP = 100, 8, 20, 3
BOUND = 40.0  # µs
RUNNER = "mmengine's Runner"
HOW = (
    "A real `Trainer.train()` on a CPU, whatever there is besides, on random images in memory, 8 x 8, batches of "
    "100, one thread, SGD fused on both sides; after "
    "every 20 of its steps the bare loop does 20. Each turn gives a difference, in µs a step; a row has their median "
    "and its 95 % interval. Of the run no record is kept meanwhile and nothing is saved: part `hooks` has those. "
    "'Engine alone' holds the same task, loader and normalisation against a loop that calls them, then `backward()`, "
    "`step()` and drop the gradients; the other rows hold all of openmix against a loop written by hand, which has one "
    "operation where openmix has a library's: no check, no record, no accuracy, no seed of its own for each step. "
    "mmengine's row is its `Runner` with its own default hooks, from batches made before, against the same loop on the "
    "same batches; its records are off as well."
)


class Perceptron(nn.Module):
    """One hidden layer, as a convolution that is as large as the image: the smallest network there is to train."""

    out_channels = (8,)

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(3, 8, SIZE)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return the hidden layer as the only feature map (B, 8, 1, 1)."""
        return (self.relu(self.hidden(images)),)


class TaskLoop:
    """Openmix's task, loader and normalisation in a loop without its engine: a step a call.

    Args:
        recipe: what to train.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.task, self.loader = recipe.task(), recipe.loader()
        self.normalize = Normalize(Preprocessor(recipe.mean, recipe.std), recipe.device)
        self.optimizer = torch.optim.SGD(self.task.parameters(), **SGD)
        self.parameters = list(self.task.parameters())
        self.steps = self._steps()

    def __call__(self) -> None:
        """Do a step."""
        next(self.steps)

    def _steps(self) -> Iterator[None]:
        step = epoch = 0
        while True:
            for shard, batch in self.loader.epoch(epoch):
                context = StepContext(0, epoch, step, shard, 0.0)
                loss = self.task(self.normalize.batch(batch), context)["loss"]
                for parameter in self.parameters:
                    parameter.grad = None
                loss.backward()
                self.optimizer.step()
                step += 1
                yield
            epoch += 1


def run(options: Options) -> Section:
    """Measure the toy networks, and mmengine's Runner."""
    turns = 5 if options.quick else 60
    steps = (turns + WARMUP) * BLOCK + 1  # a turn is over when the step after it begins
    source = Synthetic(10, (3, SIZE, SIZE), BATCH * 500)
    networks: dict[str, Callable[[], nn.Module]] = {"perceptron": Perceptron, "ConvNet([2])": lambda: ConvNet([2])}
    rows = []
    with one_thread():
        for network, backbone in networks.items():
            recipe = Recipe(backbone, source, BATCH, torch.device("cpu"))
            for case, measure in CASES.items():
                options.say(f"{case}, {network}: {steps} steps of each side")
                rows.append(_row(case, network, measure(recipe, steps)))
    columns = {
        "what": "case", "network": "network", "bare loop (µs)": ("bare_us", ".0f"), "step (µs)": ("step_us", ".0f"),
        "beyond (µs)": ("beyond_us", ".1f"), "from": ("low_us", ".1f"), "to": ("high_us", ".1f"), "turns": "turns",
    }  # fmt: skip
    return Section("step", "A step beyond a bare loop", HOW, columns, rows, _bars(rows))


def _row(case: str, network: str, seconds: dict[str, list[float]]) -> dict[str, Any]:
    own, bare = seconds["openmix"][WARMUP:], seconds["bare"][WARMUP:]
    beyond: Estimate = estimate([(a - b) * 1e6 for a, b in zip(own, bare, strict=True)])
    return {
        "case": case, "network": network, "bare_us": estimate(bare).median * 1e6, "step_us": estimate(own).median * 1e6,
        "beyond_us": beyond.median, "low_us": beyond.low, "high_us": beyond.high, "turns": beyond.n,
        "step_s_values": rounded(own), "bare_s_values": rounded(bare),
    }  # fmt: skip


def _bars(rows: Sequence[dict[str, Any]]) -> list[Bar]:
    return [
        Bar(
            f"{row['case']}, {row['network']}: at most {BOUND:.0f} µs a step beyond the bare loop",
            spelt(Estimate(row["beyond_us"], row["low_us"], row["high_us"], row["turns"]), ".1f") + " µs",
            row["beyond_us"] <= BOUND,
        )
        for row in rows
        if row["case"] != RUNNER
    ]


def _mmengine(recipe: Recipe, steps: int) -> dict[str, list[float]]:
    """Time mmengine's Runner, under the name "openmix", and the bare loop, both on batches made before."""
    draw = recipe.batches()
    batches = [draw() for _ in range(BLOCK)]
    again = itertools.cycle(batches)
    net, optimizer = recipe.network()
    beside = Beside({"bare": BareLoop(net, lambda: next(again), optimizer)}, BLOCK, recipe.device)
    train_by_mmengine(*recipe.network(), batches, steps, beside)
    return beside.seconds


def _beside_run(recipe: Recipe, rival: Callable[[], Any], steps: int) -> dict[str, list[float]]:
    beside = Beside({"bare": rival}, BLOCK, recipe.device)
    recipe.train([beside], steps)
    return beside.seconds


def _engine(recipe: Recipe, steps: int) -> dict[str, list[float]]:
    return _beside_run(recipe, TaskLoop(recipe), steps)


def _plain(recipe: Recipe, steps: int) -> dict[str, list[float]]:
    return _beside_run(recipe, recipe.rivals(["bare"])["bare"], steps)


def _mixed(recipe: Recipe, steps: int) -> dict[str, list[float]]:
    return _plain(replace(recipe, alpha=1.0), steps)


CASES = {"engine alone": _engine, "plain classification": _plain, "MixUp": _mixed, RUNNER: _mmengine}
