"""One epoch of CIFAR-10 with every method, a row each: that all of them train, and what a small network makes of it.

Each row is a config of configs/classification/cifar10 for a small network, trained by tools/dist_train.sh for one
epoch, seed 0, on one process of one thread; with ``--two`` on two processes, which take half as many steps of twice the
images, beside what is there of one.
One epoch of one seed ranks nothing: methods that make the task harder start slower.
Run: python benchmarks/cifar10_one_epoch.py [CONFIG ...] [--two] [--out docs/benchmarks/cifar10_one_epoch.json]
A second run adds to the rows of the first and replaces those of the configs that it names. Every run is recorded beside
the table in cifar10.csv, with the commit that it was made with.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import device_facts, write_report
from rich.progress import track

from openmix.results.benchmarks import record_runs

RUNS = "a row a run, each with its own commit"
CIFAR10 = Path("configs/classification/cifar10")
FOLDERS = [CIFAR10 / name for name in ("mixups/basic", "automix", "samix", "adautomix")]


def trained(config: Path, processes: int, records_in: Path) -> dict:
    with tempfile.TemporaryDirectory() as work_dir:
        command = ["bash", "tools/dist_train.sh", str(config), str(processes), "--work-dir", work_dir]
        command += ["--cfg-options", "train_cfg.max_epochs=1", "vis_backends=[]"]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{config}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        record_runs([Path(work_dir)], records_in)
        records = [json.loads(line) for line in (Path(work_dir) / "metrics.jsonl").read_text().splitlines()]
    train = [record for record in records if record["split"] == "train"]
    val = next(record for record in records if record["split"] == "val")
    return {
        "top1": val["top1"],
        "nll": val["nll"],
        "first_loss": train[0]["loss"],
        "last_loss": train[-1]["loss"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    every = sorted(p for f in FOLDERS for kind in ("convnet_*.py", "vit_micro_*.py") for p in f.glob(kind))
    parser.add_argument("configs", nargs="*", type=Path, default=every)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/cifar10_one_epoch.json"))
    parser.add_argument("--two", action="store_true")
    arguments = parser.parse_args()
    before = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    rows = {row["name"]: {"top1_of_two": "", **row} for row in before}
    columns = {
        "config": "name",
        "top-1 (%)": ("top1", 1, ".2f"),
        "nll": ("nll", 1, ".3f"),
        "training loss, steps 1-100": ("first_loss", 1, ".3f"),
        "steps 401-500": ("last_loss", 1, ".3f"),
        "top-1 of two processes (%)": "top1_of_two",
    }
    facts = {**device_facts(), "threads": 1, "epochs": 1, "seed": 0, "test images": 10000, RUNS: "cifar10.csv"}
    for config in track(arguments.configs, "one epoch each"):
        if arguments.two:
            rows[config.stem]["top1_of_two"] = f"{trained(config, 2, arguments.out.parent)['top1']:.2f}"
        else:
            rows[config.stem] = {"name": config.stem, "top1_of_two": "", **trained(config, 1, arguments.out.parent)}
        ordered = [rows[name] for name in sorted(rows)]
        write_report(arguments.out, "One epoch of CIFAR-10 with each method", facts, ordered, columns)


if __name__ == "__main__":
    main()
