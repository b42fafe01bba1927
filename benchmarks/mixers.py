"""What mixing costs beside the least that it could cost, ``torch.lerp(x, x[partner], lam)``, and beside its rivals.

Each method is timed as a user calls it, draws included, with one draw a batch and, where it can, one an image; timm's
``Mixup`` and torchvision's v2 ``MixUp`` and ``CutMix`` likewise, soft labels included, as they make them always. Then
``plan.apply`` alone, eager and compiled. Rounds alternate lerp A lerp B lerp C ..., medians of the ratios to the lerp
just before, all in one process.
Large results may or may not be made of fresh pages, by what the process has freed before, and these cost more than the
arithmetic. So the C library is told to keep freed memory (MALLOC_TRIM_THRESHOLD_); ``--memory default`` leaves it
alone, as most programs do, with ratios that are lower and jump by three.
Run: python benchmarks/mixers.py [--device cuda] [--no-compile] [--out docs/benchmarks/mixers.json]
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import device_facts, write_report
from timm.data.mixup import Mixup as TimmMixup
from torchvision.transforms import v2

import openmix
from openmix.mixers.mixer import Mixer

SHAPES = ((128, 3, 32, 32), (64, 3, 224, 224))
CLASSES = 1000
BARS = {"mixup": 1.3, "cutmix": 1.3, "resizemix": 1.3, "gridmix": 1.3, "smoothmix": 2.0, "fmix": 2.0}


KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**32)}


def methods() -> dict[str, Mixer]:
    """Every input method that needs nothing: with its default, and with the other granularity."""
    found = {}
    for name in openmix.list_mixers():
        mixer = openmix.build_mixer(name)
        if mixer.kind == "input" and not mixer.needs and name != "vanilla":
            default = mixer.method.hyper["per_sample"].default
            found[name] = mixer
            found[f"{name}, per_sample={not default}"] = openmix.build_mixer(name, per_sample=not default)
    return found


def rivals() -> dict[str, Callable[..., Any]]:
    timm = {"prob": 1.0, "switch_prob": 0.0, "label_smoothing": 0.0, "num_classes": CLASSES}
    return {
        "timm Mixup": TimmMixup(mixup_alpha=1.0, cutmix_alpha=0.0, **timm),
        "timm CutMix": TimmMixup(mixup_alpha=0.0, cutmix_alpha=1.0, **timm),
        "timm CutMix, mode='elem'": TimmMixup(mixup_alpha=0.0, cutmix_alpha=1.0, mode="elem", **timm),
        "torchvision v2.MixUp": v2.MixUp(num_classes=CLASSES),
        "torchvision v2.CutMix": v2.CutMix(num_classes=CLASSES),
    }


def calls(x: torch.Tensor, y: torch.Tensor) -> dict[str, Callable[[], Any]]:
    partner, lam = torch.randperm(len(x)).to(x.device), torch.rand(len(x), 1, 1, 1).to(x)
    found: dict[str, Callable[[], Any]] = {"torch.lerp": lambda: torch.lerp(x, x[partner], lam)}
    for name, mixer in methods().items():
        found[name] = lambda mixer=mixer: mixer(x, y)
    scratch = x.clone()  # timm's writes into the images that it is given
    for name, rival in rivals().items():
        images = scratch if name.startswith("timm") else x
        found[name] = lambda rival=rival, images=images: rival(images, y)
    return found


def applications(x: torch.Tensor, y: torch.Tensor, compiles: bool) -> dict[str, Callable[[], Any]]:
    partner, lam = torch.randperm(len(x)).to(x.device), torch.rand(len(x), 1, 1, 1).to(x)
    found: dict[str, Callable[[], Any]] = {"torch.lerp": lambda: torch.lerp(x, x[partner], lam)}
    torch._dynamo.config.recompile_limit = 1000  # one function below serves all methods
    for name, mixer in methods().items():
        if "per_sample" in name:
            continue
        plan = mixer(x, y, generator=torch.Generator().manual_seed(0)).plan
        found[f"{name}: apply"] = lambda plan=plan: plan.apply(x)
        if compiles:
            apply = torch.compile(lambda x, plan=plan: plan.apply(x), fullgraph=True)
            apply(x)
            found[f"{name}: apply, compiled"] = lambda apply=apply: apply(x)
    return found


def timed(candidates: dict[str, Callable[[], Any]], rounds: int, repeats: int, device: str, **facts: Any) -> list[dict]:
    """Time each candidate right after lerp, in every round; each once untimed before, as in a loop of its own."""

    def seconds(call: Callable[[], Any]) -> float:
        call()
        began = time.perf_counter()
        for _ in range(repeats):
            call()
        if device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / repeats

    base, *others = candidates.items()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    ratios: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in others:
            lerp = seconds(base[1])
            times[base[0]].append(lerp)
            times[name].append(seconds(call))
            ratios[name].append(times[name][-1] / lerp)
    ratios[base[0]] = [1.0, 1.0]
    rows = []
    for name, values in times.items():
        bar = BARS.get(name) if facts["dtype"] == "float32" and facts["shape"] == str(SHAPES[1]) else None
        row = {
            "name": name,
            **facts,
            "median_s": statistics.median(values),
            "quartiles_s": statistics.quantiles(values, n=4)[::2],
            "ratio_to_lerp": statistics.median(ratios[name]),
            "ratio_quartiles": statistics.quantiles(ratios[name], n=4)[::2],
            "bar": "" if bar is None else f"{bar}",
        }
        rows.append(row)
    return rows


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
    for shape in reversed(SHAPES):
        repeats = 1 if shape == SHAPES[1] else 20
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.rand(shape).to(arguments.device, dtype)
            y = torch.randint(CLASSES, shape[:1]).to(arguments.device)
            facts = {"shape": str(shape), "dtype": str(dtype).removeprefix("torch.")}
            rows += timed(calls(x, y), arguments.rounds, repeats, arguments.device, **facts)
            if dtype == torch.float32:
                alone = applications(x, y, arguments.compiles)
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
