"""How many images of CIFAR-10's size a second each loader gives: cropped, mirrored, as normalised floats on the device.

The rivals are the three customary ways to write that with torchvision and torch's ``DataLoader``, and the least code
that does it with a set in memory: the bare loop's batches, each one gather from a view of all crops of the images and
of their mirror images, which are stored as well.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import count
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision.transforms import v2

from openmix.bench.bare import Batches
from openmix.bench.measure import estimate, one_thread, ratios, synchronise, take_turns
from openmix.bench.report import Bar, Options, Section
from openmix.bench.rows import columns_of, fields_of, spelt
from openmix.data import CIFAR10, ArraySource, DaliLoader, Loader, ResidentLoader, Synthetic, TorchLoader
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import Preprocessor
from openmix.errors import UserError

__all__ = ["cifar10_images", "run"]

BATCH, LARGE, WORKERS, TIMES = 100, 500, 2, 18.0
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
PIPELINE = (v2.RandomCrop(32, 4), v2.RandomHorizontalFlip())
RIVAL = f"DataLoader, {WORKERS} workers"

Epoch = Callable[[], int]  # loads an epoch and returns how many images it had


class InMemory(torchvision.datasets.CIFAR10):
    """torchvision's data set, and its way to an image, of images that are in memory already.

    Args:
        source: where the images and labels are from.
        transform: of a PIL image.
    """

    def __init__(self, source: ArraySource, transform: Callable[[Any], Tensor]) -> None:
        self.data = source.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = source.labels.tolist()
        self.transform, self.target_transform = transform, None


def cifar10_images(options: Options, length: int) -> ArraySource:
    """Return the first images of CIFAR-10, or as many random ones of its size."""
    return Synthetic(10, (3, 32, 32), length) if options.data is None else CIFAR10(options.data).take(length)


def customary() -> dict[str, Callable[[Any], Tensor]]:
    """Return the customary pipelines, from a PIL image to a normalised float tensor."""
    to_float = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    return {
        "torchvision v1, PIL": v1.Compose(
            [v1.RandomCrop(32, 4), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)]
        ),
        "torchvision v2, PIL": v2.Compose([*PIPELINE, v2.ToImage(), *to_float]),
        "torchvision v2, tensor": v2.Compose([v2.ToImage(), *PIPELINE, *to_float]),
    }


def of_torchvision(source: ArraySource, transform: Callable[[Any], Tensor], device: torch.device) -> Epoch:
    """Return an epoch of torch's DataLoader over torchvision's data set."""
    loader = DataLoader(
        InMemory(source, transform),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )

    def epoch() -> int:
        seen = 0
        for images, labels in loader:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            seen += len(images)
        synchronise(device)
        return seen

    return epoch


def of_openmix(loader: Loader, device: torch.device) -> Epoch:
    """Return an epoch of one of our loaders, normalised as the training loop does it."""
    normalize, numbers = Normalize(Preprocessor(mean=MEAN, std=STD), device), count()

    def epoch() -> int:
        seen = sum(len(normalize.batch(batch.to(device))) for _, batch in loader.epoch(next(numbers)))
        synchronise(device)
        return seen

    return epoch


def of_batches(source: ArraySource, size: int, device: torch.device) -> Epoch:
    """Return an epoch of the bare loop's batches: no key of any draw, no record of which images there were."""
    images, labels = source.images.to(device), source.labels.to(device)
    batches = Batches(images, labels, size, MEAN, STD, padding=4, flip=True)

    def epoch() -> int:
        seen = sum(len(batches()[0]) for _ in range(len(labels) // size))
        synchronise(device)
        return seen

    return epoch


def run(options: Options) -> Section:
    """Let the loaders take turns, an epoch each."""
    rounds, length = (2, 1000) if options.quick else (9, 20_000)
    source = cifar10_images(options, length)
    with ExitStack() as stack, one_thread():  # the workers have the other cores
        epochs = contestants(source, options.device, stack)
        options.say(f"{rounds + 1} rounds of {len(epochs)} loaders")
        seconds = take_turns(epochs, rounds)
        images = {name: epoch() for name, epoch in epochs.items()}
    if set(images.values()) != {length}:
        raise AssertionError(f"the loaders did not load the same: {images}")
    return report(seconds, length, options)


def contestants(source: ArraySource, device: torch.device, stack: ExitStack) -> dict[str, Epoch]:
    """Return an epoch of everything that is measured, by name; the stack closes what has to be."""

    def ours(loader_type: Any, size: int, **settings: Any) -> Epoch:
        loader = loader_type(source, size, pipeline=PIPELINE, device=device, **settings)
        return of_openmix(stack.enter_context(closing(loader)), device)

    found = {f"{RIVAL}, {name}": of_torchvision(source, transform, device) for name, transform in customary().items()}
    for size in (BATCH, LARGE):
        found[f"ResidentLoader, {size} a batch"] = ours(ResidentLoader, size)
        found[f"the bare loop's batches, {size} a batch"] = of_batches(source, size, device)
    found[f"TorchLoader, {WORKERS} workers"] = ours(TorchLoader, BATCH, num_workers=WORKERS)
    with suppress(UserError):  # DALI is not installed
        found["DaliLoader, 2 threads"] = ours(DaliLoader, BATCH)
    return found


def report(seconds: dict[str, Sequence[float]], length: int, options: Options) -> Section:
    """Return images/s, and ratios to the fastest rival, each within a round."""
    fastest = min((name for name in seconds if name.startswith(RIVAL)), key=lambda name: estimate(seconds[name]).median)
    rows, ratio = [], {}
    for name, values in seconds.items():
        rate, ratio[name] = estimate([length / s for s in values]), estimate(ratios(seconds[fastest], values))
        rows.append({"loader": name, **fields_of("images_per_s", rate), **fields_of("ratio", ratio[name])})
    best = ratio[f"ResidentLoader, {BATCH} a batch"]
    bound = f"the resident loader gives >= {TIMES:.0f} x the images/s of {RIVAL}"
    return Section(
        "loaders",
        "Loaders",
        f"Images/s of {'random images' if options.data is None else 'CIFAR-10'}, {length:,} in a round: crops of 32 "
        f"with a padding of 4, mirrored, normalised in float32 on {options.device.type}; {BATCH} a batch where nothing "
        f"else is said, one thread in the main process. Ratios are to {fastest}, the fastest of the customary ones; "
        "from and to are the medians' 95 % intervals.",
        {
            "loader": "loader",
            **columns_of("images/s", "images_per_s", ",.0f"),
            **columns_of("x the fastest rival", "ratio", ".2f"),
        },
        rows,
        [Bar(bound, spelt(best, ".1f"), best.median >= TIMES)],
    )
