"""One epoch of CIFAR-10 with every method, a row each: that all of them train, and what a small network makes of it.

Each row is a config of configs/classification/cifar10/mixups/basic trained by tools/train.py for one epoch, seed 0, on
one thread. One epoch of one seed ranks nothing: methods that make the task harder start slower.
Run: python benchmarks/cifar10_one_epoch.py [CONFIG ...] [--out docs/benchmarks/cifar10_one_epoch.json]
A second run adds to the rows of the first and replaces those of the configs that it names.
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

BASIC = Path("configs/classification/cifar10/mixups/basic")


def one_epoch(config: Path) -> dict:
    with tempfile.TemporaryDirectory() as work_dir:
        command = [sys.executable, "tools/train.py", str(config), "--work-dir", work_dir]
        command += ["--cfg-options", "train_cfg.max_epochs=1", "vis_backends=[]"]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{config}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        records = [json.loads(line) for line in (Path(work_dir) / "metrics.jsonl").read_text().splitlines()]
    train = [record for record in records if record["split"] == "train"]
    val = next(record for record in records if record["split"] == "val")
    return {
        "name": config.stem,
        "top1": val["top1"],
        "nll": val["nll"],
        "first_loss": train[0]["loss"],
        "last_loss": train[-1]["loss"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", type=Path, default=sorted(BASIC.glob("convnet_*.py")))
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/cifar10_one_epoch.json"))
    arguments = parser.parse_args()
    rows = {row["name"]: row for row in json.loads(arguments.out.read_text())["rows"]} if arguments.out.exists() else {}
    columns = {
        "config": "name",
        "top-1 (%)": ("top1", 1, ".2f"),
        "nll": ("nll", 1, ".3f"),
        "training loss, steps 1-100": ("first_loss", 1, ".3f"),
        "steps 401-500": ("last_loss", 1, ".3f"),
    }
    facts = {**device_facts(), "threads": 1, "epochs": 1, "seed": 0, "test images": 10000}
    for config in track(arguments.configs, "one epoch each"):
        rows[config.stem] = one_epoch(config)
        ordered = [rows[name] for name in sorted(rows)]
        write_report(arguments.out, "One epoch of CIFAR-10 with each method", facts, ordered, columns)


if __name__ == "__main__":
    main()
