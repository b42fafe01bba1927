#!/usr/bin/env python
"""Write ``docs/methods.md``, the page of all methods, from the catalogue: ``python docs/make_methods.py``.

With ``--photos DIR`` the pictures are drawn anew from the photographs there; without, those that exist are kept.
What a method is said to cost is read from ``docs/benchmarks/mixers.json``.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor

from openmix.data.batch import Batch
from openmix.engine.mix_picture import Row, Sample, draw, take_sample, to_rgb
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import Preprocessor
from openmix.mixers.catalog import Method, get_method, list_mixers
from openmix.mixers.mixer import build_mixer
from openmix.ops.random import generator_for
from openmix.ops.saliency import spectral_residual

__all__ = ["main", "make_page", "read_costs"]

DOCS = Path(__file__).parent
PHOTOS, SIDE, DRAWS = 8, 128, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as usual

COSTS_OF = {"shape": "(64, 3, 224, 224)", "dtype": "float32"}

INTRO = """\
<!-- Made by docs/make_methods.py from the methods' signatures and docstrings: change those, and run it. -->
# Methods

What `mix_mode` in a config, `openmix.build_mixer` and `openmix preview` know, and what each takes. λ is the share of
the image's own content, and own label, everywhere; see [conventions](conventions.md). Defaults are the authors' code;
presets (`build_mixer(name, preset=...)`) are ports that differ from it. What each argument means, and how a method
differs from its authors' code, is in its docstring: `help(openmix.CutMix)`.

A method's kind says where it works: `input` mixes images before the forward pass, `feature` mixes inside the network,
`label` weighs labels anew after the forward pass of what another method mixed, `learned` trains with the network and,
from a run's checkpoint, mixes images as `input` does.

Costs are times of mixing 64 x 3 x 224 x 224 images on a CPU over that of one `torch.lerp(x, x[partner], λ)`:
[how they were measured](benchmarks/mixers.md). In the pictures the own share of each pixel is yellow for 1 and dark
for 0; each shows the one draw of {draws} that mixes most evenly, and proves nothing. What a method `needs` it is handed
by the task, or by you; [guided mixing](guided.md) says how. In the pictures saliency is the image's spectral residual.
"""


def make_page(costs: Mapping[str, Sequence[tuple[str, float]]], pictures: Sequence[str]) -> str:
    """Return the page.

    Args:
        costs: for each method, by name, what was measured and how often the time of a lerp it took.
        pictures: names of the methods that have one.
    """
    methods = [get_method(name) for name in list_mixers()]
    lines = ["| Method | `mix_mode` | Kind | λ, the own label's weight | Paper |", "|---|---|---|---|---|"]
    lines += [
        f"| [{m.title}](#{m.title.lower()}) | `{m.name}` | {m.kind} | {m.lam or '-'} | {cite(m)} |" for m in methods
    ]
    sections = [section(m, costs.get(m.name, ()), m.name in pictures) for m in methods]
    return "\n".join([INTRO.format(draws=DRAWS), *lines, "", *sections])


def section(method: Method, costs: Sequence[tuple[str, float]], pictured: bool) -> str:
    """Return what the page says of one method."""
    picture = f"![{method.title}: own image, partners, own share, mixed image](methods/{method.name}.jpg)\n"
    rows = [
        ("`mix_mode`", f"`{method.name}`"),
        ("kind", method.kind),
        ("needs", ", ".join(method.needs) or "nothing"),
        ("mixes as", f"[{method.base}](#{get_method(method.base).title.lower()})" if method.base else ""),
        ("λ", method.lam or "-"),
        ("defaults", spell({name: p.default for name, p in method.hyper.items()}) or "no hyper-parameters"),
        *((f"preset `{name}`", changes(method, values)) for name, values in method.presets.items()),
        ("cost in lerps", ", ".join(f"{ratio:.2f}{how and f' ({how})'}" for how, ratio in costs) or "-"),
        ("paper", cite(method)),
    ]
    head, *body = [f"| {key} | {value} |" for key, value in rows if value]
    table = "\n".join([head, "|---|---|", *body, ""])
    title = f"## {method.title}\n\n{first_sentence(method)}\n"
    return "\n".join([title, *([picture] if pictured else []), table])


def cite(method: Method) -> str:
    """Return the paper as a link, or a dash where there is none."""
    return f"[{method.paper}]({method.link})" if method.link else method.paper or "-"


def spell(values: Mapping[str, Any]) -> str:
    """Return hyper-parameters as code: ```alpha=1.0`, `per_sample=False```."""
    return ", ".join(f"`{name}={value!r}`" for name, value in values.items())


def changes(method: Method, values: Mapping[str, Any]) -> str:
    """Return what a preset changes: ```placement='clip'` (default `'inside'`)``."""
    return ", ".join(f"`{name}={value!r}` (default `{method.hyper[name].default!r}`)" for name, value in values.items())


def first_sentence(method: Method) -> str:
    """Return the first sentence of a method's docstring, as Markdown."""
    paragraph = " ".join((inspect.getdoc(method.function) or "").split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z`])", paragraph)[0]
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", sentence).replace("``", "`")


def read_costs(path: Path) -> dict[str, list[tuple[str, float]]]:
    """Return each method's costs from a benchmark's file: rows whose ``name`` is ``method, how it was called``.

    Where rows tell images and type, those of :data:`COSTS_OF` are taken, draws included.
    """
    rows = json.loads(path.read_text()).get("rows", []) if path.exists() else []
    costs: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        if any(row.get(key, value) != value for key, value in COSTS_OF.items()) or ": apply" in str(row.get("name")):
            continue
        match = re.match(r"(\w+)[\s,:(]*(.*?)\)?$", str(row.get("name", "")))
        ratio = row.get("ratio_to_lerp")
        if match and isinstance(ratio, int | float) and match[1] in list_mixers():
            costs.setdefault(match[1], []).append((match[2], float(ratio)))
    return costs


def draw_pictures(photos: Path, folder: Path) -> None:
    """Write a small JPEG for each method that mixes images and needs no more than saliency."""
    batch, classes = load_photos(photos)
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.jpg"):
        old.unlink()
    for name in list_mixers():
        method = get_method(name)
        if is_pictured(method):
            figure = draw([Row(method.title, [typical_sample(name, batch, classes)])])
            Image.fromarray(to_rgb(figure)).save(folder / f"{name}.jpg", quality=80, optimize=True)


def is_pictured(method: Method) -> bool:
    """Tell whether a method can be shown without a network: saliency can be an image's own."""
    return method.kind == "input" and set(method.needs) <= {"saliency"}


def load_photos(folder: Path) -> tuple[Batch, list[str]]:
    """Return a folder's first photographs, by name, as normalised squares, and what their file names call them."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[:PHOTOS]
    if len(paths) < PHOTOS:
        raise SystemExit(f"error: --photos needs a folder of at least {PHOTOS} JPEG or PNG files, got {len(paths)}")
    numbers = torch.arange(PHOTOS)
    batch = Batch((torch.stack([load_square(p) for p in paths]),), numbers, numbers)
    classes = [re.sub(r"^n\d{8}_", "", p.stem).replace("_", " ") for p in paths]
    return Normalize(Preprocessor(mean=MEAN, std=STD)).batch(batch), classes


def load_square(path: Path) -> Tensor:
    """Return a photograph's centre, uint8 (3, SIDE, SIDE)."""
    square = ImageOps.fit(Image.open(path).convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
    return torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 3).permute(2, 0, 1)


def typical_sample(name: str, batch: Batch, classes: Sequence[str]) -> Sample:
    """Return the first image as a method mixes it: of some draws, the one with the most sources, most evenly."""
    mixer = build_mixer(name)
    saliency = spectral_residual(batch.images) if mixer.needs else None
    needs = {"saliency": saliency} if saliency is not None else {}

    def mix(draw: int) -> Any:
        generator = generator_for(0, "methods", draw)
        return mixer(batch.images, batch.labels, generator=generator, pixel_range=batch.pixel_range, **needs)

    def oddness(draw: int) -> tuple[int, float]:
        mixed = mix(draw)
        return -len(set(mixed.sources[0].tolist())), float(mixed.target.weights[0].square().sum())

    return take_sample(batch, mix(min(range(DRAWS), key=oddness)), 0, classes, saliency)


def main() -> None:
    """Write the page, and the pictures where photographs are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, metavar="DIR", help=f"draw from its first {PHOTOS} photographs")
    arguments = parser.parse_args()
    if arguments.photos is not None:
        draw_pictures(arguments.photos, DOCS / "methods")
    pictures = [p.stem for p in (DOCS / "methods").glob("*.jpg")]
    (DOCS / "methods.md").write_text(make_page(read_costs(DOCS / "benchmarks" / "mixers.json"), pictures))


if __name__ == "__main__":
    main()
