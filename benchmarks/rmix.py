"""What R-Mix costs after its saliency pass, beside the least that mixing could: ``torch.lerp(x, x[partner], lam)``.

Timed as benchmarks/mixers.py times the methods that need nothing: lerp A lerp B ..., medians of the ratios to the lerp
just before, draws included, in one process, the C library told to keep freed memory. The saliency map is at hand.
Run: python benchmarks/rmix.py [--device cuda] [--out docs/benchmarks/rmix.json]
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import device_facts, write_report
from mixers import KEEP_MEMORY, SHAPES, timed

import openmix
from openmix.mixers.rmix import draw_rmix, plan_rmix

BAR = 3.0


def calls(x: torch.Tensor, y: torch.Tensor, saliency: torch.Tensor) -> dict[str, Callable[[], Any]]:
    size = (x.shape[2], x.shape[3])
    partner, lam = torch.randperm(len(x)).to(x.device), torch.rand(len(x), 1, 1, 1).to(x)
    tau = torch.rand(len(x))
    found: dict[str, Callable[[], Any]] = {"torch.lerp": lambda: torch.lerp(x, x[partner], lam)}
    for grid in (2, 4):
        mixer = openmix.build_mixer("rmix", patches=(grid,))
        found[f"rmix, {grid} patches a side"] = lambda mixer=mixer: mixer(x, y, saliency=saliency)
    found["rmix, its draws"] = lambda: draw_rmix(len(x), size, generator=None)
    found["rmix, its plan"] = lambda: plan_rmix(saliency, tau, torch.rand(1), partner, 4, size)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/rmix.json"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=31)
    arguments = parser.parse_args()
    if not KEEP_MEMORY.items() <= os.environ.items():  # the C library reads it when a program starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_MEMORY})
    rows = []
    for shape, repeats in SHAPES.items():
        x = torch.rand(shape).to(arguments.device)
        y = torch.randint(1000, shape[:1]).to(arguments.device)
        saliency = torch.rand(shape[0], *shape[2:]).to(arguments.device)
        rows += timed(
            calls(x, y, saliency), arguments.rounds, repeats, arguments.device, shape=str(shape), dtype="float32"
        )
    for row in rows:
        row["bar"] = f"{BAR}" if "patches" in row["name"] else ""
    facts = {**device_facts(), "on": arguments.device, "bar": "x lerp, draws included, saliency pass not"}
    columns = {
        "images": "shape",
        "what": "name",
        "median (ms)": ("median_s", 1e3, ".3f"),
        "quartiles (ms)": ("quartiles_s", 1e3, ".3f"),
        "x lerp": ("ratio_to_lerp", 1, ".2f"),
        "x lerp, quartiles": ("ratio_quartiles", 1, ".2f"),
        "bar": "bar",
    }
    write_report(arguments.out, "The cost of R-Mix after its saliency pass", facts, rows, columns)


if __name__ == "__main__":
    main()
