"""Write the images of data sets, made square and small, into one file for each set, which is mapped when it is read.

A folder's set, of one folder a class, goes to OUT; a config's sets go to OUT/train, OUT/val and OUT/test. Use them by
dataset=dict(type="CachedImages", path="OUT/train"). Memory and disk: 3 N^2 bytes an image; Tiny-ImageNet's 100,000
training images of 64 pixels take 1.23 GB, ImageNet's 1,281,167 of 224 take 193 GB.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from openmix.commands._choices import FILTERS, MODES
from openmix.commands._data_sets import sets_of_config, sets_of_folder
from openmix.commands._parallel import in_parallel, stopped_by_signals
from openmix.errors import Reported, UserError

__all__ = ["add_arguments", "main"]

BEGUN, DONE, LOCK = "begun.json", "done.part", ".lock"
SHOWN = 20  # failures that are printed
SPARE = 64 << 20  # bytes that are to stay free on the disk
FLUSHED = 1000  # images after which what is written is made safe against a power failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", metavar="CONFIG_OR_FOLDER", help="config file (only what you trust), or folder")
    parser.add_argument("out", metavar="OUT", help="folder for the sets")
    parser.add_argument("--size", type=int, default=64, metavar="N", help="side in pixels (default: %(default)s)")
    parser.add_argument(
        "--mode", choices=MODES, default="shorter",
        help="shorter: scale the shorter side to N and take the centre; square: scale both (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--filter", choices=FILTERS, default="bicubic", help="Pillow's (default: %(default)s)")


def main(arguments: argparse.Namespace) -> int:
    """Write each set; return 1 if an image could not be read."""
    from openmix.data.caching import ImageCacher
    from openmix.data.sources import ArraySource

    if arguments.jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {arguments.jobs}")
    if arguments.size < 1:
        raise UserError(f"--size must be at least 1, got {arguments.size}")
    path, out = Path(arguments.source), Path(arguments.out)
    if not path.exists():
        raise UserError(f"no config file or folder {path}")
    if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise UserError(f"OUT is in the folder that is read: {out}")
    sets = sets_of_folder(path, by_class=True) if path.is_dir() else sets_of_config(str(path))
    in_memory = [f"{name}: {type(source).__name__}" for name, source in sets.items() if isinstance(source, ArraySource)]
    if in_memory:
        raise UserError(f"{path} names sets that are in memory already ({', '.join(in_memory)})")
    failed = 0
    for name, source in sets.items():
        folder = out / name
        cacher = ImageCacher(source, folder / "images.bin.part", arguments.size, arguments.mode, arguments.filter)
        failed += _cache(cacher, folder, arguments.jobs)
    return 1 if failed else 0


def _cache(cacher: Any, folder: Path, jobs: int) -> int:
    """Write one set, or go on with it, and return how many images failed."""
    from openmix.data.sources.cached import HEADER

    settings = _settings(cacher)
    before = _before(folder)
    changed = [f"{key} {before[key]}" for key in settings if before and before.get(key) != settings[key]]
    if changed:
        what = "holds" if (folder / HEADER).exists() else "was begun with"
        raise UserError(f"{folder} {what} another set ({', '.join(changed)}); give the same, or another OUT")
    if (folder / HEADER).exists():
        print(f"{folder}: {len(cacher.source)} images of {cacher.size} x {cacher.size} are there")
        return 0
    total = len(cacher.source) * cacher.image_bytes
    _check_space(folder, cacher.file, total)
    with _prepared(folder, settings), stopped_by_signals():
        _make_room(cacher.file, folder, total)
        failures = _write_images(cacher, folder / DONE, jobs)
        if failures:
            _report(folder, failures)
            return len(failures)
        _finish(cacher, folder, settings)
    print(f"{folder}: {len(cacher.source)} images of {cacher.size} x {cacher.size}, {total:,} bytes")
    return 0


def _settings(cacher: Any) -> dict[str, Any]:
    """Return what makes a set another: the images' names, labels and classes in one digest, and the resizing."""
    import numpy as np

    digest = hashlib.sha256("\n".join(cacher.source.classes).encode(errors="surrogateescape"))
    digest.update(np.asarray(cacher.source.labels, "<i8").tobytes())
    name = getattr(cacher.source, "name", str)
    for index in range(len(cacher.source)):
        digest.update(os.fsencode(name(index)) + b"\0")
    resizing = {"size": cacher.size, "mode": cacher.mode, "filter": cacher.filter}
    return {"images": len(cacher.source), **resizing, "digest": digest.hexdigest()}


def _before(folder: Path) -> dict[str, Any]:
    """Return the settings of the set that is there or was begun; none where there is none."""
    from openmix.data.sources.cached import HEADER

    for path in (folder / HEADER, folder / BEGUN):
        try:
            content = json.loads(path.read_text())
            return dict(content.get("settings", content))
        except (OSError, ValueError, TypeError, AttributeError):  # not there, or a kill left half a file
            continue
    return {}


def _check_space(folder: Path, part: Path, total: int) -> None:
    """Raise UserError unless the images and some room fit on the disk."""
    there = part.stat().st_blocks * 512 if part.exists() else 0
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if total - there + SPARE > free:
        raise UserError(
            f"{folder} needs {max(total - there, 0) + SPARE:,} bytes, and {free:,} are free; free some, or give a "
            "smaller --size"
        )


@contextlib.contextmanager
def _prepared(folder: Path, settings: dict[str, Any]) -> Iterator[None]:
    """Make the folder, and keep others from writing to it.

    Raises:
        UserError: it cannot be written, or somebody is writing to it.
    """
    import fcntl

    from openmix.data.whole_files import write_whole

    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock: IO[str] = stack.enter_context(open(folder / LOCK, "a"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_whole(folder / BEGUN, json.dumps(settings, indent=2).encode() + b"\n")
        except BlockingIOError:
            raise UserError(f"another openmix data cache is writing to {folder}") from None
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error}") from error
        yield


def _make_room(part: Path, folder: Path, total: int) -> None:
    """Give the file its size, and forget what is done where the file that it was done in is gone."""
    from openmix.data.sources.cached import IMAGES

    if (folder / IMAGES).exists():  # a kill came between its renaming and the header
        os.replace(folder / IMAGES, part)
    if not part.exists() or part.stat().st_size != total:
        (folder / DONE).unlink(missing_ok=True)
    with part.open("ab") as file:
        file.truncate(total)


def _write_images(cacher: Any, done_file: Path, jobs: int) -> list[str]:
    """Write the images that are not there yet, and return what failed, by name.

    ``done_file`` has a byte for each image, 1 where it is written. It is saved after the images that it speaks of have
    reached the disk, so that it holds after a power failure, too.
    """
    import numpy as np
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    from openmix.data.whole_files import write_whole

    count = len(cacher.source)
    done = np.zeros(count, np.uint8)
    if done_file.exists() and done_file.stat().st_size == count:
        done = np.fromfile(done_file, np.uint8)
    left = np.flatnonzero(done == 0)
    failures: list[tuple[int, str]] = []
    console = Console(highlight=False)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())

    def save() -> None:
        file = os.open(cacher.file, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
        write_whole(done_file, done.tobytes())

    with (
        in_parallel(cacher, [str(i) for i in left], jobs) as outcomes,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        try:
            for number, outcome in enumerate(progress.track(outcomes, total=len(left), description="images"), 1):
                if isinstance(outcome.error, OSError):  # not this image's fault: all others would meet it
                    raise Reported(f"cannot write {cacher.file}: {outcome.error}")
                if outcome.error:
                    failures.append((int(outcome.item), str(outcome.error)))
                else:
                    done[int(outcome.item)] = 1
                if number % FLUSHED == 0:
                    save()
        finally:
            save()
    return [text for _, text in sorted(failures)]


def _report(folder: Path, failures: list[str]) -> None:
    more = f"\n... {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
    text = "\n".join(failures[:SHOWN]) + more
    print(
        f"{folder} is not ended: {len(failures)} images cannot be read; mend or take away these and give the same "
        f"command:\n{text}".encode(errors="replace").decode(),
        file=sys.stderr,
    )


def _finish(cacher: Any, folder: Path, settings: dict[str, Any]) -> None:
    """Give the files their names, the header last: where it is, all is."""
    import numpy as np

    from openmix.data.sources.cached import FORMAT, HEADER, IMAGES, LABELS, sha256
    from openmix.data.whole_files import write_whole

    write_whole(folder / LABELS, np.asarray(cacher.source.labels, "<i8").tobytes())
    parts = {IMAGES: cacher.file, LABELS: folder / LABELS}
    header = {
        "format": FORMAT,
        "length": len(cacher.source),
        "image_shape": [3, cacher.size, cacher.size],
        "settings": settings,
        "files": {name: {"bytes": part.stat().st_size, "sha256": sha256(part)} for name, part in parts.items()},
        "classes": list(cacher.source.classes),
    }
    os.replace(cacher.file, folder / IMAGES)
    write_whole(folder / HEADER, json.dumps(header, indent=1).encode() + b"\n")
    for name in (BEGUN, DONE):
        (folder / name).unlink(missing_ok=True)
