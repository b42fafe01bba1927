"""Training end to end: openmix beside a bare loop, timm's and torchvision's, on equal networks and images."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from openmix.bench.beside import Beside
from openmix.bench.measure import Estimate, estimate, ratios
from openmix.bench.recipe import Recipe
from openmix.bench.report import Bar, Options, Section
from openmix.bench.rows import rounded, spelt
from openmix.data.sources import CIFAR10, Synthetic
from openmix.models import ResNet, ResNet_CIFAR

__all__ = ["cifar_recipe", "compare", "imagenet_recipe", "run"]

MEDIAN, UPPER = 1.01, 1.03  # of time(openmix) / time(bare loop)
TURNS, WARMUP = 25, 2
HOW = (
    "On {device}. A real `Trainer.train()`, and after each of its steps one of every rival (20 on a GPU), all on "
    "networks of their "
    "own that began equal, in the same precision and memory format, with the same fused SGD; MixUp in all. "
    "The bare loop is written by hand and does nothing else; timm's and torchvision's do at each step what their "
    "`train.py` do, but have the bare loop's batches and a fused optimizer. A ratio is of openmix's time and the "
    "rival's in one turn: below 1 openmix is faster. "
    "openmix's run has its schedule, a cosine by epochs, but keeps no record and saves no checkpoint meanwhile, "
    "validates nothing, and has no TensorBoard and no progress bar: part `hooks` has what these cost. "
    "Median and 95 % interval; the first {warmup} turns do not count. "
    "{images}"
)


def run(options: Options) -> Section:
    """Measure both networks in both precisions."""
    rows, turns = [], 3 if options.quick else TURNS
    for name, recipe in _recipes(options):
        options.say(f"{name}: {turns} turns of each loop")
        rows += compare(name, recipe, turns)
    images = "CIFAR-10" if options.data else "random images of CIFAR-10's size"
    columns = {
        "what": "case", "batch": "batch_size", "loop": "loop", "images/s": ("images_per_s", ".1f"),
        "openmix's time / its": ("ratio", ".3f"), "from": ("low", ".3f"), "to": ("high", ".3f"), "turns": "turns",
    }  # fmt: skip
    how = HOW.format(
        device=options.device, warmup=WARMUP, images=f"ResNet-18 sees {images}; ResNet-50 random ones of 224 x 224."
    )
    bars = [_bar(row) for row in rows if row["loop"] == "bare"]
    return Section("training", "Training, end to end", how, columns, rows, bars)


def compare(case: str, recipe: Recipe, turns: int, block: int | None = None) -> list[dict[str, Any]]:
    """Train beside all rivals and return a row for openmix and for each of them.

    Args:
        case: what the rows are called.
        recipe: what to train.
        turns: how many count.
        block: steps a turn; default 1, and 20 on a GPU, where there is waiting at each turn's end.
    """
    block = block or (20 if recipe.device.type == "cuda" else 1)
    beside = Beside(recipe.rivals(), block, recipe.device)
    recipe.train([beside], beside.steps_for(turns + WARMUP))
    seconds = {name: values[WARMUP:] for name, values in beside.seconds.items()}
    rows = []
    for name, values in seconds.items():
        step = estimate(values)
        row = {"case": case, "batch_size": recipe.batch_size, "loop": name, "step_s": step.median, "turns": step.n}
        row["step_s_values"] = rounded(values)
        row["images_per_s"] = recipe.batch_size / step.median
        if name != "openmix":
            ratio = estimate(ratios(seconds["openmix"], values))
            row |= {"ratio": ratio.median, "low": ratio.low, "high": ratio.high}
        rows.append(row)
    return rows


def cifar_recipe(options: Options, batch_size: int) -> Recipe:
    """Return ResNet-18 on CIFAR-10, or random images of its size, with the shipped recipe's crops, flips and MixUp."""
    source = CIFAR10(str(options.data), "train") if options.data else Synthetic(10, (3, 32, 32), 10_000)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    augmented = Recipe(lambda: ResNet_CIFAR(18), source, batch_size, options.device, mean, std, padding=4, flip=True)
    return replace(augmented, alpha=1.0)


def imagenet_recipe(options: Options, batch_size: int) -> Recipe:
    """Return ResNet-50 on random images of 224 x 224 of 1000 classes, with flips and MixUp."""
    source = Synthetic(1000, (3, 224, 224), 20 * batch_size)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return Recipe(lambda: ResNet(50), source, batch_size, options.device, mean, std, flip=True, alpha=0.2)


def _recipes(options: Options) -> Iterator[tuple[str, Recipe]]:
    """Yield every case; the batches are small on CPUs, where a step of the shipped recipes takes seconds."""
    gpu = options.device.type == "cuda"
    makers: dict[str, Callable[[], Recipe]] = {
        "ResNet-18, CIFAR-10": lambda: cifar_recipe(options, 4 if options.quick else 100),
        "ResNet-50, 224 x 224": lambda: imagenet_recipe(options, 128 if gpu else 2 if options.quick else 16),
    }
    for name, make in makers.items():
        recipe = make()
        yield f"{name}, float32", recipe
        yield f"{name}, bfloat16, channels last", replace(recipe, bf16=True, channels_last=True)  # openmix's default


def _bar(row: dict[str, Any]) -> Bar:
    return Bar(
        f"{row['case']}: a step takes at most {MEDIAN} times the bare loop's, the interval's upper end at most {UPPER}",
        spelt(Estimate(row["ratio"], row["low"], row["high"], row["turns"]), ".3f"),
        row["ratio"] <= MEDIAN and row["high"] <= UPPER,
    )
