"""A grid: a base config, the axes that its runs differ in, and the combinations that are left out."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openmix.errors import UserError
from openmix.results.grids.axes import AXES, Axis, axis_of, read_values

__all__ = ["Grid", "grid_of"]

LAST = ("max_epochs", "seed")  # of a name's parts; those that only this grid has stand before them


@dataclass(frozen=True)
class Grid:
    """What a study is made of.

    Attributes:
        base: the config that the runs inherit.
        axes: the axes, in the order in which a run's name has them.
        values: the values of each, by the axis' name.
        by_mode: alphas by method (``mixup+cutmix`` for several), where they depend on it, each a list or one list a
            network. ``values`` then has all of them.
        exclude: combinations to leave out: those that have, of each axis that an item names, one of its values.
        bases: for methods, the config that their runs inherit instead of what would be found; ``{backbone}`` in its
            path stands for the network.
    """

    base: Path
    axes: tuple[Axis, ...]
    values: Mapping[str, list[Any]]
    by_mode: Mapping[str, Any] | None
    exclude: tuple[Mapping[str, list[Any]], ...]
    bases: Mapping[str, Path]


def grid_of(
    base: str | Path,
    axes: Mapping[str, Any],
    exclude: Sequence[Mapping[str, Any]] = (),
    bases: Mapping[str, Path] | None = None,
) -> Grid:
    """Make a grid of what a grid file or a command line says.

    Args:
        base: the config that the runs inherit.
        axes: lists of values, by the axis' name or a config's dotted key. Those of ``alpha`` may be a dict by method,
            of a value or a list or a dict of these by network.
        exclude: values by the axis' name; of a list, any one, so that one which is a list stands in another.
        bases: configs of methods, see :class:`Grid`.

    Raises:
        UserError: there is no such file, axis or value.
    """
    if not Path(base).is_file():
        raise UserError(f"there is no config file {base} for the runs to inherit")
    given = {axis: axes[name] for name, axis in _axes(axes).items()}
    alphas = next((values for axis, values in given.items() if axis.name == "alpha"), None)
    by_mode = None
    if isinstance(alphas, Mapping):
        by_mode = {mode: _of_mode(mode, own) for mode, own in alphas.items()}
        every = [a for own in by_mode.values() for each in _lists(own) for a in each]
        given[AXES["alpha"]] = [a for i, a in enumerate(every) if a not in every[:i]]
        _check_dependence(given, by_mode)
    ordered = _in_order(given)
    values = {axis.name: read_values(axis, given[axis]) for axis in ordered}
    excluded = tuple(_exclusion(item, values) for item in exclude)
    return Grid(Path(base), tuple(ordered), values, by_mode, excluded, dict(bases or {}))


def _axes(names: Iterable[str]) -> dict[str, Axis]:
    """Return the axis that each name stands for; where two would look the same in a run's name, with its whole key."""
    axes = {name: axis_of(str(name)) for name in names}
    for one, other in itertools.combinations(axes.values(), 2):
        if one == other:
            raise UserError(f"{one.name} is given twice")
        for short, long in ((one.key, other.key), (other.key, one.key)):
            if short and long.startswith(f"{short}."):
                raise UserError(f"{short} and {long} cannot both be axes: one is part of the other")
    shorts = Counter(axis.short for axis in axes.values())
    return {
        name: replace(axis, short=axis.key) if shorts[axis.short] > 1 and axis.name not in AXES else axis
        for name, axis in axes.items()
    }


def _in_order(axes: Iterable[Axis]) -> list[Axis]:
    by_name = {axis.name: axis for axis in axes}
    known, others = [name for name in AXES if name in by_name], sorted(by_name.keys() - AXES.keys())
    names = [n for n in known if n not in LAST] + others + [n for n in known if n in LAST]
    return [by_name[name] for name in names]


def _of_mode(mode: str, alphas: Any) -> Any:
    """Take over the alphas of a method: a value or a list of them, or a dict of these by network."""
    axis = AXES["mix_mode"]
    read_values(axis, [mode.split("+") if "+" in mode else mode])
    if isinstance(alphas, Mapping):
        return {network: _of_mode(mode, own) for network, own in alphas.items()}
    return read_values(AXES["alpha"], alphas if isinstance(alphas, list | tuple) else [alphas])


def _lists(alphas: Any) -> list[list[Any]]:
    return list(alphas.values()) if isinstance(alphas, Mapping) else [alphas]


def _check_dependence(given: Mapping[Axis, Any], by_mode: Mapping[str, Any]) -> None:
    if AXES["mix_mode"] not in given:
        raise UserError("alpha is given by method, and mix_mode is no axis of this grid")
    if AXES["backbone"] not in given and any(isinstance(own, Mapping) for own in by_mode.values()):
        raise UserError("alpha is given by network, and backbone is no axis of this grid")


def _exclusion(item: Any, values: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    if not isinstance(item, Mapping) or not item:
        raise UserError(f"what is excluded is a dict of values by axis, got {item!r}")
    taken: dict[str, list[Any]] = {}
    for name, value in item.items():
        axis = axis_of(str(name))
        if axis.name not in values:
            raise UserError(f"cannot exclude by {axis.name}: the axes of this grid are {', '.join(values)}")
        taken[axis.name] = read_values(axis, value if isinstance(value, list | tuple) else [value])
        if absent := [v for v in taken[axis.name] if v not in values[axis.name]]:
            raise UserError(f"cannot exclude {axis.name} {absent[0]!r}: it is no value of this grid")
    return taken
