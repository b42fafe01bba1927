"""Check config files, or all config files below folders, without touching data."""

import argparse
import ast
import tempfile
from pathlib import Path

from openmix.errors import UserError

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="config file or folder; _base_ is skipped")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="also run 2 training steps and a validation batch")
    how.add_argument(
        "--static", action="store_true",
        help="for configs from others: execute nothing, and say whether loading them would run any code",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Check each file; return 2 if any is wrong."""
    files = find_configs(arguments.paths)
    wrong = 0
    for file in files:
        try:
            notes = check_static(file) if arguments.static else check(file, arguments.dry_run)
        except Exception as error:  # of whatever kind: the other files are to be checked as well
            error = error if isinstance(error, UserError) else f"the check failed: {type(error).__name__}: {error}"
            wrong += 1
            print(f"WRONG {file}\n  " + str(error).replace("\n", "\n  "))
        else:
            print(f"ok    {file}" + "".join(f"\n      {note}" for note in notes))
    verdict = "are data alone; what they say has not been checked" if arguments.static else "are right"
    print(f"{len(files) - wrong} of {len(files)} config files {verdict}")
    return 2 if wrong else 0


def find_configs(paths: list[str]) -> list[str]:
    """Return the config files among and below ``paths``, sorted within each folder.

    Raises:
        UserError: a path is missing, or no config file is there.
    """
    files: list[str] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = [p for p in sorted(path.rglob("*.py")) if "_base_" not in p.parts]
            files += map(str, found)
        elif path.is_file():
            files.append(str(path))
        else:
            raise UserError(f"no config file or folder {path}")
    if not files:
        raise UserError(f"no config file below {', '.join(paths)}")
    return files


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
