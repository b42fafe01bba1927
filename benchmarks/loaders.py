"""How many CIFAR-10 images a second each loader gives, cropped, mirrored, as normalised floats on the device.

    python benchmarks/loaders.py --data data/cifar10 --out docs/benchmarks/loaders.json

The loaders take turns (A B C A B C ...), each for one epoch of --images images in batches of 100, after one epoch that
is not counted, in which worker processes start. What counts is the median over --rounds turns. The baseline is the
fastest of three customary ways to write the same with torchvision and torch's DataLoader, two workers.
"""

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision import transforms as v1
from torchvision.transforms import v2

from openmix.data import CIFAR10, ResidentLoader, TorchLoader

BATCH_SIZE = 100
WORKERS = 2
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

Epoch = Callable[[int], int]  # from the epoch's number to how many images it gave


class AnyCIFAR10(torchvision.datasets.CIFAR10):
    """torchvision's reader without its MD5 check, which copies of the data that were packed anew do not pass."""

    train_list: ClassVar = [(name, None) for name, _ in torchvision.datasets.CIFAR10.train_list]
    test_list: ClassVar = [(name, None) for name, _ in torchvision.datasets.CIFAR10.test_list]
    meta: ClassVar = {**torchvision.datasets.CIFAR10.meta, "md5": None}


def baselines() -> dict[str, Callable[[Any], Tensor]]:
    """The customary pipelines, from a PIL image to a normalised float tensor."""
    to_float = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    return {
        "torchvision v1, PIL": v1.Compose(
            [v1.RandomCrop(32, 4), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)]
        ),
        "torchvision v2, PIL": v2.Compose([v2.RandomCrop(32, 4), v2.RandomHorizontalFlip(), v2.ToImage(), *to_float]),
        "torchvision v2, tensor": v2.Compose(
            [v2.ToImage(), v2.RandomCrop(32, 4), v2.RandomHorizontalFlip(), *to_float]
        ),
    }


def torchvision_epoch(root: str, count: int, transform: Callable[[Any], Tensor], device: str) -> Epoch:
    """torch's DataLoader over torchvision's data set."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "numpy.core.numeric is deprecated|numpy.core.multiarray is deprecated")
        dataset = Subset(AnyCIFAR10(root, transform=transform), range(count))
    loader = DataLoader(
        dataset,
        BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=True,
        pin_memory=device != "cpu",
    )

    def run(_: int) -> int:
        seen = 0
        for images, labels in loader:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            seen += len(images)
        return seen

    return run


def openmix_epoch(loader: TorchLoader | ResidentLoader, device: str) -> Epoch:
    """One of our loaders, and the normalisation that the training step does after it."""
    mean = 255 * torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
    std = 255 * torch.tensor(STD, device=device).view(1, 3, 1, 1)

    def run(epoch: int) -> int:
        seen = 0
        for _, batch in loader.epoch(epoch):
            images = batch.to(device).images.float().sub_(mean).div_(std)
            seen += len(images)
        return seen

    return run


def contestants(root: str, count: int, device: str) -> dict[str, Epoch]:
    """Everything that is measured, by name."""
    dataset = CIFAR10(root).take(count)
    pipeline = [v2.RandomCrop(32, 4), v2.RandomHorizontalFlip()]
    resident = ResidentLoader(dataset, BATCH_SIZE, pipeline=pipeline, device=device)
    workers = TorchLoader(dataset, BATCH_SIZE, pipeline=pipeline, num_workers=WORKERS, device=device)
    return {
        "ResidentLoader": openmix_epoch(resident, device),
        f"TorchLoader, {WORKERS} workers": openmix_epoch(workers, device),
        **{
            f"DataLoader, {WORKERS} workers, {name}": torchvision_epoch(root, count, transform, device)
            for name, transform in baselines().items()
        },
    }


def measure(epochs: dict[str, Epoch], count: int, rounds: int, device: str) -> dict[str, list[float]]:
    """Images a second of every contestant in every round, taking turns."""
    rates: dict[str, list[float]] = {name: [] for name in epochs}
    for number in range(rounds + 1):
        for name, run in epochs.items():
            start = time.perf_counter()
            seen = run(number)
            if device != "cpu":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
            assert seen == count // BATCH_SIZE * BATCH_SIZE
            if number:
                rates[name].append(seen / seconds)
    return rates


def report(rates: dict[str, list[float]], settings: dict[str, Any]) -> dict[str, Any]:
    """The figures, with the ratio of our loaders to the fastest baseline: of medians, and the range over the rounds."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    baseline = max((name for name in rates if name.startswith("DataLoader")), key=medians.__getitem__)
    rows = []
    for name, values in rates.items():
        ratios = [mine / theirs for mine, theirs in zip(values, rates[baseline], strict=True)]
        rows.append(
            {
                "loader": name,
                "images_per_s": round(medians[name]),
                "lowest": round(min(values)),
                "highest": round(max(values)),
                "ratio": round(medians[name] / medians[baseline], 2),
                "lowest_ratio": round(min(ratios), 2),
                "highest_ratio": round(max(ratios), 2),
            }
        )
    return {**settings, "baseline": baseline, "rows": rows}


def markdown(result: dict[str, Any]) -> str:
    """The same as a page with a table."""
    lines = [
        "# Loaders",
        "",
        "Images a second of CIFAR-10 (random crop with padding 4, flip, to float, normalise), batches of "
        f"{result['batch_size']}, on {result['device']} ({result['device_name']}), {result['cpu_count']} CPU cores, "
        f"one thread in the main process, torch {result['torch']}, torchvision {result['torchvision']}, "
        f"Python {result['python']}. Medians of {result['rounds']} rounds of {result['images']:,} images in which the "
        f"loaders took turns; in brackets the lowest and the highest. Ratios are to {result['baseline']}. Written by "
        "`python benchmarks/loaders.py`.",
        "",
        "| loader | images/s | ratio |",
        "|---|---:|---:|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['loader']} | {row['images_per_s']:,} ({row['lowest']:,} to {row['highest']:,}) "
            f"| {row['ratio']} ({row['lowest_ratio']} to {row['highest_ratio']}) |"
        )
    return "\n".join(lines) + "\n"


def cpu_name() -> str:
    """The processor's name where Linux tells it."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.is_file() else []
    return names[0].split(":", 1)[1].strip() if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/cifar10", help="folder that holds cifar-10-batches-py")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/loaders.json"), help="a .md goes beside it")
    parser.add_argument("--images", type=int, default=20_000, help="images of an epoch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", help="where the batches are wanted: cpu or cuda")
    args = parser.parse_args()
    torch.set_num_threads(1)  # the workers have the other cores, and batches this small gain little from more
    settings = {
        "device": args.device,
        "device_name": cpu_name() if args.device == "cpu" else torch.cuda.get_device_name(args.device),
        "cpu_count": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "batch_size": BATCH_SIZE,
        "images": args.images,
        "rounds": args.rounds,
    }
    epochs = contestants(args.data, args.images, args.device)
    result = report(measure(epochs, args.images, args.rounds, args.device), settings)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(markdown(result))
    print(markdown(result))


if __name__ == "__main__":
    main()
