"""What mixing costs, at length: more than ``openmix bench mixers``, both types, one draw a batch and one an image.

Then ``plan.apply`` alone, eager and compiled. Rounds alternate lerp A lerp A ..., medians of the ratios to the lerp
beside. openmix/bench/mixers.py says why the C library is told to keep freed memory; ``--memory default`` leaves it
alone, as most programs do, with ratios that are lower and jump by three.
Run: python benchmarks/mixers.py [--device cuda] [--no-compile] [--out docs/benchmarks/mixers.json]
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import device_facts, write_report

import openmix
from openmix.bench.measure import ratios
from openmix.bench.mixers import BARS, CLASSES, KEEP_MEMORY, SHAPES, beside_lerp, calls, lerp, methods
from openmix.mixers.mixer import Mixer

LARGE = (64, 3, 224, 224)


def both_granularities() -> dict[str, Mixer]:
    """Every input method that needs nothing: with its default, and with the other granularity."""
    found = {}
    for name, mixer in methods().items():
        default = mixer.method.hyper["per_sample"].default
        found[name] = mixer
        found[f"{name}, per_sample={not default}"] = openmix.build_mixer(name, per_sample=not default)
    return found


def applications(x: torch.Tensor, y: torch.Tensor, compiles: bool) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {}
    torch._dynamo.config.recompile_limit = 1000  # one function below serves all methods
    for name, mixer in methods().items():
        plan = mixer(x, y, generator=torch.Generator().manual_seed(0)).plan
        found[f"{name}: apply"] = lambda plan=plan: plan.apply(x)
        if compiles:
            apply = torch.compile(lambda x, plan=plan: plan.apply(x), fullgraph=True)
            apply(x)
            found[f"{name}: apply, compiled"] = lambda apply=apply: apply(x)
    return found


def timed(candidates: dict[str, Callable[[], Any]], rounds: int, repeats: int, device: str, **facts: Any) -> list[dict]:
    """Time each candidate in turns with the first, the lerp, which has the first row."""
    (base, least), *others = candidates.items()
    measured = {name: beside_lerp(call, least, rounds, repeats, torch.device(device)) for name, call in others}
    rows = [row_of(base, [s for _, lerps in measured.values() for s in lerps], [1.0, 1.0], facts)]
    return rows + [row_of(name, own, ratios(own, lerps), facts) for name, (own, lerps) in measured.items()]


def row_of(name: str, seconds: list[float], to_lerp: list[float], facts: dict[str, Any]) -> dict[str, Any]:
    bar = BARS.get(name) if facts["dtype"] == "float32" and facts["shape"] == str(LARGE) else None
    return {
        "name": name,
        **facts,
        "median_s": statistics.median(seconds),
        "quartiles_s": statistics.quantiles(seconds, n=4)[::2],
        "ratio_to_lerp": statistics.median(to_lerp),
        "ratio_quartiles": statistics.quantiles(to_lerp, n=4)[::2],
        "bar": "" if bar is None else f"{bar}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/mixers.json"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-compile", dest="compiles", action="store_false")
    parser.add_argument("--memory", choices=("kept", "default"), default="kept")
    arguments = parser.parse_args()
    if arguments.memory == "kept" and not KEEP_MEMORY.items() <= os.environ.items():
        # the C library reads it when a program starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_MEMORY})
    rows = []
    for shape, repeats in reversed(SHAPES.items()):
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.rand(shape).to(arguments.device, dtype)
            y = torch.randint(CLASSES, shape[:1]).to(arguments.device)
            facts = {"shape": str(shape), "dtype": str(dtype).removeprefix("torch.")}
            base = {"torch.lerp": lerp(x)}
            mixed = base | calls(x, y, both_granularities())
            rows += timed(mixed, arguments.rounds, repeats, arguments.device, **facts)
            if dtype == torch.float32:
                alone = base | applications(x, y, arguments.compiles)
                rows += timed(alone, arguments.rounds, repeats, arguments.device, **facts)[1:]
    facts = {
        **device_facts(),
        "on": arguments.device,
        "bar": "x lerp, at 64 x 3 x 224 x 224 in float32, draws included",
    }
    columns = {
        "images": "shape",
        "type": "dtype",
        "what": "name",
        "median (ms)": ("median_s", 1e3, ".3f"),
        "quartiles (ms)": ("quartiles_s", 1e3, ".3f"),
        "x lerp": ("ratio_to_lerp", 1, ".2f"),
        "x lerp, quartiles": ("ratio_quartiles", 1, ".2f"),
        "bar": "bar",
    }
    write_report(arguments.out, f"The cost of mixing (memory: {arguments.memory})", facts, rows, columns)


if __name__ == "__main__":
    main()
