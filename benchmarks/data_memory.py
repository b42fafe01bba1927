"""Whether loaders of encoded images keep their memory over many epochs.

    python benchmarks/data_memory.py --photos FOLDER --out docs/benchmarks/data_memory.json

FOLDER holds JPEGs. Each loader runs in a process of its own, which notes after every epoch what it and its workers hold
that no other process shares (the sum of their unique set sizes).
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import device_facts, write_report

EPOCHS, REPEATS = 20, 10  # epochs that are noted; how often an epoch goes through the photos
LOADERS = {
    "TorchLoader, files": "TorchLoader",
    "TorchLoader, files, 2 workers": "TorchLoader workers",
    "TorchLoader, RecordIO": "TorchLoader records",
    "DaliLoader, files": "DaliLoader",
    "DaliLoader, RecordIO, 1 worker": "DaliLoader records workers",
}


def unique_memory() -> float:
    """Return the megabytes that this process and its children alone hold."""
    processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    total = 0
    for process in processes:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += int(line.split()[1])
    return total / 1024


def run(kind: str, root: str) -> None:
    """Print the megabytes after each epoch."""
    import torch
    from torchvision.transforms import v2

    from openmix.data import DaliLoader, ImageFolder, RecordIO, TorchLoader

    torch.set_num_threads(1)
    loader_type = DaliLoader if "DaliLoader" in kind else TorchLoader
    dataset = RecordIO(f"{root}/photos.rec") if "records" in kind else ImageFolder(root)
    workers = (2 if loader_type is TorchLoader else 1) if "workers" in kind else 0
    pipeline = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
    loader = loader_type(dataset, 32, pipeline=pipeline, num_workers=workers)
    held = []
    for epoch in range(EPOCHS):
        for repeat in range(REPEATS):
            for _ in loader.epoch(REPEATS * epoch + repeat):
                pass
        held.append(unique_memory())
    print(json.dumps(held))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument(
        "--out", type=Path, default=Path("docs/benchmarks/data_memory.json"), help="a .md goes beside it"
    )
    parser.add_argument("--run", nargs=2, metavar=("KIND", "ROOT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        return run(*args.run)
    rows = []
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "photos").symlink_to(args.photos.resolve())
        subprocess.run(["openmix", "rec", "make", root, f"{root}/photos.rec"], check=True, stdout=subprocess.DEVNULL)
        for name, kind in LOADERS.items():
            command = [sys.executable, __file__, "--photos", ".", "--run", kind, root]
            held = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            rows.append({"name": name, "second": held[1], "tenth": held[9], "last": held[-1], "all": held})
    for row in rows:
        row["growth"] = row["last"] / row["second"]
    facts = {"epochs": EPOCHS, "images an epoch": REPEATS * len(list(args.photos.iterdir())), **device_facts()}
    columns = {
        "": "name",
        "MB after epoch 2": ("second", 1, ".0f"),
        "10": ("tenth", 1, ".0f"),
        "20": ("last", 1, ".0f"),
        "20 over 2": ("growth", 1, ".3f"),
    }
    write_report(args.out, "Memory of loaders over 20 epochs", facts, rows, columns)


if __name__ == "__main__":
    main()
