"""Check config files, or all config files below folders, without touching data.

Of a grid file (configs/grids) as many of its runs' configs are checked as have all its bases and all its values.
"""

import argparse
import ast
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from openmix.errors import UserError

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="config or grid file, or folder, in which _base_ and work dirs are skipped",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="also run 2 training steps and a validation batch")
    how.add_argument(
        "--static", action="store_true",
        help="for configs from others: execute nothing, and say whether loading them would run any code",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Check each file; return 2 if any is wrong."""
    files, grids = find_configs(arguments.paths), find_grids(arguments.paths)
    check_one = check_static if arguments.static else lambda file: check(file, arguments.dry_run)
    check_other = check_static if arguments.static else check_grid
    verdict = "are data alone; what they say has not been checked" if arguments.static else "are right"
    wrong = 0
    for kind, found, check_kind in (("config", files, check_one), ("grid", grids, check_other)):
        if found:
            those = _check_all(found, check_kind)
            print(f"{len(found) - those} of {len(found)} {kind} files {verdict}")
            wrong += those
    return 2 if wrong else 0


def _check_all(files: Sequence[str], check_one: Callable[[str], list[str]]) -> int:
    """Check each file, say of each what was found, and return how many are wrong."""
    wrong = 0
    for file in files:
        try:
            notes = check_one(file)
        except Exception as error:  # of whatever kind: the other files are to be checked as well
            error = error if isinstance(error, UserError) else f"the check failed: {type(error).__name__}: {error}"
            wrong += 1
            print(f"WRONG {file}\n  " + str(error).replace("\n", "\n  "))
        else:
            print(f"ok    {file}" + "".join(f"\n      {note}" for note in notes))
    return wrong


def find_configs(paths: Sequence[str]) -> list[str]:
    """Return the config files among and below ``paths``, sorted within each folder; grid files are none.

    Raises:
        UserError: a path is missing, or no file is there.
    """
    from openmix.results.grids.grid_file import is_grid_file

    return [file for file in _files(paths) if not is_grid_file(file)]


def find_grids(paths: Sequence[str]) -> list[str]:
    """Return the grid files among and below ``paths``, as :func:`find_configs` does configs."""
    from openmix.results.grids.grid_file import is_grid_file

    return [file for file in _files(paths) if is_grid_file(file)]


def _files(paths: Sequence[str]) -> list[str]:
    files: list[str] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += map(str, sorted(_below(path)))
        elif path.is_file():
            files.append(str(path))
        else:
            raise UserError(f"no config file or folder {path}")
    if not files:
        raise UserError(f"no config file below {', '.join(paths)}")
    return files


def _below(folder: Path) -> Iterator[Path]:
    """Yield the Python files below a folder that are no bases, no run's record, and no study's that is being made."""
    for here, folders, names in os.walk(folder):
        place = Path(here)
        folders[:] = [f for f in folders if not f.startswith(".making-") and not (place / f / "run.json").is_file()]
        if "_base_" not in place.parts:
            yield from (place / name for name in names if name.endswith(".py"))


def check(file: str, dry_run: bool) -> list[str]:
    """Check one file and return notes on what could not be tried."""
    from openmix.engine import run
    from openmix.engine.config import load_config
    from openmix.engine.distributed import World

    cfg = load_config(file)
    claims = not file.endswith(".py") or ast.get_docstring(ast.parse(Path(file).read_text()))
    notes = [] if claims else ["has no docstring to state its claim"]
    if dry_run:
        with tempfile.TemporaryDirectory() as work_dir:
            try:
                notes += run.dry_run(cfg, work_dir, World())
            except UserError:
                raise
            except Exception as error:  # to go on with the next file
                raise UserError(f"the dry run failed: {type(error).__name__}: {error}") from error
    return notes


def check_grid(file: str) -> list[str]:
    """Check a grid file by the configs of some of its runs, and return how many it has.

    Raises:
        UserError: the grid is wrong, or a run's config; the message names the run.
    """
    from openmix.results.grids.combinations import combine
    from openmix.results.grids.grid_file import read_grid
    from openmix.results.grids.runs import plan
    from openmix.results.grids.spec import grid_of
    from openmix.results.grids.trying import representatives, try_runs

    written = read_grid(file)
    if "base" not in written:
        raise UserError(f"{file} has no base, so it cannot be checked alone")
    grid = grid_of(**written)
    combinations = combine(grid)
    some = representatives(plan(grid, combinations))
    with tempfile.TemporaryDirectory() as folder:
        try_runs(some, Path(folder))
    return [f"{combinations.count}; {len(some)} of them tried, all bases and all values"]


def check_static(file: str) -> list[str]:
    """Read one file and its bases, executing nothing, and return notes.

    Raises:
        UserError: loading it would run code; the message names each place.
    """
    from openmix.engine.static_config import read_static

    reading = read_static(file)
    if code := reading.code + reading.imports:
        raise UserError("\n".join(code))
    return reading.notes
