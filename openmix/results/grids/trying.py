"""Loads the configs of planned runs, as a run would, before any of them is put in place."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmix.engine.config import load_config
from openmix.engine.config_hash import config_hash
from openmix.errors import UserError
from openmix.mixers.catalog import get_method
from openmix.mixers.mixer import build_mixer
from openmix.results.grids.names import joined
from openmix.results.grids.runs import PlannedRun

__all__ = ["Progress", "Tried", "ignored_alphas", "representatives", "try_runs"]

Progress = Callable[[Sequence[PlannedRun]], Iterable[PlannedRun]]


@dataclass(frozen=True)
class Tried:
    """A run whose config is right: its hash, and what it says of ``model``."""

    run: PlannedRun
    config_hash: str
    model: Mapping[str, Any]


def try_runs(runs: Sequence[PlannedRun], folder: Path, progress: Progress = iter) -> list[Tried]:
    """Write each run's config into a folder and load it from there.

    Args:
        runs: the runs.
        folder: an empty one, of which nothing is kept.
        progress: yields the runs, and may show how far it is.

    Raises:
        UserError: a config is wrong; the message names the run and the key.
    """
    tried = []
    for run in progress(runs):
        file = folder / f"{run.name}.py"
        file.write_text(run.text(folder), encoding="utf-8")
        try:
            cfg = load_config(str(file))
        except UserError as error:
            text = str(error)
            for spelt in (str(file), os.path.relpath(file)):  # of a file that will not be kept
                text = text.replace(spelt, file.name)
            raise UserError(f"the run {run.name} would be wrong: {text.removeprefix(f'{file.name}: ')}") from error
        finally:
            file.unlink()
        content = cfg.to_dict()
        tried.append(Tried(run, config_hash(content), content["model"]))
    return tried


def representatives(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return some of the runs, among which are all bases and all values of all axes."""
    chosen, seen = [], set()
    for run in runs:
        parts = {("", str(run.base)), *((name, repr(value)) for name, value in run.settings.items())}
        if not parts <= seen:
            chosen.append(run)
            seen |= parts
    return chosen


def ignored_alphas(tried: Sequence[Tried]) -> list[str]:
    """Return notes on runs that differ in an alpha alone which their methods do not use."""
    found: dict[str, set[str]] = {}
    for _, group in itertools.groupby(sorted(tried, key=_but_for_alpha), key=_but_for_alpha):
        same = list(group)
        if len(same) > 1 and not _uses_alpha(same[0].model):
            alphas = found.setdefault(joined(same[0].model["mix_mode"], "+"), set())
            alphas |= {joined(t.run.settings["alpha"], "+") for t in same if "alpha" in t.run.settings}
    return [
        f"{mode} does not use alpha: its runs with alpha {', '.join(sorted(alphas))} are the same; "
        f"--exclude mix_mode={mode} alpha={sorted(alphas)[-1]} would leave some out"
        for mode, alphas in sorted(found.items())
    ]


def _but_for_alpha(tried: Tried) -> str:
    return repr({name: value for name, value in tried.run.settings.items() if name != "alpha"})


def _uses_alpha(model: Mapping[str, Any]) -> bool:
    if "mix_mode" not in model:  # a task of its own
        return True
    modes = [model["mix_mode"]] if isinstance(model["mix_mode"], str) else model["mix_mode"]
    for mode in modes:
        own, method = (model.get("mix_args") or {}).get(mode, {}), get_method(mode)
        switch = method.hyper.get("use_alpha")  # of a port that has drawn otherwise in other years
        switched_on = switch is None or build_mixer(mode, **own).hyper.get("use_alpha", switch.default)
        if "alpha" in method.hyper and "alpha" not in own and switched_on:
            return True
    return False
