"""What a CUDA device is wanted for: its tests, ResNet-18 on CIFAR-10, each mixer's share of a step, host syncs.

How long a whole run takes is measured by a whole run, and by nothing shorter: ``openmix train
configs/classification/cifar10/mixups/basic/r18_mixups_CE_none.py --amp bf16`` has ``time_s`` in every record of its
``metrics.jsonl``, whose sum is the 200 epochs' training and validation. Here no GPU has run this part yet.
"""

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

import openmix
from openmix.bench.beside import Beside
from openmix.bench.loaders import PIPELINE
from openmix.bench.measure import Estimate, estimate, ratios
from openmix.bench.mixers import beside_lerp, methods
from openmix.bench.recipe import Recipe
from openmix.bench.report import Bar, Options, Section
from openmix.bench.rows import columns_of, fields_of, rounded, spelt
from openmix.bench.training import cifar_recipe
from openmix.data import Loader, TorchLoader

__all__ = ["CountSyncs", "Workers", "host_syncs", "run", "shares", "suite", "trained"]

BATCHES, TURNS, WARMUP, BLOCK = (100, 512), 25, 3, 20
WORTH = 0.9  # of the bare compiled loop's images/s, at a batch of 100
PATIENCE = 900  # seconds for the tests


@dataclass(frozen=True)
class Workers(Recipe):
    """A recipe whose images come from worker processes."""

    def loader(self) -> Loader:
        """Return openmix's loader with torch's workers, crops and flips made in them."""
        workers = min(8, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 8
        return TorchLoader(self.source, self.batch_size, pipeline=PIPELINE, num_workers=workers, device=self.device)


def run(options: Options) -> Section:
    """Go down the list."""
    options.say("the tests marked gpu")
    rows, bars = suite(Path(openmix.__file__).parents[1], options)
    fast = {"bf16": True, "channels_last": True}
    turns, block = (3, 2) if options.quick else (TURNS, BLOCK)
    for size in BATCHES:
        for compiled in (False, True):
            recipe = replace(cifar_recipe(options, size), compile=compiled, **fast)
            case = f"ResNet-18, batch {size}, bf16, {'compiled' if compiled else 'eager'}"
            options.say(case)
            of_case, ratio = trained(case, recipe, turns, block)
            rows += of_case
            if compiled and size == BATCHES[0]:
                bound = f"{case}: >= {WORTH:.0%} of the bare loop's images/s"
                bars.append(Bar(bound, spelt(ratio, ".3f"), ratio.median >= WORTH))
    recipe = replace(cifar_recipe(options, BATCHES[0]), **fast)
    options.say("each mixer's share of a step")
    rows += shares(recipe, turns, block)
    options.say("host syncs")
    row, bar = host_syncs(recipe)
    columns = {
        "what": "what", "by": "by", **columns_of("images/s", "images_per_s", ",.0f"),
        "x the bare loop's": ("ratio", ".3f"), "ms": ("ms", ".3f"), "share of a step": ("share", ".1%"), "": "note",
    }  # fmt: skip
    how = (
        f"On {options.device}, ResNet-18 on {'CIFAR-10' if options.data else 'random images of its size'}: a real run "
        f"beside a bare loop with the same fused SGD, precision, memory format and compilation, {block} steps a turn. "
        "The torch loader's run has no loop beside it, as its workers would load ahead meanwhile. "
        "A mixer's share is its time over that of a bare step of 100 images without mixing, beside which it was timed. "
        "Host syncs are what CUDA's sync debug mode reports from loading a batch to its last hook."
    )
    return Section("gpu", "On a GPU", how, columns, [*rows, row], [*bars, bar])


def suite(checkout: Path, options: Options) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Run the tests marked ``gpu`` in a process of their own, where there are tests beside the package."""
    if not (checkout / "tests").is_dir():
        return [{"what": "tests marked gpu", "note": "not run: the package is installed without them"}], []
    chosen = ["tests/mixers/test_cuda.py", "-k", "cutmix"] if options.quick else ["tests"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *chosen],
            cwd=checkout, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        outcome, passed = f"not finished after {PATIENCE} s", False
    else:
        lines = (done.stdout or done.stderr).strip().splitlines()
        outcome = re.sub(r"^=+ | =+$", "", lines[-1]) if lines else f"exit code {done.returncode}"
        passed = done.returncode == 0 and bool(re.search(r"\d+ passed", outcome))
    return [{"what": "tests marked gpu", "note": outcome}], [Bar("the tests marked gpu pass", outcome, passed)]


def trained(case: str, recipe: Recipe, turns: int, block: int) -> tuple[list[dict[str, Any]], Estimate]:
    """Return a row for each loader and for the bare loop, and how openmix's speed with the resident one is to its.

    With worker processes nothing takes turns: they would load ahead, on the same cores, while a rival has its own.

    Args:
        case: what the rows are called.
        recipe: what to train.
        turns: how many count.
        block: steps a turn.
    """

    def timed(trained: Recipe, rivals: Sequence[str]) -> dict[str, list[float]]:
        beside = Beside(recipe.rivals(rivals), block, recipe.device)
        trained.train([beside], beside.steps_for(turns + WARMUP))
        return {name: seconds[WARMUP:] for name, seconds in beside.seconds.items()}

    resident, workers = timed(recipe, ["bare"]), timed(Workers(**vars(recipe)), [])
    ratio = estimate(ratios(resident["bare"], resident["openmix"]))
    own = {"by": "openmix, resident loader", **_rate(recipe, resident["openmix"]), **fields_of("ratio", ratio)}
    bare = {"by": "bare loop", **_rate(recipe, resident["bare"])}
    loaded = {"by": "openmix, torch loader", **_rate(recipe, workers["openmix"])}
    return [{"what": case, **row} for row in (own, bare, loaded)], ratio


def _rate(recipe: Recipe, seconds: list[float]) -> dict[str, Any]:
    return fields_of("images_per_s", estimate([recipe.batch_size / s for s in seconds]))


def shares(recipe: Recipe, turns: int, block: int) -> Iterator[dict[str, Any]]:
    """Yield each input mixer's time beside that of a bare step without mixing."""
    step = replace(recipe, alpha=None).rivals(["bare"])["bare"]
    x = torch.rand(recipe.batch_size, *recipe.source.image_shape).to(recipe.device)
    y = torch.randint(recipe.source.num_classes, (recipe.batch_size,)).to(recipe.device)
    for name, mixer in methods().items():
        own, whole = beside_lerp(lambda mixer=mixer: mixer(x, y), step, turns, block, recipe.device)
        share = estimate(ratios(own, whole))
        yield {
            "what": "mixing",
            "by": name,
            "ms": estimate(own).median * 1e3,
            "ms_values": rounded(1e3 * s for s in own),
            **fields_of("share", share),
        }


def host_syncs(recipe: Recipe, warmup: int = 5, steps: int = 20) -> tuple[dict[str, Any], Bar]:
    """Count how often the host waits for the device in ``steps`` steps of a real run, and say where."""
    counted = CountSyncs(warmup, steps)
    try:
        recipe.train([counted], warmup + steps + 2)
    finally:
        counted.close()
    where = ", ".join(sorted({f"{Path(place).name}:{line}" for place, line in counted.places}))
    value = f"{len(counted.places) / steps:g} a step" + (f" ({where})" if where else "")
    return {"what": "host syncs", "note": value}, Bar("0 host syncs a step", value, not counted.places)


class CountSyncs(Hook):
    """Counts what CUDA's sync debug mode warns of, from the first hook of a step to the last hook of a later one.

    Args:
        warmup: steps before, in which things are allocated and compiled.
        steps: how many are watched, loading between them included.

    Attributes:
        places: file and line of each wait.
    """

    priority = "LOWEST"

    def __init__(self, warmup: int, steps: int) -> None:
        self.first, self.last = warmup, warmup + steps - 1
        self.places: list[tuple[str, int]] = []
        self._stack = ExitStack()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Begin to watch at the first step."""
        if runner.iter == self.first:
            self._found = self._stack.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            self._stack.callback(torch.cuda.set_sync_debug_mode, "default")

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """End after the last."""
        if runner.iter == self.last:
            self.close()
            self.places = [(w.filename, w.lineno) for w in self._found if "synchronizing CUDA" in str(w.message)]

    def close(self) -> None:
        """Watch no longer."""
        self._stack.close()
