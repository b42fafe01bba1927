"""How OpenMixup's pipelines, which name torchvision's transforms and its own, become openmix's."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from openmix.convert.report import Report, Section
from openmix.convert.spell import spell_short
from openmix.errors import UserError, did_you_mean
from openmix.registry import TRANSFORMS, known_types, lookup

__all__ = ["Normalization", "convert_pipeline", "read_normalization"]

Normalization = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std, in [0, 1]

# Pillow's numbers, which every torchvision takes; names only newer ones do
INTERPOLATIONS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
# names that mean torchvision's transform in openmix and another one in OpenMixup
OWN = ("AutoAugment", "GaussianBlur", "RandAugment", "RandomErasing")


def convert_pipeline(
    items: Sequence[Mapping[str, Any]], path: str, report: Report, mean: Sequence[float]
) -> tuple[list[dict[str, Any]], Normalization | None]:
    """Return the transforms of uint8 images, and what the pipeline normalised by, if it did.

    Args:
        items: the old pipeline.
        path: its dotted key.
        report: where the verdicts go.
        mean: the data set's mean colour, which fills what RandAugment moves in.
    """
    new: list[dict[str, Any]] = []
    normalization = None
    for i, item in enumerate(items):
        old = Section(item, f"{path}.{i}", report)
        kind = old.read("type", str)
        if kind == "ToTensor":
            report.add(f"{path}.{i}", "meaningless", "ToTensor: images are tensors from the start")
        elif kind == "Normalize":
            normalization = read_normalization(old)
            report.add(f"{path}.{i}", "renamed", "Normalize -> data_preprocessor, once for all loaders, on the device")
        else:
            new += _convert(old, mean, _size(new))
    return new, normalization


def read_normalization(old: Section) -> Normalization:
    """Return ``mean`` and ``std``.

    Raises:
        UserError: they are no lists of numbers.
    """
    return tuple(old.read("mean", Sequence[float])), tuple(old.read("std", Sequence[float]))


def _size(pipeline: Sequence[Mapping[str, Any]]) -> int:
    """Return the height that images have by now, 224 where nothing says it."""
    sizes = [item["size"] for item in pipeline if "size" in item]
    return sizes[-1] if sizes and isinstance(sizes[-1], int) else 224


def _convert(old: Section, mean: Sequence[float], size: int) -> list[dict[str, Any]]:
    """Return a transform's counterpart; none where there is none."""
    kind, path, report = old.get("type"), old.path, old.report
    if kind == "RandAugment":
        return [_rand_augment(old, mean, size)]
    if kind in ("RandomErasing", "RandomErasing_numpy"):
        return [_random_erasing(old)]
    if kind in ("RandomAppliedTrans", "RandomApply"):
        transforms = old.read("transforms", Sequence[Mapping[str, Any]])
        inner, _ = convert_pipeline(transforms, f"{path}.transforms", report, mean)
        report.add(path, "kept" if kind == "RandomApply" else "renamed", f"{kind} -> RandomApply")
        return [{"type": "RandomApply", "transforms": inner, "p": old.get("p", 0.5)}]
    if kind in OWN or kind not in known_types(TRANSFORMS):
        near = did_you_mean(kind, known_types(TRANSFORMS))
        advice = near if near.startswith("; did") else "; name a transform of openmix or register one"
        report.add(path, "no equivalent", f"{kind}: left out of the pipeline{advice}")
        return []
    return [_by_name(old.values, path, report)]


def _by_name(item: dict[str, Any], path: str, report: Report) -> dict[str, Any]:
    """Return torchvision's transform, interpolation by number, without arguments that it does not take."""
    if isinstance(interpolation := item.get("interpolation"), str) and interpolation in INTERPOLATIONS:
        item["interpolation"] = INTERPOLATIONS[interpolation]
    report.add(path, "kept", spell_short(item))
    takes = inspect.signature(lookup(item["type"], TRANSFORMS)).parameters
    for key in [key for key in item if key != "type" and key not in takes]:
        report.add(f"{path}.{key}", "no equivalent", f"torchvision's {item['type']} takes no {key!r}")
        del item[key]
    return item


def _rand_augment(old: Section, mean: Sequence[float], size: int) -> dict[str, Any]:
    old.changed("type", "TimmAutoAugment: timm's code, which OpenMixup's follows")
    total = old.read("total_level", float, 10)
    if total <= 0:
        raise UserError(f"{old.key('total_level')}: must be above 0, got {total}")
    level = old.read("magnitude_level", float, 9) * 10 / total
    count, std = old.read("num_policies", int, 2), old.read("magnitude_std", float | Literal["inf"], 0)
    if level != round(level):
        old.changed("magnitude_level", f"m{round(level)} of policy: {level:g} of timm's 10 levels, which are whole")
    for key, letters in (("magnitude_level", "m"), ("num_policies", "n"), ("magnitude_std", "mstd")):
        old.renamed(key, f"{letters} of policy")
    policy = f"rand-m{round(level)}" + (f"-n{count}" if count != 2 else "")
    if std:
        policy += f"-mstd{101 if std == 'inf' else std:g}"
    new: dict[str, Any] = {"type": "TimmAutoAugment", "policy": policy + "-inc1"}
    if size != 224:
        new["img_size"] = size
    if mean and tuple(mean) != (0.485, 0.456, 0.406):
        new["mean"] = list(mean)
    old.changed("policies", "inc1 of policy: timm's increasing operations, whatever is listed here")
    old.changed("hparams", "what is moved in gets the data set's mean colour, by bicubic interpolation")
    old.meaningless("total_level", "timm's levels go to 10")
    old.close()
    return new


def _random_erasing(old: Section) -> dict[str, Any]:
    old.changed("type", "torchvision's RandomErasing, on uint8 images")
    new: dict[str, Any] = {"type": "RandomErasing", "p": old.renamed("erase_prob", "p", default=0.5)}
    area = [old.renamed("min_area_ratio", "scale", default=0.02), old.renamed("max_area_ratio", "scale", default=0.4)]
    new |= {"scale": area, "ratio": list(old.read("aspect_range", Sequence[float], (0.3, 3.3)))}
    colour = old.read("fill_color", float | Sequence[float], (128, 128, 128))
    for key, name in (("aspect_range", "ratio"), ("fill_color", "value")):
        old.renamed(key, name)
    new["value"] = list(colour) if isinstance(colour, Sequence) else [colour] * 3
    if old.get("mode", "const") != "const":
        old.changed("mode", "erased pixels get one colour, not noise")
    old.meaningless("mode", "erased pixels get one colour")
    old.meaningless("fill_std", "erased pixels get one colour")
    old.close()
    return new
