"""Write smaller JPEG copies of all images below a folder, such as the 160 and 352 px sets of R-Mix's ImageNet recipe.

The copies lie below DST/size160 and so on, in SRC's tree. The same command goes on where an earlier one was stopped.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from openmix.commands._choices import FILTERS
from openmix.commands._parallel import cpus, in_parallel, stopped_by_signals
from openmix.errors import Reported, UserError

if TYPE_CHECKING:
    from openmix.data.resizing import ImageResizer

__all__ = ["add_arguments", "main"]

SETTINGS, FAILURES, LOCK = "resize.json", "failures.txt", ".lock"
SHOWN = 20  # failures that are printed; the file has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", metavar="SRC", help="folder of images, such as one with train/CLASS/*.JPEG")
    parser.add_argument("destination", metavar="DST", help="folder for the copies; not in SRC")
    parser.add_argument(
        "--size", nargs="+", type=int, default=[160, 352], metavar="N",
        help="the copies' shorter side in pixels, a set for each (default: 160 352)",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=cpus(), metavar="N", help="processes (default: one for each CPU)")
    parser.add_argument("--quality", type=int, default=75, metavar="N", help="JPEG's, 1 to 100 (default: %(default)s)")
    parser.add_argument("--filter", choices=FILTERS, default="bicubic", help="Pillow's (default: %(default)s)")


def main(arguments: argparse.Namespace) -> int:
    """Write the copies that are missing; return 1 if an image could not be read."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    from openmix.data.sources.folder import walk_images

    resizer = _resizer(arguments)
    tree = walk_images(resizer.source)
    names = [os.path.join(folder, name) for folder, images in tree for name in images]
    _check_names(names, resizer.source)
    _check_settings(resizer)

    console = Console(highlight=False)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    written, failures = 0, []
    with (
        _prepared(resizer, [folder for folder, _ in tree]),
        stopped_by_signals(),
        in_parallel(resizer, names, arguments.jobs) as outcomes,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        for outcome in progress.track(outcomes, total=len(names), description="images"):
            if isinstance(outcome.error, OSError):  # not this image's fault: all others would meet it
                raise Reported(f"cannot write a copy of {outcome.item}: {outcome.error}")
            if outcome.error:
                failures.append(f"{outcome.item}\t{outcome.error}")
            written += outcome.result or 0
    _report(resizer.destination / FAILURES, sorted(failures))
    there = len(resizer.sizes) * (len(names) - len(failures)) - written
    folders = ", ".join(str(resizer.folder(size)) for size in resizer.sizes)
    console.print(f"{len(names) - len(failures)} of {len(names)} images are in {folders}", soft_wrap=True)
    console.print(f"{written} copies written, {there} were there")
    return 1 if failures else 0


def _resizer(arguments: argparse.Namespace) -> "ImageResizer":
    """Return the resizer that the arguments describe.

    Raises:
        UserError: they make no sense.
    """
    from openmix.data.resizing import ImageResizer

    source, destination, sizes = Path(arguments.source), Path(arguments.destination), arguments.size
    if min(sizes) < 1 or len(set(sizes)) < len(sizes):
        raise UserError(f"--size takes different numbers of pixels, at least 1, got {' '.join(map(str, sizes))}")
    if arguments.jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {arguments.jobs}")
    if not 1 <= arguments.quality <= 100:
        raise UserError(f"--quality must be in 1..100, got {arguments.quality}")
    if not source.is_dir():
        raise UserError(f"SRC is no folder: {source}")
    if destination.exists() and not destination.is_dir():
        raise UserError(f"DST is no folder: {destination}")
    resizer = ImageResizer(source, destination, sizes, arguments.quality, arguments.filter)
    absolute = source.resolve()
    if destination.resolve().is_relative_to(absolute):
        raise UserError(f"DST is in SRC, and would be resized as well: {destination}")
    if any(absolute.is_relative_to(resizer.folder(size).resolve()) for size in sizes):
        raise UserError(f"SRC is where the copies go: {source}")
    return resizer


def _check_names(names: Sequence[str], source: Path) -> None:
    """Raise UserError if there is no image, or two would have one copy."""
    from openmix.data.resizing import copy_name

    if not names:
        raise UserError(f"no image below {source}")
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(copy_name(name), name)
        if other is not name:
            raise UserError(f"{other} and {name} would both become {copy_name(name)}; rename one")


def _settings(resizer: "ImageResizer") -> dict[str, Any]:
    return {"source": str(resizer.source.resolve()), "quality": resizer.quality, "filter": resizer.filter}


def _check_settings(resizer: "ImageResizer") -> None:
    """Raise UserError if an earlier call began a set with other settings, which would be mixed."""
    for size in resizer.sizes:
        try:
            before = dict(json.loads((resizer.folder(size) / SETTINGS).read_text()))
        except (OSError, ValueError, TypeError):  # not begun, or a kill left half a file
            continue
        changed = [f"{key} {before[key]}" for key, now in _settings(resizer).items() if before.get(key, now) != now]
        if changed:
            raise UserError(
                f"{resizer.folder(size)} was begun with {', '.join(changed)}; give the same, or another DST"
            )


@contextlib.contextmanager
def _prepared(resizer: "ImageResizer", folders: Sequence[str]) -> Iterator[None]:
    """Make the tree of folders, those without images too, as they count as classes, and keep others from writing to it.

    Raises:
        UserError: it cannot be written, or somebody is writing to it.
    """
    import fcntl

    with contextlib.ExitStack() as stack:
        try:
            resizer.destination.mkdir(parents=True, exist_ok=True)
            # the processes inherit the lock: where this one is killed, the others hold it until they have stopped
            lock: IO[str] = stack.enter_context(open(resizer.destination / LOCK, "a"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for size in resizer.sizes:
                for folder in folders:
                    (resizer.folder(size) / folder).mkdir(parents=True, exist_ok=True)
                (resizer.folder(size) / SETTINGS).write_text(json.dumps(_settings(resizer), indent=2) + "\n")
        except BlockingIOError:
            raise UserError(f"another openmix resize is writing to {resizer.destination}") from None
        except OSError as error:
            raise UserError(f"cannot write to {resizer.destination}: {error}") from error
        yield


def _report(file: Path, failures: Sequence[str]) -> None:
    """Print and write which images failed, or remove what an earlier call wrote."""
    if not failures:
        file.unlink(missing_ok=True)
        return
    file.write_text("\n".join(failures) + "\n", errors="surrogateescape")
    more = f"\n... {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
    print(f"{len(failures)} images failed, see {file}:\n" + "\n".join(failures[:SHOWN]) + more, file=sys.stderr)
