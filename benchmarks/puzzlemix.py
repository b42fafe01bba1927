"""What Puzzle Mix costs after its saliency, beside the same algorithm as it is usually written.

The rival is benchmarks/puzzlemix_rival.py. Both do mask, transport and paste, with their draws, for each grid size: by
the authors' recipe for CIFAR at 32 pixels, and by the one for ImageNet at 224. The third candidate is openmix with
gco's masks, which tells what of the difference is the solver's. Images are CIFAR-10's and saliency the gradient of a
small network trained on it; at 224 pixels both are enlarged. Candidates take turns, each once untimed before; ratios
are medians of those of one turn. The C library is told to keep freed memory, as in benchmarks/mixers.py.
Run: python benchmarks/puzzlemix.py [--rounds 11] [--out docs/benchmarks/puzzlemix.json]
Needs gco-wrapper, and the images that tests/ops/grid_instances.py reads.
"""

import argparse
import os
import runpy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from common import device_facts, write_report
from mixers import KEEP_MEMORY
from puzzlemix_rival import rival
from torch import Tensor
from torch.nn import functional as F

from openmix.mixers import puzzlemix
from openmix.ops.grid_energy import GridEnergy, GridSolution

INSTANCES = runpy.run_path(str(Path(__file__).parents[1] / "tests/ops/grid_instances.py"))
GRIDS = (2, 4, 8, 16)
COMMON = {"n_labels": 3, "gamma": 0.5, "eta": 0.2, "t_eps": 0.8}
RECIPES = {
    (128, 32): {"beta": 1.2, "neigh": 4, "t_size": 4, **COMMON},
    (64, 224): {"beta": 1.5, "neigh": 2, "t_size": None, **COMMON},
}
BARS = {(128, 32): 1.0, (64, 224): 0.5}
CANDIDATES = ("the rival", "openmix", "openmix, masks by gco")


def minimise_by_gco(energy: GridEnergy) -> GridSolution:
    labels = INSTANCES["gco_swap"](INSTANCES["gco_inputs"](energy))
    found = energy.of(labels)
    return GridSolution(labels, found, torch.zeros_like(found))


def calls(x: Tensor, saliency: Tensor, n: int, recipe: dict[str, Any]) -> list[Callable[[], Any]]:
    labels = torch.arange(len(x))

    def ours() -> Any:
        return puzzlemix(x, labels, saliency=saliency, block_nums=(n,), **recipe)

    def cut() -> Any:
        with mock.patch.object(sys.modules["openmix.mixers.puzzlemix"], "minimise", minimise_by_gco):
            return ours()

    return [lambda: rival(x, saliency, n, **recipe), ours, cut]


def turns(candidates: list[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Seconds of each candidate in each round, one that does not count before."""
    seconds = []
    for _ in range(rounds + 1):
        seconds.append([])
        for call in candidates:
            began = time.perf_counter()
            call()
            seconds[-1].append(time.perf_counter() - began)
    return seconds[1:]


def rows_of(seconds: list[list[float]], **facts: Any) -> list[dict[str, Any]]:
    rows = []
    for name, own in zip(CANDIDATES, zip(*seconds, strict=True), strict=True):
        ratios = [t / turn[0] for t, turn in zip(own, seconds, strict=True)]
        rows.append({
            "name": name,
            **facts,
            "median_s": statistics.median(own),
            "quartiles_s": statistics.quantiles(own, n=4)[::2],
            "ratio": statistics.median(ratios),
            "ratio_quartiles": statistics.quantiles(ratios, n=4)[::2],
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/puzzlemix.json"))
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    if not KEEP_MEMORY.items() <= os.environ.items():  # the C library reads it when a program starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_MEMORY})
    torch.manual_seed(0)
    images, gradients = INSTANCES["_images_and_gradients"]()
    rows = []
    for (batch, side), recipe in RECIPES.items():
        x, saliency = images[:batch], gradients[:batch]
        if side != x.shape[2]:
            x, saliency = (F.interpolate(t, size=(side, side), mode="bilinear") for t in (x, saliency[:, None]))
            saliency = saliency[:, 0]
        shape = str((batch, 3, side, side))
        whole = [[0.0] * len(CANDIDATES) for _ in range(arguments.rounds)]
        for n in GRIDS:
            seconds = turns(calls(x.contiguous(), saliency.contiguous(), n, recipe), arguments.rounds)
            rows += rows_of(seconds, shape=shape, n=n, bar="")
            whole = [
                [a + b / len(GRIDS) for a, b in zip(*pair, strict=True)] for pair in zip(whole, seconds, strict=True)
            ]
        mean = rows_of(whole, shape=shape, n="mean", bar="")
        mean[1]["bar"] = f"{BARS[batch, side]}"
        rows += mean
    facts = {**device_facts(), "bar": "x rival, averaged over the grid sizes, after the saliency pass"}
    columns = {
        "images": "shape",
        "blocks a side": "n",
        "what": "name",
        "median (ms)": ("median_s", 1e3, ".2f"),
        "quartiles (ms)": ("quartiles_s", 1e3, ".2f"),
        "x rival": ("ratio", 1, ".3f"),
        "x rival, quartiles": ("ratio_quartiles", 1, ".3f"),
        "bar": "bar",
    }
    write_report(arguments.out, "Puzzle Mix after its saliency pass", facts, rows, columns)


if __name__ == "__main__":
    main()
