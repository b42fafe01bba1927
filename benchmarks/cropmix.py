"""What CropMix costs beside one random resized crop of the same decoded photograph, to 224 x 224 pixels.

    python benchmarks/cropmix.py --photos DIR --out docs/benchmarks/cropmix.json

One thread. Photographs of 500 x 375 pixels are decoded before; each is cropped and CropMixed in turn (A B A C A D ...),
so that every call of CropMix has a crop just before it. As CropMix often needs one crop only, its times have several
peaks: the median is of single calls, the mean is what an epoch pays. For comparison the same as it is usually written:
all crops, one after the other, then mixed as floats.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import device_facts, write_report
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from openmix.data.decoding import read_image
from openmix.data.transforms.cropmix_settings import CropMixSettings
from openmix.ops.random import sample_beta
from openmix.transforms import CropMix

SIZE = 224
BARS = {2: 1.9, 3: 2.3, 4: 2.6}  # of the median, mixup mode, tensors
AREA = 500 * 375

Call = Callable[[Any], Tensor]


def photographs(folder: Path) -> list[Tensor]:
    """Those of about 500 x 375 pixels, lying or standing."""
    images = [read_image(str(path)) for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".jpeg")]
    chosen = [image for image in images if abs(image.shape[1] * image.shape[2] - AREA) < 0.02 * AREA]
    if not chosen:
        raise SystemExit(f"{folder} has no photographs of 500 x 375 pixels")
    return chosen


def all_crops(number: int) -> Call:
    """Make every crop, then mix them from the left as floats."""
    crops = [v2.RandomResizedCrop(SIZE, scale=band) for band in CropMixSettings().bands(number)]

    def call(image: Tensor) -> Tensor:
        mixture = crops[0](image).float()
        for crop in crops[1:]:
            lam = sample_beta(0.4 / number, (1,)).item()
            order = torch.randperm(3)
            view = crop(image).float()
            view, mixture = (view[order], mixture) if lam > 0.5 else (view, mixture[order])
            mixture = lam * mixture + (1 - lam) * view
        return mixture.round_().to(torch.uint8)

    return call


def candidates() -> dict[str, Call]:
    found: dict[str, Call] = {}
    for number in (2, 3, 4, 234):
        for operation, name in enumerate(("mixup", "cutmix")):
            found[f"CropMix, {number}, {name}"] = CropMix(number=number, operation=operation, inter_aug=True, size=SIZE)
    return found


def pillow_crop(image: Image.Image, transform: Call = v2.RandomResizedCrop(SIZE)) -> Tensor:  # noqa: B008
    """Crop as most people do: torchvision on Pillow's image, then a float tensor."""
    crop = np.array(transform(image))
    return torch.from_numpy(crop).permute(2, 0, 1).contiguous().float().div_(255)


def duplicate(image: Any) -> Any:
    return image.clone() if isinstance(image, Tensor) else image.copy()


def timed(base: Call, others: dict[str, Call], images: list[Any], rounds: int) -> dict[str, tuple[list, list]]:
    """Return for each candidate its seconds and those of the crop just before, for each image and round."""
    times: dict[str, tuple[list, list]] = {name: ([], []) for name in others}
    for i in range(rounds + 1):
        for original in images:
            for name, call in others.items():
                image, pair = duplicate(original), []  # in the processor's cache, as one just decoded is
                for run in (base, call):
                    began = time.perf_counter()
                    run(image)
                    pair.append(time.perf_counter() - began)
                if i:  # the first round is to warm up
                    times[name][0].append(pair[1])
                    times[name][1].append(pair[0])
    return times


def rows(kind: str, times: dict[str, tuple[list, list]]) -> list[dict[str, Any]]:
    found = []
    for name, (own, crop) in times.items():
        number = int(name.split(", ")[1])
        held = kind == "tensor" and name.startswith("CropMix") and name.endswith("mixup")
        found.append(
            {
                "images": kind,
                "name": name,
                "crop_median_s": statistics.median(crop),
                "median_s": statistics.median(own),
                "quartiles_s": statistics.quantiles(own, n=4)[::2],
                "ratio_of_medians": statistics.median(own) / statistics.median(crop),
                "ratio_of_means": statistics.mean(own) / statistics.mean(crop),
                "bar": str(BARS.get(number, "")) if held else "",
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of JPEG files")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/cropmix.json"))
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = photographs(arguments.photos)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    crop, few = v2.RandomResizedCrop(SIZE), max(arguments.rounds // 2, 1)
    found = rows("tensor", timed(crop, candidates(), images, arguments.rounds))
    # apart from the others: it frees so much memory that the system takes it back, and the next to come pays for that
    found += rows("tensor", timed(crop, {f"all crops, {n}, mixup": all_crops(n) for n in (2, 3, 4)}, images, few))
    found += rows("PIL", timed(pillow_crop, candidates(), pictures, few))
    facts = {
        **device_facts(),
        "photographs": len(images),
        "rounds": arguments.rounds,
        "the crop": "torchvision's v2.RandomResizedCrop(224) of the same kind of image; of PIL, then a float tensor",
        "bar": "x crop by the medians, mixup, tensors",
    }
    columns = {
        "images": "images",
        "what": "name",
        "crop before (ms)": ("crop_median_s", 1e3, ".3f"),
        "median (ms)": ("median_s", 1e3, ".3f"),
        "quartiles (ms)": ("quartiles_s", 1e3, ".3f"),
        "x crop, medians": ("ratio_of_medians", 1, ".2f"),
        "bar": "bar",
        "x crop, means": ("ratio_of_means", 1, ".2f"),
    }
    write_report(arguments.out, "The cost of CropMix", facts, found, columns)


if __name__ == "__main__":
    main()
