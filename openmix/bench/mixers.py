"""What mixing costs beside the least that it could cost, ``torch.lerp(x, x[partner], lam)``, and beside its rivals.

Each method is timed as a user calls it, draws included; timm's ``Mixup`` and torchvision's v2 ``MixUp`` and ``CutMix``
likewise, soft labels included, as they make them always. Each takes turns with the lerp alone. Large results may or may
not be made of fresh pages, by what the process has freed before, and these cost more than the arithmetic: so a process
of its own is told to keep freed memory. ``benchmarks/mixers.py`` measures more.
"""

from collections.abc import Callable
from typing import Any

import torch
from timm.data.mixup import Mixup as TimmMixup
from torch import Tensor
from torchvision.transforms import v2

import openmix
from openmix.bench.fresh import in_fresh_process
from openmix.bench.measure import Estimate, estimate, ratios, synchronise, take_turns
from openmix.bench.report import Bar, Options, Section
from openmix.bench.rows import columns_of, fields_of, rounded, spelt
from openmix.mixers.mixer import Mixer

__all__ = ["BARS", "CLASSES", "KEEP_MEMORY", "SHAPES", "beside_lerp", "calls", "lerp", "methods", "run"]

Call = Callable[[], Any]

SHAPES = {(128, 3, 32, 32): 20, (64, 3, 224, 224): 3}  # and calls a turn
CLASSES = 1000
BARS = {"mixup": 1.3, "cutmix": 1.3, "resizemix": 1.3, "gridmix": 1.3, "smoothmix": 2.0, "fmix": 2.0}  # at 224 pixels
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**32)}  # read as a program starts


def methods() -> dict[str, Mixer]:
    """Return every input method that needs nothing, with its defaults."""
    found = {name: openmix.build_mixer(name) for name in openmix.list_mixers() if name != "vanilla"}
    return {name: mixer for name, mixer in found.items() if mixer.kind == "input" and not mixer.needs}


def rivals() -> dict[str, Callable[..., Any]]:
    """Return what other libraries call the same."""
    timm = {"prob": 1.0, "switch_prob": 0.0, "label_smoothing": 0.0, "num_classes": CLASSES}
    return {
        "timm Mixup": TimmMixup(mixup_alpha=1.0, cutmix_alpha=0.0, **timm),
        "timm CutMix": TimmMixup(mixup_alpha=0.0, cutmix_alpha=1.0, **timm),
        "timm CutMix, mode='elem'": TimmMixup(mixup_alpha=0.0, cutmix_alpha=1.0, mode="elem", **timm),
        "torchvision v2.MixUp": v2.MixUp(num_classes=CLASSES),
        "torchvision v2.CutMix": v2.CutMix(num_classes=CLASSES),
    }


def lerp(x: Tensor) -> Call:
    """Return the least that mixing pairs costs."""
    partner, lam = torch.randperm(len(x)).to(x.device), torch.rand(len(x), 1, 1, 1).to(x)
    return lambda: torch.lerp(x, x[partner], lam)


def calls(x: Tensor, y: Tensor, mixers: dict[str, Mixer]) -> dict[str, Call]:
    """Return one mixing of a batch, by name: of these methods and of the rivals."""
    found: dict[str, Call] = {name: lambda mixer=mixer: mixer(x, y) for name, mixer in mixers.items()}
    scratch = x.clone()  # timm's writes into the images that it is given
    for name, rival in rivals().items():
        images = scratch if name.startswith("timm") else x
        found[name] = lambda rival=rival, images=images: rival(images, y)
    return found


def beside_lerp(call: Call, least: Call, rounds: int, repeats: int, device: torch.device) -> tuple[list[float], ...]:
    """Return the seconds of a call and of the lerp, which take turns of so many calls."""

    def repeated(call: Call) -> Call:
        def turn() -> None:
            for _ in range(repeats):
                call()
            synchronise(device)

        return turn

    seconds = take_turns({"lerp": repeated(least), "call": repeated(call)}, rounds)
    return tuple([s / repeats for s in seconds[name]] for name in ("call", "lerp"))


def run(options: Options) -> Section:
    """Measure all methods at both sizes."""
    rows = []
    for shape, repeats in SHAPES.items():
        options.say(f"{len(methods()) + len(rivals())} methods on images {shape}")
        rounds, count = (2, 1) if options.quick else (11, repeats)
        rows += in_fresh_process(_rows, shape, rounds, count, options.device, environment=KEEP_MEMORY)
    bars = []
    for row in rows:
        if row["name"] in BARS and row["shape"] == "64 x 3 x 224 x 224":
            bound = BARS[row["name"]]
            ratio = Estimate(*(row[f"ratio_to_lerp{end}"] for end in ("", "_low", "_high", "_n")))
            text = f"{row['name']} at 224 pixels costs <= {bound} x the lerp"
            bars.append(Bar(text, spelt(ratio, ".2f"), ratio.median <= bound))
    return Section(
        "mixers",
        "Mixing",
        f"One batch of random float32 images on {options.device.type}, draws included, beside torch.lerp(x, "
        f"x[partner], lam) "
        "of all images, with which each takes turns. One draw a batch or an image, as each method's authors have it; "
        "freed memory is kept by the process. From and to are the medians' 95 % intervals.",
        {
            "images": "shape",
            "method": "name",
            "ms": ("ms", ".3f"),
            **columns_of("x the lerp", "ratio_to_lerp", ".2f"),
        },
        rows,
        bars,
    )


def _rows(shape: tuple[int, ...], rounds: int, repeats: int, device: torch.device) -> list[dict[str, Any]]:
    x, y = torch.rand(shape).to(device), torch.randint(CLASSES, shape[:1]).to(device)
    rows, least = [], lerp(x)
    for name, call in calls(x, y, methods()).items():
        seconds, base = beside_lerp(call, least, rounds, repeats, device)
        rows.append(
            {
                "name": name,
                "shape": " x ".join(map(str, shape)),
                "dtype": "float32",
                "ms": estimate(seconds).median * 1e3,
                "ms_values": rounded(1e3 * s for s in seconds),
                **fields_of("ratio_to_lerp", estimate(ratios(seconds, base))),
            }
        )
    return rows
