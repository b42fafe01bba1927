"""Puzzle Mix's grid energies: what openmix's solver finds, and how soon, beside gco's alpha-beta swaps.

2,000 energies a size: of noise, and of CIFAR-10's images with the gradients of a small network that is trained for 60
steps first, a lam each. gco is given whole numbers, as the authors' code does, but finer ones; both energies are taken
of the labels, in floating point. A gap is closed where the energy is proven to be within 1e-6 (grids that are solved
exactly) or 1e-4 of the minimum. Times are for 128 energies, new ones each round, gco's without what turns tensors into
its arrays. Rounds alternate openmix, gco, openmix, gco ...
Run: python benchmarks/grid_energy.py [--threads 1] [--count 2000] [--out docs/benchmarks/grid_energy.json]
"""

import argparse
import runpy
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from common import device_facts, interleaved, write_report

from openmix.ops.grid_energy import GridEnergy
from openmix.ops.grid_solver import minimise

INSTANCES = runpy.run_path(str(Path(__file__).parents[1] / "tests/ops/grid_instances.py"))
SIZES, LABELS, BATCH = (2, 4, 8, 16), (2, 3, 4), 128
SAME = 1e-6  # relative; rounding


def quality(energy: GridEnergy, exact: bool) -> dict[str, Any]:
    """What is found, beside gco."""
    batches = [energy.take(slice(i, i + BATCH)) for i in range(0, len(energy.unary), BATCH)]
    found = [minimise(batch) for batch in batches]
    least = torch.cat([solution.energy for solution in found]).double()
    gap = torch.cat([solution.gap for solution in found]).double() / least.abs()
    cut = energy.of(INSTANCES["gco_swap"](INSTANCES["gco_inputs"](energy))).double()
    difference = (least - cut) / cut.abs()
    return {
        "closed": float((gap <= (1e-6 if exact else 1e-4) * 1.0001).double().mean()),
        "largest_gap": float(gap.max()),
        "below": float((difference < -SAME).double().mean()),
        "above": float((difference > SAME).double().mean()),
        "mean_difference": float(difference.mean()),
        "worst_difference": float(difference.max()),
    }


def times(energy: GridEnergy, rounds: int) -> dict[str, Any]:
    """How long 128 take, in turns."""
    count = min(rounds + 1, len(energy.unary) // BATCH)
    batches = [energy.take(slice(i * BATCH, (i + 1) * BATCH)) for i in range(count)]

    def each(run: Callable[[Any], Any], inputs: list[Any]) -> Callable[[], Any]:
        turn = cycle(inputs)
        return lambda: run(next(turn))

    candidates = {
        "openmix": each(minimise, batches),
        "gco": each(INSTANCES["gco_swap"], [INSTANCES["gco_inputs"](batch) for batch in batches]),
    }
    seconds = {row["name"]: row for row in interleaved(candidates, rounds)}
    ours, theirs = seconds["openmix"], seconds["gco"]
    return {
        "median_s": ours["median_s"],
        "quartiles_s": ours["quartiles_s"],
        "gco_median_s": theirs["median_s"],
        "ratio": ours["median_s"] / theirs["median_s"],
    }


def mean_over_sizes(rows: list[dict[str, Any]], kind: str, n_labels: int) -> dict[str, Any]:
    """Puzzle Mix draws one of the four sizes a batch: their mean."""
    of = [row for row in rows if (row["kind"], row["labels"]) == (kind, n_labels)]
    mean = {key: sum(row[key] for row in of) / len(of) for key in of[0] if isinstance(of[0][key], float)}
    quartiles = [sum(row["quartiles_s"][i] for row in of) / len(of) for i in (0, 1)]
    extremes = {key: max(row[key] for row in of) for key in ("largest_gap", "worst_difference")}
    ratio = mean["median_s"] / mean["gco_median_s"]
    return {**of[0], **mean, **extremes, "quartiles_s": quartiles, "ratio": ratio, "size": "mean"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/grid_energy.json"))
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: list[dict[str, Any]] = []
    for kind, make in (("images", INSTANCES["real_puzzle"]), ("noise", INSTANCES["random_puzzle"])):
        for n in SIZES:
            for n_labels in LABELS:
                energy = make(arguments.count, n, n_labels, seed=1)
                exact = n_labels**n <= 3**8
                row = {"kind": kind, "size": str(n), "labels": n_labels, **quality(energy, exact)}
                rows.append({**row, **times(energy, arguments.rounds)})
                print(rows[-1])
    rows += [mean_over_sizes(rows, kind, n_labels) for kind in ("images", "noise") for n_labels in LABELS]
    columns = {
        "energies of": "kind",
        "n": "size",
        "labels": "labels",
        "gaps closed (%)": ("closed", 100, ".2f"),
        "largest gap": ("largest_gap", 1, ".1e"),
        "below gco (%)": ("below", 100, ".1f"),
        "above gco (%)": ("above", 100, ".2f"),
        "mean difference": ("mean_difference", 1, ".1e"),
        "worst": ("worst_difference", 1, ".1e"),
        "ms for 128": ("median_s", 1e3, ".2f"),
        "quartiles": ("quartiles_s", 1e3, ".2f"),
        "gco's ms": ("gco_median_s", 1e3, ".2f"),
        "x gco": ("ratio", 1, ".2f"),
    }
    facts = {
        **device_facts(),
        "energies": f"{arguments.count} a size, Puzzle Mix's with beta 1.2, gamma 0.5, eta 0.2",
        "gaps and differences": f"relative to the energy; equal to gco is within {SAME:g}",
    }
    write_report(arguments.out, "Puzzle Mix's grid energies beside gco", facts, rows, columns)


if __name__ == "__main__":
    main()
