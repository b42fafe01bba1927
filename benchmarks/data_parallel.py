"""How much of two runs' speed is left when two processes train one run together, on CPUs.

Two processes of one thread each, started by tools/dist_train.sh, beside two independent runs of one thread that are
started at the same time: images/s of the former, and the sum of the latter's. A B A B ..., each anew; a figure is that
of a run's records but for the first, which has the start, and the ratios are of neighbours. Random CIFAR-10-sized
images in memory, augmented and mixed as in the configs; nothing is validated. Run: python benchmarks/data_parallel.py
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import device_facts, write_report
from rich.progress import track

BASIC = Path("configs/classification/cifar10/mixups/basic").resolve()
# of each network: config, images of a micro-batch (the recipe's), steps
NETWORKS = {
    "ConvNet": (BASIC / "convnet_mixups_CE_none.py", 100, 90),
    "ResNet-18": (BASIC / "r18_mixups_CE_none.py", 100, 7),
}
RECORDS = 6  # of each run


def write_config(folder: Path, base: Path, batch_size: int, steps: int) -> Path:
    """Write a config of a few steps on random images, and return it."""
    length = 2 * batch_size * steps  # one epoch at most: nothing is saved before the end
    images = {"type": "Synthetic", "num_classes": 10, "image_shape": [3, 32, 32], "length": length}
    changes = {
        "train_dataloader": {"batch_size": batch_size, "dataset": {"_delete_": True, **images}},
        "val_dataloader": None,
        "train_cfg": {"_delete_": True, "max_iters": steps},
        "default_hooks": {"logger": {"interval": steps // RECORDS}},
        "vis_backends": [],
    }
    path = folder / f"{base.stem}.py"
    path.write_text(f"_base_ = {str(base)!r}\n" + "".join(f"{key} = {value!r}\n" for key, value in changes.items()))
    return path


def run_together(commands: Sequence[Sequence[str]], work_dirs: Sequence[Path]) -> float:
    """Run commands at the same time and return their images/s, added up."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable}
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    for process, command in zip(processes, commands, strict=True):
        output = process.communicate()[0]
        if process.returncode:
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{output}")
    return sum(images_per_s(work_dir) for work_dir in work_dirs)


def images_per_s(work_dir: Path) -> float:
    """Return a run's speed over all of its records but the first."""
    records = [json.loads(line) for line in (work_dir / "metrics.jsonl").read_text().splitlines()][1:]
    images = sum(record["images_per_s"] * record["time_s"] for record in records)
    return images / sum(record["time_s"] for record in records)


def together(config: Path, folder: Path) -> float:
    """Return the speed of two processes that train one run."""
    work_dir = folder / "together"
    return run_together([["bash", "tools/dist_train.sh", str(config), "2", "--work-dir", str(work_dir)]], [work_dir])


def apart(config: Path, folder: Path) -> float:
    """Return the speed of two processes that train a run each."""
    work_dirs = [folder / name for name in ("first", "second")]
    start = [sys.executable, "tools/train.py", str(config)]
    return run_together([[*start, "--work-dir", str(work_dir)] for work_dir in work_dirs], work_dirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/data_parallel.json"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    arguments = parser.parse_args()
    speeds = {name: {"apart": [], "together": []} for name in arguments.networks}
    with tempfile.TemporaryDirectory() as temporary:
        for number in track(range(arguments.rounds), "rounds"):
            for name, speed in speeds.items():
                folder = Path(temporary) / f"{name}_{number}"
                folder.mkdir()
                config = write_config(folder, *NETWORKS[name])
                speed["apart"].append(apart(config, folder))
                speed["together"].append(together(config, folder))
    rows = []
    for name, speed in speeds.items():
        ratios = [b / a for a, b in zip(speed["apart"], speed["together"], strict=True)]
        medians = {key: statistics.median(values) for key, values in speed.items()}
        rows.append(
            {"name": name, **medians, "ratio": statistics.median(ratios), "ratios": [min(ratios), max(ratios)]}
            | {"batch_size": NETWORKS[name][1], "rounds": arguments.rounds}
        )
    columns = {
        "network": "name",
        "images a process and step": "batch_size",
        "two runs, summed (images/s)": ("apart", 1, ",.0f"),
        "two processes of one run (images/s)": ("together", 1, ",.0f"),
        "ratio, median": ("ratio", 1, ".3f"),
        "least .. greatest": ("ratios", 1, ".3f"),
        "rounds": "rounds",
    }
    facts = {**device_facts(), "threads": "1 a process"}
    write_report(arguments.out, "Two processes of one run beside two runs", facts, rows, columns)


if __name__ == "__main__":
    main()
