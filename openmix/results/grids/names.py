"""What a run of a study is called, as a file and in words."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from openmix.errors import UserError
from openmix.mixers.catalog import get_method, list_mixers
from openmix.results.grids.axes import Axis

__all__ = ["check_names", "described", "joined", "name_of", "network_of"]

LONGEST = 200  # characters: what is written beside a file has a longer name, and file systems take 255


def joined(value: Any, by: str) -> str:
    """Return a value as a word, its parts joined.

    >>> joined(["mixup", "cutmix"], "-"), joined(1.0, "-"), joined([0.1, None], "-"), joined({"type": "SGD"}, "-")
    ('mixup-cutmix', '1', '0.1-none', 'SGD')
    """
    if isinstance(value, list | tuple):
        return by.join(joined(item, by) for item in value)
    if isinstance(value, Mapping):
        parts = [value["type"]] if "type" in value else [f"{k}{joined(v, by)}" for k, v in value.items()]
        return by.join(map(str, parts))
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def network_of(base: Path) -> tuple[str, str, str]:
    """Return a config's name in three parts: the network, what names the mixing, and the rest with its underscore.

    >>> network_of(Path("wrn28_8_mixups_CE_none.py")), network_of(Path("r18_imagefolder.py"))
    (('wrn28_8', 'mixups', '_CE_none'), ('r18_imagefolder', '', ''))
    """
    parts = base.stem.split("_")
    for i, part in enumerate(parts):
        if i and part in ("mixups", *list_mixers()):
            return "_".join(parts[:i]), part, "".join(f"_{rest}" for rest in parts[i + 1 :])
    return base.stem, "", ""


def name_of(base: Path, axes: Iterable[Axis], settings: Mapping[str, Any]) -> str:
    """Return a run's name: its network's, then the value of each axis. A grid that grows by values renames no run."""
    network = network_of(base)[0] if "mix_mode" in settings else base.stem
    parts = [settings.get("backbone", network)]
    parts += [f"{a.short}{joined(settings[a.name], '-')}" for a in axes if a.name in settings and a.name != "backbone"]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(parts))


def check_names(names: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Check that the names of runs with their settings differ, also for file systems that know no capitals.

    Raises:
        UserError: two are the same, or one is too long.
    """
    seen: dict[str, Mapping[str, Any]] = {}
    for name, settings in names:
        if len(name) > LONGEST:
            raise UserError(f"a run's name has up to {LONGEST} characters; this one has {len(name)}: {name}")
        if (other := seen.get(name.lower())) is not None:
            raise UserError(
                f"two runs would be called {name}: that of {dict(other)}, and that of {dict(settings)}; a name has of "
                "a dict its type alone, and no other marks than . _ -: let an axis be the key that differs, or make a "
                "study of each"
            )
        seen[name.lower()] = settings


def described(axes: Iterable[Axis], settings: Mapping[str, Any]) -> str:
    """Return in words what sets a run apart.

    >>> from openmix.results.grids.axes import AXES
    >>> described(AXES.values(), {"mix_mode": ["mixup", "cutmix"], "alpha": [0.1, 1.0], "max_epochs": 200, "seed": 0})
    'MixUp + CutMix, alpha 0.1 and 1, 200 epochs, seed 0'
    """
    return ", ".join(_in_words(axis, settings[axis.name]) for axis in axes if axis.name in settings)


def _in_words(axis: Axis, value: Any) -> str:
    if axis.name == "mix_mode":
        return " + ".join(get_method(mode).title for mode in ([value] if isinstance(value, str) else value))
    if axis.name == "mix_prob" and value is None:
        return "equally probable"
    if axis.name == "alpha" and value is None:
        return "its own alpha"
    return axis.words.format(joined(value, " and "))
