"""Read every image of data sets, and list those that are damaged and those that are odd.

For a folder, all images below it are read; for a config, its training, validation and test sets; for a folder that
openmix data cache wrote, its SHA-256 is compared. Exit code 0: all can be read, 1: some cannot, 2: wrong input.
"""

import argparse
import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmix.commands._data_sets import sets_of_config, sets_of_folder
from openmix.commands._parallel import in_parallel, stopped_by_signals
from openmix.errors import DamagedImageError, Reported, UserError

__all__ = ["add_arguments", "main"]

SHOWN = 20  # of each kind that are printed; --out has all


@dataclass(frozen=True)
class Found:
    """Something found about an image: what it is called, whether it is damage, and what."""

    name: str
    is_damage: bool
    what: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folder or config file (Python: only what you trust)")
    parser.add_argument("--out", metavar="FILE", help="write all that is found there, tab-separated")


def main(arguments: argparse.Namespace) -> int:
    """Look through each set; return 1 if an image is damaged."""
    from openmix.data.verifying import strict_jpeg

    if arguments.jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {arguments.jobs}")
    if arguments.out:
        _check_out(Path(arguments.out))
    sets = [(f"{path} {name}".strip(), source) for path in arguments.paths for name, source in _open(path).items()]
    found: list[Found] = []
    for title, source in sets:
        found += _look_through(title, source, arguments.jobs)
    if strict_jpeg() is None:
        print("simplejpeg is not installed: JPEGs that are spoilt inside, which decode with grey parts, were not seen")
    if arguments.out:
        _write(Path(arguments.out), found)
    _summarize(found)
    return 1 if any(item.is_damage for item in found) else 0


def _check_out(path: Path) -> None:
    """Raise UserError for a file that cannot be written, before hours are spent on reading."""
    if (path.exists() and not path.is_file()) or not path.absolute().parent.is_dir():
        raise UserError(f"--out must name a file in a folder that is there, got {path}")
    beside = path.with_name(f".{path.name}.tmp")  # as write_whole does
    try:
        beside.open("wb").close()
        beside.unlink()
    except OSError as error:
        raise UserError(f"--out {path} cannot be written: {error.strerror}") from None


def _open(path: str) -> dict[str, Any]:
    """Return the data sets that a path stands for."""
    if Path(path).is_dir():
        return sets_of_folder(Path(path), by_class=False)
    if not Path(path).is_file():
        raise UserError(f"no folder or config file {path}")
    return sets_of_config(path)


def _look_through(title: str, source: Any, jobs: int) -> list[Found]:
    """Return what is found in one set, in its order."""
    from openmix.data.sources import CachedImages, EncodedSource

    if isinstance(source, CachedImages):
        return _check_sum(title, source)
    if not isinstance(source, EncodedSource):
        print(f"{title}: {type(source).__name__} holds no encoded images: nothing to look for")
        return []
    found = [item for _, items in sorted(_inspected(title, source, jobs)) for item in items]
    damaged = sum(item.is_damage for item in found)
    print(f"{title}: {len(source) - damaged} of {len(source)} images can be read")
    return found


def _inspected(title: str, source: Any, jobs: int) -> Iterator[tuple[int, list[Found]]]:
    """Yield each image's number and what is found about it, where anything is, in any order."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(highlight=False)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with (
        stopped_by_signals(),
        in_parallel(_Inspector(source), [str(i) for i in range(len(source))], jobs) as outcomes,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        for outcome in progress.track(outcomes, total=len(source), description=title):
            if outcome.error:
                raise Reported(f"{source.name(int(outcome.item))}: {outcome.error}")
            if outcome.result:
                name = source.name(int(outcome.item))
                yield int(outcome.item), [Found(name, *item) for item in outcome.result]


@dataclass(frozen=True)
class _Inspector:
    """Inspects the image of a number; gives ``(is damage, what)`` of all that is found."""

    source: Any

    def __call__(self, item: str) -> list[tuple[bool, str]]:
        from openmix.data.verifying import inspect

        index = int(item)
        try:
            data = self.source.encoded(index)
        except DamagedImageError as error:
            return [(True, error.reason)]
        with _stderr_closed():
            damage, oddities = inspect(data, self.source.name(index))
        return ([(True, damage)] if damage else []) + [(False, what) for what in oddities]


@contextlib.contextmanager
def _stderr_closed() -> Iterator[None]:
    """Keep libjpeg and libtiff, which write there themselves and without a name, from writing into the progress bar."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _check_sum(title: str, source: Any) -> list[Found]:
    from openmix.data.sources.cached import IMAGES, sha256

    if sha256(source.path / IMAGES) != source.header["files"][IMAGES]["sha256"]:
        return [Found(str(source.path / IMAGES), True, "its SHA-256 is not the header's: it is damaged")]
    print(f"{title}: the SHA-256 of {len(source)} images is right")
    return []


def _write(path: Path, found: list[Found]) -> None:
    """Write all that was found, entirely or not at all."""
    from openmix.data.whole_files import write_whole

    lines = [f"{item.name}\t{'damaged' if item.is_damage else 'odd'}\t{item.what}\n" for item in found]
    try:
        write_whole(path, "".join(["image\tkind\twhat\n", *lines]).encode(errors="surrogateescape"))
    except OSError as error:
        raise Reported(f"cannot write {path}: {error.strerror}") from error


def _summarize(found: list[Found]) -> None:
    """Print the damaged images, and how many are odd in each way."""
    damaged = [item for item in found if item.is_damage]
    for item in damaged[:SHOWN]:
        print(f"damaged: {item.name} {item.what}".encode(errors="replace").decode())
    if len(damaged) > SHOWN:
        print(f"... {len(damaged) - SHOWN} more, which --out FILE lists")
    odd = [item for item in found if not item.is_damage]
    examples = {item.what: item.name for item in reversed(odd)}
    for what, count in sorted(Counter(item.what for item in odd).items()):
        print(f"odd: {what}: {count}, such as {examples[what]}".encode(errors="replace").decode())
