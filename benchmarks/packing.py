"""What it gains to run several small runs of a study at a time on one device: `openmix grid run --per-gpu`, `--slots`.

The same runs through the queue once per way, in turn, each pass in a study of its own, from the queue's start to its
end. On GPUs every way is --gpus 0 with --per-gpu 1, 2, 4; without one it is --slots 1 (all cores for one run) and one
slot a core. Random images of CIFAR-10's size, in memory. Run: python benchmarks/packing.py
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from common import device_facts, interleaved, write_report

BASE = Path("configs/classification/cifar10/mixups/basic/convnet_mixups_CE_none.py").resolve()


def make_study(folder: Path, runs: int, steps: int) -> Path:
    """Lay out a study of ``runs`` seeds, and return its folder."""
    images = {"type": "Synthetic", "num_classes": 10, "image_shape": [3, 32, 32], "length": 100 * steps}
    changes = {
        "train_dataloader": {"dataset": {"_delete_": True, **images}},
        "val_dataloader": None,
        "train_cfg": {"max_epochs": 1},
        "vis_backends": [],
    }
    base = folder / "base.py"
    base.write_text(f"_base_ = {str(BASE)!r}\n" + "".join(f"{key} = {value!r}\n" for key, value in changes.items()))
    study, seeds = folder / "study", [str(seed) for seed in range(runs)]
    run_openmix("grid", "make", str(base), "--seed", *seeds, "--out", str(study))
    return study


def run_openmix(*arguments: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, "-m", "openmix", *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/packing.json"))
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if torch.cuda.is_available():
        ways = {f"--gpus 0 --per-gpu {n}": ("--gpus", "0", "--per-gpu", str(n)) for n in (1, 2, 4)}
    else:
        ways = {f"--slots {n}": ("--slots", str(n)) for n in (1, torch.multiprocessing.cpu_count())}
    with tempfile.TemporaryDirectory() as temporary:
        study = make_study(Path(temporary), arguments.runs, arguments.steps)

        def run(options: tuple[str, ...]) -> None:
            for left in ("runs", "queue"):
                shutil.rmtree(study / left, ignore_errors=True)
            run_openmix("grid", "run", str(study), *options)

        rows = interleaved({way: lambda o=options: run(o) for way, options in ways.items()}, arguments.rounds)
    for row in rows:
        row["runs_an_hour"] = 3600 * arguments.runs / row["median_s"]
        row["gain"] = rows[0]["median_s"] / row["median_s"]
    columns = {
        "openmix grid run": "name", "seconds": ("median_s", 1, ".1f"), "quartiles": ("quartiles_s", 1, ".1f"),
        "runs an hour": ("runs_an_hour", 1, ".0f"), "gain": ("gain", 1, ".2f"),
    }  # fmt: skip
    facts = {**device_facts(), "runs": arguments.runs, "steps of 100 images each": arguments.steps}
    write_report(arguments.out, "Several runs of a study at a time on one device", facts, rows, columns)


if __name__ == "__main__":
    main()
