"""The runs of a grid: which config each inherits, what it is called, and the text of its own config."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmix.errors import UserError
from openmix.results.grids.axes import Axis
from openmix.results.grids.bases import base_of, is_learned
from openmix.results.grids.combinations import Combinations
from openmix.results.grids.names import check_names, described, name_of
from openmix.results.grids.spec import Grid

__all__ = ["PlannedRun", "plan"]

RUNS = "runs"  # beside the folder of the configs


@dataclass(frozen=True)
class PlannedRun:
    """One run of a grid.

    Attributes:
        name: unique in the grid, a file's name.
        base: the config that it inherits.
        axes: what the runs of the grid differ in, in order.
        settings: its values, by axis.
    """

    name: str
    base: Path
    axes: tuple[Axis, ...]
    settings: Mapping[str, Any]

    def text(self, folder: Path) -> str:
        """Return its config, for a folder of configs."""
        base = _path_from(folder, self.base)
        keys = "".join(f"{key} = {_source(value)}\n" for key, value in self._nested().items())
        return (
            f'"""{described(self.axes, self.settings)}: one of the runs in ../manifest.json."""\n\n'
            f"_base_ = {_source(base)}\n{keys}"
            f'work_dir = "{{{{ fileDirname }}}}/../{RUNS}/{self.name}"\n'
        )

    def _nested(self) -> dict[str, Any]:
        """Return what the config sets, dicts in dicts."""
        nested: dict[str, Any] = {}
        for axis in self.axes:
            if axis.name not in self.settings or not axis.key or self._is_implied(axis):
                continue
            *outer, last = axis.key.split(".")
            into = nested
            for part in outer:
                into = into.setdefault(part, {})
            value = self.settings[axis.name]
            replaces = isinstance(value, Mapping) and "type" in value
            into[last] = {"_delete_": True, **value} if replaces else value
        return nested

    def _is_implied(self, axis: Axis) -> bool:
        """A learned method's task takes neither its own name nor probabilities."""
        if not is_learned(self.settings.get("mix_mode")):
            return False
        return axis.name == "mix_mode" or (axis.name == "mix_prob" and self.settings["mix_prob"] is None)


def plan(grid: Grid, combinations: Combinations) -> list[PlannedRun]:
    """Return the runs of a grid's combinations.

    Raises:
        UserError: there is no base for a network or a method, or two runs would be called the same.
    """
    bases: dict[str, Path] = {}
    runs = []
    for settings in combinations.runs:
        key = repr((settings.get("backbone"), settings.get("mix_mode")))
        if key not in bases:
            bases[key] = base_of(grid, settings)
        runs.append(PlannedRun(name_of(grid.base, grid.axes, settings), bases[key], grid.axes, settings))
    check_names((run.name, run.settings) for run in runs)
    return runs


def _path_from(folder: Path, file: Path) -> str:
    """Return the way to a file: relative, unless there is a link on it, past which ``..`` means two things."""
    as_spelt, as_it_lies = os.path.relpath(file, folder), os.path.relpath(file.resolve(), folder.resolve())
    return as_it_lies if as_spelt == as_it_lies else str(file.resolve())


def _source(value: Any) -> str:
    """Return a plain value as configs spell it: ``dict(...)``, double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        if not all(key.isidentifier() for key in value):
            return "{" + ", ".join(f"{_source(k)}: {_source(v)}" for k, v in value.items()) + "}"
        return f"dict({', '.join(f'{k}={_source(v)}' for k, v in value.items())})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_source, value))}]"
    if not isinstance(value, int | float | None):
        raise UserError(f"no value for a config: {value!r}")
    return repr(value)
