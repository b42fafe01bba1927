"""Look after RecordIO files that are there: index, verify, list and unpack them."""

import argparse
import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from openmix.data.recordio.format import FramingError, ImageHeader
from openmix.data.recordio.index import format_index, index_path, scan_offsets
from openmix.data.recordio.manifest import DIGEST_SIZE, Manifest, digest, manifest_path, read_manifest
from openmix.data.recordio.reader import RecordFile, map_file
from openmix.data.recordio.verify import verify
from openmix.data.whole_files import write_whole
from openmix.errors import DamagedImageError, UserError

__all__ = ["main"]

SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"BM": ".bmp", b"RI": ".webp", b"II": ".tif"}


def main(arguments: argparse.Namespace) -> int:
    """Do what is asked for; return 1 if a file is damaged."""
    if arguments.action == "index":
        for path in map(Path, arguments.files):
            _index(path, arguments.manifest, arguments.force)
        return 0
    if arguments.action == "verify":
        return max([_verify(path) for path in arguments.files])
    return _list(arguments.file) if arguments.action == "ls" else _extract(arguments.file, Path(arguments.output))


def _index(path: Path, with_manifest: bool, force: bool) -> None:
    """Write the index, or the manifest, or both; an index that is there serves for a manifest."""
    if path.suffix != ".rec":
        raise UserError(f"FILE.rec must end in .rec, got {path}")
    file = index_path(path)
    wanted = {"index": file} if not with_manifest or not file.exists() else {}
    wanted |= {"manifest": manifest_path(path)} if with_manifest else {}
    for what, target in wanted.items():
        if target.exists() and not force:
            raise UserError(f"{target}, the {what}, is there; --force writes over it")
    try:
        if "index" in wanted:
            _, _, buffer = map_file(str(path))
            offsets = scan_offsets(buffer)
            write_whole(file, format_index(np.arange(len(offsets)), offsets))
            print(f"{len(offsets)} records are in {file}")
        if "manifest" in wanted:
            write_whole(manifest_path(path), _manifest(path).to_json().encode())
            print(f"{manifest_path(path)} is written")
    except FramingError as error:
        raise UserError(f"{path} is damaged, or no RecordIO file: {error}; see 'openmix rec verify {path}'") from None
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from None


def _manifest(path: Path) -> Manifest:
    """Return the manifest of a file as it is now; what an earlier one says of the classes is kept."""
    records = RecordFile(path)
    try:
        before = read_manifest(path)
    except UserError:
        before = None
    sha256, digests = hashlib.sha256(), []
    bounds = [*records.offsets.tolist(), records.size]
    _, _, buffer = map_file(str(path))
    for number in range(len(records)):
        digests.append(digest(records.read(number)))
        sha256.update(buffer[bounds[number] : bounds[number + 1]].data)
    index_sha256 = hashlib.sha256(index_path(path).read_bytes()).hexdigest()
    array = np.frombuffer(b"".join(digests), np.uint8).reshape(len(records), DIGEST_SIZE)
    headers = records.headers()
    labels = headers.labels if headers.framed.all() and not (headers.flags > 1).any() else None
    now = Manifest(len(records), records.size, sha256.hexdigest(), index_sha256, array, labels)
    if before is None or before.sha256 != now.sha256:
        return now
    return replace(
        now,
        classes=before.classes,
        histogram=before.histogram,
        options=before.options,
        fingerprint=before.fingerprint,
    )


def _verify(path: str) -> int:
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress

    console = Console(highlight=False, stderr=True)
    columns = (*Progress.get_default_columns(), DownloadColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("bytes", total=os.path.getsize(path) if os.path.exists(path) else None)
        report = verify(path, advance=lambda done: progress.update(task, completed=done))
    for damage in report.damages:
        print(f"{path}, {damage}" if damage.number is not None else damage)
    damaged = f"{len(report.damages)} damages" if report.damages else "nothing damaged"
    print(f"{path}: {report.whole} records are whole, by {report.means}; {damaged}")
    return 1 if report.damages else 0


def _list(path: str) -> int:
    records = RecordFile(path)
    manifest = read_manifest(path)
    classes = manifest.classes if manifest else None
    damaged = 0
    try:
        for number in range(len(records)):
            head = f"{number}\t{records.keys[number]}\t{records.offsets[number]}"
            try:
                header, image = records.read_image(number)
                print(f"{head}\t{len(image)}\t{_labels(header, classes)}")
            except DamagedImageError as error:
                print(f"{head}\t{error.reason}")
                damaged += 1
    except BrokenPipeError:  # 'openmix rec ls train.rec | head'
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1 if damaged else 0


def _labels(header: ImageHeader, classes: tuple[str, ...] | None) -> str:
    if isinstance(header.label, tuple):
        return " ".join(f"{label:g}" for label in header.label)
    if not classes or header.label not in range(len(classes)):
        return f"{header.label:g}"
    name = classes[int(header.label)]
    # a tab or a line's end in it would make another column or line
    return f"{header.label:g}\t{name if name.isprintable() else repr(name)[1:-1]}"


def _extract(path: str, output: Path) -> int:
    """Write each image below a folder of its label, or of its class where that is known."""
    records = RecordFile(path)
    manifest = read_manifest(path)
    classes = manifest.classes if manifest else None
    failures = written = 0
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise UserError(f"OUT must be empty, and {output} is not")
        for number in range(len(records)):
            try:
                header, image = records.read_image(number)
            except DamagedImageError as error:
                print(error, file=sys.stderr)
                failures += 1
                continue
            if not len(image) and isinstance(header.label, tuple):  # metadata
                continue
            folder = output / _folder(header, classes)
            folder.mkdir(exist_ok=True)
            suffix = SUFFIXES.get(image[:2].tobytes(), ".bin")
            (folder / f"{records.keys[number]:08d}{suffix}").write_bytes(image.tobytes())
            written += 1
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}") from None
    print(f"{written} images are in {output}")
    return 1 if failures else 0


def _folder(header: ImageHeader, classes: tuple[str, ...] | None) -> str:
    """Return a folder's name that stays in the folder, whatever a manifest calls a class."""
    labels = header.label if isinstance(header.label, tuple) else (header.label,)
    if classes and len(labels) == 1 and labels[0] in range(len(classes)):
        name = classes[int(labels[0])]
        if name and "/" not in name and "\\" not in name and "\0" not in name and name not in (".", ".."):
            return name
    return "_".join(f"{label:g}" for label in labels[:8])
