"""How long `openmix table` takes to read a thousand runs of 200 epochs, from its start to its last line.

The runs are made up: 200 validation and 2,000 training records each. Run: python benchmarks/tables.py
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import device_facts, interleaved, write_report
from rich.progress import track

EPOCHS, METHODS, SEEDS = 200, ("vanilla", "mixup", "cutmix", "resizemix", "fmix"), 5


def make_run(folder: Path, number: int) -> None:
    """Write one work dir; runs differ in method, seed and learning rate."""
    study, seed = divmod(number, SEEDS)
    setting, method = divmod(study, len(METHODS))
    config = {
        "model": {
            "type": "MixUpClassification", "backbone": {"type": "ResNet_CIFAR", "depth": 18},
            "head": {"type": "ClsMixupHead", "num_classes": 10}, "mix_mode": METHODS[method],
        },
        "train_dataloader": {"type": "ResidentLoader", "dataset": {"type": "CIFAR10"}, "batch_size": 100},
        "val_dataloader": {"type": "ResidentLoader", "batch_size": 500, "dataset": {"type": "CIFAR10"}},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1 / (1 + setting), "momentum": 0.9}},
        "train_cfg": {"max_epochs": EPOCHS},
        "randomness": {"seed": seed},
    }  # fmt: skip
    folder.mkdir()
    (folder / "config.py").write_text("".join(f"{key} = {value!r}\n" for key, value in config.items()))
    (folder / "run.json").write_text(json.dumps({"seed": seed, "status": "done", "world_size": 1, "threads": 1}))
    train = {"split": "train", "lr": 0.1, "loss": 1.234567890123, "top1_dominant": 45.6, "images_per_s": 2711.123456789}
    val = {"split": "val", "top5": 99.5, "nll": 0.31234567890123, "ece": 0.0312345678901, "n": 10000, "time_s": 2.54321}
    lines = []
    for epoch in range(1, EPOCHS + 1):
        steps = range(500 * epoch - 450, 500 * epoch + 1, 50)
        lines += [{**train, "epoch": epoch, "step": step, "time_s": step / 7} for step in steps]
        lines.append(
            {**val, "epoch": epoch, "step": 500 * epoch, "top1": 95 - 40 / epoch + (number * epoch % 17) / 100}
        )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/tables.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in track(range(arguments.runs), "making runs"):
            make_run(Path(folder) / f"{number:04}", number)

        def table(*options: str) -> None:
            command = [sys.executable, "-m", "openmix", "table", folder, *options]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            assert "mixup" in done.stdout

        rows = interleaved({"text": table, "CSV": lambda: table("--format", "csv")}, arguments.rounds)
    columns = {"format": "name", "seconds": ("median_s", 1, ".2f"), "quartiles": ("quartiles_s", 1, ".2f")}
    facts = {**device_facts(), "threads": 1, "runs": arguments.runs, "epochs": EPOCHS, "training records an epoch": 10}
    write_report(
        arguments.out, "The table of a thousand runs, from the command's start to its end", facts, rows, columns
    )


if __name__ == "__main__":
    main()
