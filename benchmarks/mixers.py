"""What mixing costs beside the least that it could cost: ``torch.lerp(x, x[partner], lam)`` on the same batch.

Run: python benchmarks/mixers.py [--out docs/benchmarks/mixers.json]. Rounds alternate A B C ... A B C; medians.
"""

import argparse
from pathlib import Path

import torch
from common import device_facts, interleaved, write_report

import openmix

SHAPE = (64, 3, 224, 224)
BAR = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/mixers.json"))
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    x = torch.rand(SHAPE)
    y = torch.randint(1000, (SHAPE[0],))
    partner, lam = torch.randperm(SHAPE[0]), torch.rand(SHAPE[0], 1, 1, 1)
    candidates = {"torch.lerp(x, x[partner], lam)": lambda: torch.lerp(x, x[partner], lam)}
    for name in openmix.list_mixers():
        mixer = openmix.build_mixer(name)
        if mixer.kind == "input" and not mixer.needs and name != "vanilla":
            candidates[f"{name}, one draw a batch"] = lambda mixer=mixer: mixer(x, y)
            if "per_sample" in mixer.method.hyper:
                each = openmix.build_mixer(name, per_sample=True)
                candidates[f"{name}, per_sample=True"] = lambda each=each: each(x, y)
    rows = interleaved(candidates, arguments.rounds)
    base = rows[0]["median_s"]
    for row in rows:
        row["ratio_to_lerp"] = row["median_s"] / base
    facts = {**device_facts(), "shape": SHAPE, "bar": f"mixup and cutmix at most {BAR} x lerp"}
    columns = {"what": "name", "median (ms)": ("median_s", 1e3, ".1f"), "quartiles (ms)": ("quartiles_s", 1e3, ".1f"),
               "x lerp": ("ratio_to_lerp", 1, ".2f")}  # fmt: skip
    write_report(arguments.out, "Mixing 64 images of 3 x 224 x 224", facts, rows, columns)


if __name__ == "__main__":
    main()
