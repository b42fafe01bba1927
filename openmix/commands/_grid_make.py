"""Write a study: one short config a run, a manifest, and scripts that train and evaluate them.

The runs are all combinations of the values of some axes (methods, alphas, epochs, seeds, networks, or any key of a
config) over a base config; a file in configs/grids can hold base and axes, and options here then replace its axes. Each
config is checked before any is written. The same command again changes nothing; one with more values adds to the study.
A list, such as two methods in turn, is written with +: --mix-mode mixup+cutmix --alpha 0.1+1 --mix-prob 0.4+0.6
"""

import argparse
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmix.errors import UserError

if TYPE_CHECKING:
    from openmix.results.grids.making import Made
    from openmix.results.grids.runs import PlannedRun
    from openmix.results.grids.spec import Grid

__all__ = ["add_arguments", "main"]

BASE = "configs/classification/cifar10/mixups/basic/r18_mixups_CE_none.py"
OPTIONS = {
    "mix_mode": "mixing methods: mixup cutmix mixup+cutmix vanilla ...",
    "alpha": "Beta's parameter; none is each method's own",
    "mix_prob": "probabilities of the methods of a list: 0.4+0.6; none is equal ones",
    "max_epochs": "lengths of the training",
    "seed": "seeds",
    "backbone": "networks, each by its own config beside BASE: r18 rx50",
    "lr": "learning rates",
    "weight_decay": "weight decays",
    "batch_size": "images a step and process",
    "mix_repeat": "mixes of each batch",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "base", nargs="?", metavar="BASE", help=f"config that the runs inherit, or a grid file (default: {BASE})"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the study's folder, which may be there already")
    for name, text in OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="+", metavar="VALUE", help=text)
    parser.add_argument(
        "--axis", nargs="+", action="append", default=[], metavar=("KEY", "VALUE"),
        help="any other key of the config, such as --axis model.head.loss.type MixCrossEntropy MixBinaryCrossEntropy",
    )  # fmt: skip
    parser.add_argument(
        "--exclude", nargs="+", action="append", default=[], metavar="AXIS=VALUE",
        help="leave out combinations that have all of these; a comma is or: --exclude mix_mode=vanilla alpha=0.2,1",
    )  # fmt: skip
    parser.add_argument("--nproc", type=int, default=1, metavar="N", help="processes a run in the scripts (default: 1)")
    parser.add_argument("--prune", action="store_true", help="drop configs that the grid has not; runs/ is kept")


def main(arguments: argparse.Namespace) -> int:
    """Write the study and say what was written."""
    from openmix.results.grids.making import make_study

    if arguments.nproc < 1:
        raise UserError(f"--nproc must be at least 1, got {arguments.nproc}")
    folder = Path(arguments.out)
    made = make_study(_grid(arguments), folder, arguments.nproc, arguments.prune, _shown)
    _report(made, folder)
    return 0


def _grid(arguments: argparse.Namespace) -> "Grid":
    """Return the grid of the file that is named, and of the options."""
    from openmix.results.grids.axes import axis_of
    from openmix.results.grids.grid_file import is_grid_file, read_grid
    from openmix.results.grids.spec import grid_of

    file = arguments.base or BASE
    if arguments.base is None and not Path(BASE).is_file():
        raise UserError(f"name a BASE: the default one, {BASE}, is found from the root of openmix's repository alone")
    written: dict[str, Any] = read_grid(file) if is_grid_file(file) else {"base": file}
    axes = {axis_of(str(name)).name: values for name, values in written.pop("axes", {}).items()}
    given = _axes(arguments)
    if not {**axes, **given}:
        raise UserError(f"name at least one axis, such as --mix-mode mixup cutmix, or a grid file; {file} is a config")
    exclude = [*written.pop("exclude", []), *map(_exclusion, arguments.exclude)]
    return grid_of(written.pop("base", BASE), {**axes, **given}, exclude, **written)


def _axes(arguments: argparse.Namespace) -> dict[str, list[Any]]:
    from openmix.results.grids.axes import axis_of, value_of

    words = [(name, getattr(arguments, name)) for name in OPTIONS if getattr(arguments, name) is not None]
    words += [(axis_of(key).name, values) for key, *values in arguments.axis]
    axes: dict[str, list[Any]] = {}
    for name, values in words:
        if name in axes:
            raise UserError(f"{name} is given twice")
        axes[name] = [value_of(value) for value in values]
    return axes


def _exclusion(words: Sequence[str]) -> dict[str, Any]:
    from openmix.results.grids.axes import value_of

    item: dict[str, Any] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not equals or not values or name in item:
            raise UserError(f"--exclude takes AXIS=VALUE, each axis once, got {' '.join(words)}")
        item[name] = [value_of(value) for value in values.split(",")]
    return item


def _shown(runs: Sequence["PlannedRun"]) -> Iterable["PlannedRun"]:
    """Yield the runs under a progress bar, on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = not console.is_terminal
    return track(runs, "checking configs", console=console, transient=True, disable=hidden)


def _report(made: "Made", folder: Path) -> None:
    print(made.count)
    for note in made.notes:
        print(f"note: {note}")
    if made.stale:
        number = len(made.stale)
        print(
            f"note: {number} work dir{'s hold' if number > 1 else ' holds'} results of another config than the run's: "
            f"{', '.join(made.stale[:5])}{' ...' if number > 5 else ''}; run anew, these move to earlier/ there"
        )
    if not (made.new or made.changed or made.removed):
        print(f"{folder} is as it was")
        return
    parts = [f"{len(made.new)} new", f"{len(made.changed)} changed", f"{len(made.removed)} removed"]
    print(f"wrote {folder}: configs ({', '.join(parts)}), manifest.json, train.sh, test.sh")
    quoted = shlex.quote(str(folder))
    print(f"next: openmix grid run {quoted}, or bash {quoted}/train.sh; then openmix table {quoted}")
