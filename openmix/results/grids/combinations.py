"""The combinations of a grid's values: which there are, which are left out, and in which order they are to be run."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openmix.errors import UserError
from openmix.results.grids.names import joined
from openmix.results.grids.spec import Grid

__all__ = ["Combinations", "combine"]

MOST = 10_000  # runs of a study; more are a mistake
OUTER = ("seed", "max_epochs")  # a study that is broken off has its first seed, and its short runs, for all methods

Settings = dict[str, Any]


@dataclass(frozen=True)
class Combinations:
    """What a grid comes to.

    Attributes:
        runs: the settings of each, by axis, in the order in which they are to be run.
        factors: how many values each axis has; axes whose values depend on each other are one factor.
        excluded: how many combinations the grid leaves out.
        unfit: how many more cannot be: alphas or probabilities of another number than methods.
    """

    runs: tuple[Settings, ...]
    factors: tuple[tuple[str, int], ...]
    excluded: int
    unfit: int

    @property
    def count(self) -> str:
        """How the number of runs comes about.

        >>> Combinations(({},) * 22, (("mix_mode", 3), ("alpha", 2), ("seed", 4)), 2, 0).count
        '22 runs = 3 mix_mode x 2 alpha x 4 seed, less 2 excluded'
        """
        number = len(self.runs)
        text = f"{number} run{'s' if number > 1 else ''} = " + " x ".join(f"{n} {name}" for name, n in self.factors)
        less = [f"{self.excluded} excluded"] if self.excluded else []
        less += [f"{self.unfit} with a list of another length than mix_mode's"] if self.unfit else []
        return text + (f", less {' and '.join(less)}" if less else "")


def combine(grid: Grid) -> Combinations:
    """Return all combinations of a grid's values but those that are excluded or cannot be.

    Raises:
        UserError: there are too many, or none is left, or a value or an exclusion is in none.
    """
    names = [axis.name for axis in grid.axes]
    product = math.prod(len(values) for values in grid.values.values())
    if product > MOST:
        raise UserError(f"{product:,} combinations are more than a study can have, {MOST:,}")
    order = [name for name in OUTER if name in names] + [name for name in names if name not in OUTER]
    combinations = list(_product(grid, order))
    used = [0] * len(grid.exclude)
    runs, excluded, unfit = [], 0, 0
    for settings in combinations:
        hits = [all(_is_one_of(settings, axis, v) for axis, v in item.items()) for item in grid.exclude]
        used = [count + hit for count, hit in zip(used, hits, strict=True)]
        if any(hits):
            excluded += 1
        elif _fits(settings):
            runs.append({name: settings[name] for name in names if name in settings})
        else:
            unfit += 1
    for item, count in zip(grid.exclude, used, strict=True):
        if not count:
            raise UserError(f"no combination has what is to be excluded: {_spelt(item)}")
    _check_all_used(grid, runs)
    return Combinations(tuple(runs), tuple(_factors(grid, names, combinations)), excluded, unfit)


def _product(grid: Grid, order: list[str]) -> Iterator[Settings]:
    """Yield all combinations, the last axis the quickest."""
    if not order:
        yield {}
        return
    *before, name = order
    for settings in _product(grid, before):
        values = grid.values[name] if name != "alpha" or grid.by_mode is None else _alphas(grid.by_mode, settings)
        for value in values:
            yield {**settings, name: value}
        if not values:  # the method's own, or its base's
            yield settings


def _alphas(by_mode: Mapping[str, Any], settings: Settings) -> list[Any]:
    mode, network = joined(settings["mix_mode"], "+"), settings.get("backbone")
    alphas = by_mode.get(mode, [])
    if not isinstance(alphas, Mapping):
        return alphas
    if network not in alphas:
        raise UserError(f"alpha of {mode} has no value for the network {network}; it has {', '.join(alphas)}")
    return alphas[network]


def _is_one_of(settings: Settings, axis: str, values: list[Any]) -> bool:
    return axis in settings and settings[axis] in values


def _fits(settings: Settings) -> bool:
    """Return whether the lists, of what there is one for each method, are as long as that of the methods."""
    if "mix_mode" not in settings:
        return True
    mode = settings["mix_mode"]
    lists = [settings[name] for name in ("alpha", "mix_prob") if isinstance(settings.get(name), list)]
    return all(isinstance(mode, list) and len(each) == len(mode) for each in lists)


def _check_all_used(grid: Grid, runs: list[Settings]) -> None:
    for name, values in grid.values.items():
        if name == "alpha" and grid.by_mode is not None:  # it may be of a method that this grid has not
            continue
        for value in values:
            if not any(_is_one_of(run, name, [value]) for run in runs):
                lists = "; a list of alphas or probabilities is for as many methods, and 'none' goes with any"
                is_of_lists = name in ("mix_mode", "alpha", "mix_prob")
                raise UserError(f"no run is left that has {name} {joined(value, '+')}{lists if is_of_lists else ''}")


def _factors(grid: Grid, names: list[str], combinations: list[Settings]) -> Iterator[tuple[str, int]]:
    """Yield the number of values of each axis; alphas that depend on the method are counted with it and the network."""
    together = [name for name in ("backbone", "mix_mode", "alpha") if name in names] if grid.by_mode is not None else []
    if together:
        different = {repr([settings.get(name) for name in together]) for settings in combinations}
        yield f"({', '.join(together)})", len(different)
    for name in names:
        if name not in together:
            yield name, len(grid.values[name])


def _spelt(item: Mapping[str, list[Any]]) -> str:
    return " ".join(f"{name}={','.join(joined(v, '+') for v in values)}" for name, values in item.items())
