"""Pack images into RecordIO files, or write the list of what would be packed."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from openmix.commands._packing import Packer, Packing
from openmix.commands._parallel import stopped_by_signals
from openmix.data.recordio.encoding import Encoding
from openmix.data.recordio.index import format_index, index_path
from openmix.data.recordio.listing import Listing, list_folder, list_text, read_classes, read_list, write_classes
from openmix.data.whole_files import write_whole
from openmix.errors import UserError

__all__ = ["list_and_warn", "make", "make_list", "write"]

SHOWN = 20  # failures that are printed; the file has all


def make_list(arguments: argparse.Namespace) -> int:
    """Write the list that :func:`make` would pack."""
    output = Path(arguments.output)
    if output.exists() and not arguments.force:
        raise UserError(f"{output} is there; --force writes over it")
    listing, _ = _listing(arguments)
    write(output, list_text(listing).encode("utf-8", "surrogateescape"))
    print(f"{len(listing)} images listed in {output}")
    return 0


def write(path: Path, content: bytes) -> None:
    """Write a file, and the folder that it lies in where there is none.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def make(arguments: argparse.Namespace) -> int:
    """Pack a folder or a list; return 1 if an image could not be read."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    encoding, output = _encoding(arguments), _output(arguments)
    listing, shuffle = _listing(arguments)
    if not any(os.path.lexists(listing.path(number)) for number in range(len(listing))):
        raise UserError(
            f"none of the {len(listing)} images is there, such as {listing.path(0)}; --root DIR says what the paths of "
            "a list are relative to"
        )
    if len(listing) < arguments.shards:
        raise UserError(f"--shards {arguments.shards} is more than there are images ({len(listing)})")
    paths = _shards(output, arguments.shards)
    options = {"shuffle": arguments.seed if shuffle else None}
    console = Console(highlight=False, soft_wrap=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    results: list[Packing] = []
    with stopped_by_signals(), Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("images", total=len(listing))
        packer = Packer(
            encoding, arguments.jobs, arguments.skip_bad, arguments.force,
            lambda done: progress.advance(task, done),
        )  # fmt: skip
        for number, path in enumerate(paths):
            shard = {"shard": f"{number} of {len(paths)}"} if len(paths) > 1 else {}
            results.append(packer(listing.shard(number, len(paths)), path, options | shard))
    if len(paths) > 1 and all(result.done for result in results):
        _write_joint_index(Path(arguments.output), paths)
    return _report(results, arguments)


def _encoding(arguments: argparse.Namespace) -> Encoding:
    """Return how the images are to be written.

    Raises:
        UserError: the options make no sense.
    """
    for name in ("jobs", "shards", "resize"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, got {value}")
    if arguments.quality is not None and not 1 <= arguments.quality <= 100:
        raise UserError(f"--quality must be in 1..100, got {arguments.quality}")
    if arguments.quality is not None and arguments.encoding == "png":
        raise UserError("--quality is JPEG's, and --encoding png loses nothing; leave one out")
    if arguments.filter and arguments.resize is None:
        raise UserError("--filter is for --resize N, which is missing")
    given = {"resize": arguments.resize, "encoding": arguments.encoding, "quality": arguments.quality}
    given |= {"color": arguments.color, "filter": arguments.filter, "center_crop": arguments.center_crop or None}
    given = {name: value for name, value in given.items() if value is not None}
    encoding = Encoding(check=arguments.check)
    return replace(encoding, anew=True, **given) if given else encoding


def _output(arguments: argparse.Namespace) -> Path:
    """Return the path of the file to write.

    Raises:
        UserError: it cannot be one.
    """
    output = Path(arguments.output)
    if output.suffix != ".rec":
        raise UserError(f"OUT.rec must end in .rec, got {output}")
    if output.is_dir():
        raise UserError(f"OUT.rec is a folder: {output}")
    return output


def _shards(output: Path, count: int) -> list[Path]:
    """Return the paths of the files to write."""
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{i:0{len(str(count - 1))}}-of-{count}.rec") for i in range(count)]


def _listing(arguments: argparse.Namespace) -> tuple[Listing, bool]:
    """Return what is to be packed, and whether it was shuffled.

    Raises:
        UserError: there is no such folder or list, or something is wrong with it.
    """
    source, file = Path(arguments.source), Path(arguments.classes) if arguments.classes else None
    classes = read_classes(file) if file else None
    if source.is_dir():
        for option in ("root", "pack_label"):
            if getattr(arguments, option):
                raise UserError(f"--{option.replace('_', '-')} is for a list, and {source} is a folder")
        listing = list_and_warn(source, classes)
        if file and classes is None and listing.classes:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_classes(file, listing.classes)
            except OSError as error:
                raise UserError(f"{file} cannot be written: {error.strerror}") from None
    elif source.is_file():
        if file and classes is None:
            raise UserError(f"there is no {file}; a list has no class names of its own")
        root = Path(arguments.root) if arguments.root else source.parent
        listing = read_list(source, root, classes, arguments.pack_label)
    elif source.exists():  # a pipe would be waited for
        raise UserError(f"{source} is neither a folder nor a regular file")
    else:
        raise UserError(f"there is no folder or list {source}")
    shuffle = source.is_dir() if arguments.shuffle is None else arguments.shuffle
    return (listing.shuffled(arguments.seed) if shuffle else listing), shuffle


def list_and_warn(folder: Path, classes: Sequence[str] | None = None) -> Listing:
    """List a folder, and print warnings, such as of a class without images, as messages of the command."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        listing = list_folder(folder, classes)
    for warning in caught:
        print(f"warning: {warning.message}".encode(errors="replace").decode(), file=sys.stderr)
    return listing


def _write_joint_index(output: Path, paths: Sequence[Path]) -> None:
    """Write the one index of several files in a row, which DALI asks for."""
    import numpy as np

    from openmix.data.recordio.index import read_index

    start, keys, offsets = 0, [], []
    for path in paths:
        size = path.stat().st_size
        key, offset = read_index(index_path(path), size)
        keys.append(key)
        offsets.append(offset + start)
        start += size
    write(index_path(output), format_index(np.concatenate(keys), np.concatenate(offsets)))


def _report(results: Sequence[Packing], arguments: argparse.Namespace) -> int:
    """Print what became of the images, write down which failed, and return the exit code."""
    failures = sorted(failure for result in results for failure in result.failures)
    file = Path(f"{arguments.output}.failures.txt")
    if failures:
        write(file, ("\n".join(failures) + "\n").encode("utf-8", "surrogateescape"))
        more = [f"... {len(failures) - SHOWN} more"] if len(failures) > SHOWN else []
        lines = [line.encode("utf-8", "replace").decode() for line in failures[:SHOWN]]
        print(f"{len(failures)} images failed, see {file}:", *lines, *more, sep="\n", file=sys.stderr)
    elif any(result.written for result in results):
        file.unlink(missing_ok=True)
    for result in results:
        if result.done:
            was_there = "" if result.written else ", which was there"
            print(f"{result.count} images are in {result.path}{was_there}")
        else:
            print(
                f"{result.path} is not finished; mend the images, or give --skip-bad to leave them out: the same "
                "command goes on from here",
                file=sys.stderr,
            )
    return 0 if all(result.done for result in results) and (not failures or arguments.skip_bad) else 1
