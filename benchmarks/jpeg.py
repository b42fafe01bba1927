"""How many photos a second one core reads, decodes, crops at random, resizes to 224 pixels and mirrors.

    python benchmarks/jpeg.py --photos FOLDER --out docs/benchmarks/jpeg.json

FOLDER holds JPEGs, or folders of them. One process, bound to one core, one thread; the candidates take turns, each for
one epoch. Where torchvision is said to give floats these are normalised; ours are uint8, for the device to normalise.
"""

import argparse
import itertools
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from common import device_facts, interleaved, write_report
from torch.utils.data import DataLoader
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from openmix.commands import run_command
from openmix.data import DaliLoader, ImageFolder, RecordIO, TorchLoader
from openmix.data.loaders import fused
from openmix.data.sources.protocol import Source

BASELINE = "torchvision: ImageFolder, Pillow, v2, floats"
RECORDS = "TorchLoader, decode='exact', RecordIO"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Epoch = Callable[[], Any]


def pipeline() -> list[Any]:
    return [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]


@contextmanager
def decoding_whole_images() -> Iterator[None]:
    """Have our loader go the plain way."""
    kept, fused._is_plain_crop = fused._is_plain_crop, lambda _: False
    yield
    fused._is_plain_crop = kept


def ours(
    source: Source, batch_size: int, kind: type[TorchLoader] | type[DaliLoader] = TorchLoader, **options: Any
) -> Epoch:
    loader = kind(source, batch_size, pipeline=pipeline(), **options)
    numbers = itertools.count()
    return lambda: [len(batch) for _, batch in loader.epoch(next(numbers))]


def torchvisions(root: str, batch_size: int, transforms: list[Any], **options: Any) -> Epoch:
    dataset = torchvision.datasets.ImageFolder(root, transform=v2.Compose(transforms), **options)
    loader = DataLoader(dataset, batch_size, shuffle=True, drop_last=True)
    return lambda: [len(images) for images, _ in loader]


def dalis(root: str, batch_size: int, count: int, fused_crop: bool, floats: bool) -> Epoch:
    from nvidia.dali import fn, pipeline_def, types

    # Not asynchronous: what it prefetched while others have their turn would cost them the time.
    options = {"exec_dynamic": False, "exec_async": False, "exec_pipelined": False}

    @pipeline_def(batch_size=batch_size, num_threads=1, device_id=None, seed=0, **options)
    def graph() -> Any:
        encoded, labels = fn.readers.file(file_root=root, random_shuffle=True)
        if fused_crop:
            images = fn.resize(fn.decoders.image_random_crop(encoded, device="cpu"), size=[224, 224])
        else:
            images = fn.random_resized_crop(fn.decoders.image(encoded, device="cpu"), size=[224, 224])
        mirror = fn.random.coin_flip()
        if not floats:
            return fn.flip(images, horizontal=mirror), labels
        mean, std = ([255 * value for value in values] for values in (MEAN, STD))
        return fn.crop_mirror_normalize(
            images, dtype=types.FLOAT, output_layout="CHW", mirror=mirror, mean=mean, std=std
        ), labels

    built = graph()
    built.build()
    return lambda: [built.run() for _ in range(count // batch_size)]


def packed(root: str, name: str, *options: str) -> RecordIO:
    """Return the photos packed into a RecordIO file beside them."""
    path = f"{root}/{name}.rec"
    if run_command("rec", ["make", root, path, "--jobs", "1", *options]):
        raise SystemExit("packing failed")
    return RecordIO(path)


def contestants(root: str, batch_size: int) -> dict[str, Epoch]:
    """Everything that is measured, by name; a further source of ours is one line."""
    source = ImageFolder(root)
    floats = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    with decoding_whole_images():
        plain = ours(source, batch_size)
    found = {
        "TorchLoader, decode='exact'": ours(source, batch_size),
        "TorchLoader, decode='fast'": ours(source, batch_size, decode="fast"),
        "TorchLoader, whole images": plain,
        RECORDS: ours(packed(root, "as_they_are"), batch_size),
        "TorchLoader, RecordIO of shorter side 256": ours(packed(root, "small", "--resize", "256"), batch_size),
        BASELINE: torchvisions(root, batch_size, [*pipeline(), v2.ToImage(), *floats]),
        "torchvision: ImageFolder, decode_image, v2, floats": torchvisions(
            root, batch_size, [*pipeline(), *floats], loader=partial(decode_image, mode=ImageReadMode.RGB)
        ),
        "torchvision: ImageFolder, decode_image, v2, uint8": torchvisions(
            root, batch_size, pipeline(), loader=partial(decode_image, mode=ImageReadMode.RGB)
        ),
    }
    try:
        import nvidia.dali  # noqa: F401
    except ImportError:
        return found
    found["DaliLoader, files"] = ours(source, batch_size, DaliLoader, num_threads=1)
    for crop, kind in itertools.product((True, False), (False, True)):
        name = f"DALI, {'image_random_crop' if crop else 'random_resized_crop'}, {'floats' if kind else 'uint8'}"
        found[name] = dalis(root, batch_size, len(source), crop, kind)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/jpeg.json"), help="a .md goes beside it")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    warnings.filterwarnings("ignore", "The image decoding and encoding", DeprecationWarning)
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "photos").symlink_to(args.photos.resolve())
        count = len(ImageFolder(root)) // args.batch_size * args.batch_size
        rows = interleaved(contestants(root, args.batch_size), args.rounds)
    baseline = next(row for row in rows if row["name"] == BASELINE)
    for row in rows:
        row["images_per_s"] = count / row["median_s"]
        row["ratio"] = baseline["median_s"] / row["median_s"]
    facts = {"images": count, "batch": args.batch_size, "rounds": args.rounds, **device_facts()}
    columns = {"": "name", "images/s": ("images_per_s", 1, ".0f"), "times torchvision": ("ratio", 1, ".2f")}
    write_report(args.out, "ImageNet-sized JPEGs on one core", facts, rows, columns)


if __name__ == "__main__":
    main()
