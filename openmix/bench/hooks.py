"""What the hooks cost: averaging the weights as a share of a step; records, previews and checkpoints of an epoch."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.hooks import Hook

from openmix.bench.measure import Estimate, estimate, ratios, synchronise
from openmix.bench.recipe import NO_CHECKPOINT, Recipe
from openmix.bench.report import Bar, Options, Section
from openmix.bench.rows import rounded, spelt
from openmix.bench.training import cifar_recipe
from openmix.engine.ema import EMAHook
from openmix.engine.mix_preview import MixPreviewHook

__all__ = ["AfterEachStep", "EveryOtherTurn", "Stopwatch", "run"]

EMA_BOUND, EPOCH_BOUND = 0.02, 0.01
EPOCH, RECORDS = 500, 5  # steps of an epoch of configs/classification/cifar10, and a record at every 100th
TURNS, WARMUP, REPEATS = 24, 2, 7
HOW = (
    "On {device}: ResNet-18 on {images}, batches of {batch}, in a real `Trainer.train()`. EMA: the hook averages in "
    "every other "
    "turn ({block} step each), and the share is what a turn with it takes longer than its neighbour without, median "
    "and 95 % interval; beside it what the call itself takes. The others: the median time of a call times how often "
    "it comes in an epoch of the shipped CIFAR-10 recipe, of 500 steps: five records to `metrics.jsonl`, TensorBoard "
    "and the log, a picture of mixed images, and a checkpoint that is the best so far, synced to the disk. The share "
    "is of 500 of this run's steps; the last column says of how long an epoch that would be 1 %, for machines that "
    "are faster."
)


@dataclass
class Stopwatch:
    """Times the calls of a method.

    Attributes:
        call: the method.
        device: what to wait for before and after.
        seconds: what each call took.
    """

    call: Callable[..., Any]
    device: torch.device
    seconds: list[float] = field(default_factory=list)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call and return what it returns."""
        synchronise(self.device)
        began = time.perf_counter()
        result = self.call(*arguments, **named)
        synchronise(self.device)
        self.seconds.append(time.perf_counter() - began)
        return result


class EveryOtherTurn(Hook):
    """Lets another hook act after the steps of every other turn only, and times the turns.

    Args:
        hook: which; what it does before a run it does.
        block: steps a turn.
        device: what to wait for before looking at the clock.

    Attributes:
        seconds: a step's, in turns "with" it and "without".
        own: what its call after a step takes.
    """

    def __init__(self, hook: Hook, block: int, device: torch.device) -> None:
        self.hook, self.block, self.device = hook, block, device
        self.seconds: dict[str, list[float]] = {"with": [], "without": []}
        self.own = Stopwatch(hook.after_train_iter, device)
        self._steps, self._began = 0, 0.0

    def before_run(self, runner: Any) -> None:
        """Let the hook prepare."""
        self.hook.before_run(runner)

    def before_train(self, runner: Any) -> None:
        """Start the clock."""
        self._begin()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Let the hook act where it is its turn, and note the turn's time."""
        acts = self._steps // self.block % 2 == 0
        if acts:
            self.own(runner, batch_idx, data_batch, outputs)
        self._steps += 1
        if self._steps % self.block == 0:
            synchronise(self.device)
            self.seconds["with" if acts else "without"].append((time.perf_counter() - self._began) / self.block)
            self._begin()

    def _begin(self) -> None:
        synchronise(self.device)
        self._began = time.perf_counter()


class AfterEachStep(Hook):
    """After every step, draws a preview and saves a checkpoint; these and the run's records are under stopwatches.

    Args:
        preview: the hook that draws.
        device: what to wait for.
    """

    def __init__(self, preview: Hook, device: torch.device) -> None:
        self.preview, self.device = preview, device
        self.watches: dict[str, Stopwatch] = {}

    def before_train(self, runner: Any) -> None:
        """Put the stopwatches in place."""
        runner._log = Stopwatch(runner._log, self.device)  # with the means, for which it waits
        self.watches = {
            "record": runner._log,
            "preview": Stopwatch(self.preview.before_train_iter, self.device),
            "checkpoint": Stopwatch(runner.save, self.device),
        }

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draw and save."""
        self.watches["preview"](runner, 0, data_batch)
        self.watches["checkpoint"](is_best=True)


def run(options: Options) -> Section:
    """Measure all hooks on ResNet-18."""
    recipe = cifar_recipe(options, 4 if options.quick else 100)
    turns, block = (3 if options.quick else TURNS), 20 if options.device.type == "cuda" else 1
    options.say(f"EMA, {turns} turns with it and as many without")
    ema, step = _average(recipe, turns, block)
    options.say(f"records, previews and checkpoints, {REPEATS} of each")
    others, together = _occasions(recipe, EPOCH * step)
    columns = {
        "what": "what", "a call (s)": ("call_s", ".4f"), "calls": "calls", "of": "of", "of (s)": ("of_s", ".2f"),
        "share": ("share", ".3%"), "from": ("low", ".2%"), "to": ("high", ".2%"),
        "1 % of an epoch of (s)": ("epoch_s", ".1f"),
    }  # fmt: skip
    images = "CIFAR-10" if options.data else "random images of CIFAR-10's size"
    how = HOW.format(device=options.device, images=images, batch=recipe.batch_size, block=block)
    return Section("hooks", "What hooks cost", how, columns, [ema, *others], _bars(ema, together))


def _average(recipe: Recipe, turns: int, block: int) -> tuple[dict[str, Any], float]:
    """Return EMA's row, and the seconds that a step takes without it."""
    hook = EveryOtherTurn(EMAHook(), block, recipe.device)
    recipe.train([hook], 2 * (turns + WARMUP) * block)
    with_it, without = (hook.seconds[name][WARMUP:] for name in ("with", "without"))
    step, call = estimate(without).median, estimate(hook.own.seconds[WARMUP * block :]).median
    share = estimate([ratio - 1 for ratio in ratios(with_it, without)])
    row = {"what": "EMA", "call_s": call, "calls": 1, "of": "a step", "of_s": step}
    row |= {"share": share.median, "low": share.low, "high": share.high, "turns": share.n}
    return {**row, "with_s_values": rounded(with_it), "without_s_values": rounded(without)}, step


def _occasions(recipe: Recipe, epoch: float) -> tuple[list[dict[str, Any]], float]:
    """Return the rows of what comes now and then in an epoch of so many seconds, and their share together."""
    hook = AfterEachStep(MixPreviewHook(), recipe.device)
    sections: dict[str, Any] = {
        "default_hooks": {"logger": {"interval": 1}, "checkpoint": NO_CHECKPOINT},
        "vis_backends": [{"type": "TensorboardVisBackend"}],
    }
    recipe.train([hook], REPEATS, **sections)
    rows = []
    for name, watch in hook.watches.items():
        call, calls = estimate(watch.seconds).median, RECORDS if name == "record" else 1
        rows.append({"what": name, "call_s": call, "calls": calls, "of": "an epoch", "of_s": epoch})
        rows[-1]["call_s_values"] = rounded(watch.seconds)
    rows.append({"what": "the three", "call_s": sum(row["call_s"] * row["calls"] for row in rows), "calls": 1})
    rows[-1] |= {"of": "an epoch", "of_s": epoch}
    for row in rows:
        row["share"], row["epoch_s"] = row["calls"] * row["call_s"] / epoch, 100 * row["calls"] * row["call_s"]
    return rows, rows[-1]["share"]


def _bars(ema: dict[str, Any], together: float) -> list[Bar]:
    return [
        Bar(
            f"EMA takes at most {EMA_BOUND:.0%} of a step",
            spelt(Estimate(ema["share"], ema["low"], ema["high"], ema["turns"]), ".2%"),
            ema["share"] <= EMA_BOUND,
        ),
        Bar(
            f"records, previews and checkpoints take at most {EPOCH_BOUND:.0%} of an epoch",
            f"{together:.3%}",
            together <= EPOCH_BOUND,
        ),
    ]
