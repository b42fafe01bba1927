"""Images in RecordIO files, MXNet's format, which DALI reads too."""

import copy
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from openmix.data.fingerprint import describe
from openmix.data.recordio.manifest import Manifest, manifest_path, read_manifest
from openmix.data.recordio.reader import Headers, RecordFile
from openmix.data.sources.encoded import EncodedSource
from openmix.errors import DamagedImageError, UserError

__all__ = ["RecordIO"]

MOST_DAMAGED = 0.01  # of a file's records; more, and its index is another file's


class RecordIO(EncodedSource):
    """The images of one .rec, or of several that make one set, in the order in which they lie there.

    A label is one class number. A record with two labels or more and no image is taken for metadata, such as the first
    and the last ones of InsightFace's files, and left out. Records whose framing is damaged stay in the set and raise
    when they are read, like damaged files of a folder; but not where they are more than 1 %. An index that lacks
    records, a file that goes on after its last one, and a manifest of another size or count are refused.

    Opening reads the manifest and the index, and no image. Without a manifest it reads a page of each record, which
    takes minutes for a million on a disk. Without an index it goes from record to record, and is over at the first
    damaged one; 'openmix rec index --manifest' writes both.

    Args:
        path: the .rec, or a list of several.
        index: its .idx, or as many; None takes those beside them.
        num_classes: how many classes there must be; None takes the manifest's, or as many as the largest label says.

    Raises:
        UserError: a file cannot be read or is damaged, the files are of different classes, there is no image, an image
            has several labels, or a label is no class number below ``num_classes``.

    >>> import io, tempfile; from PIL import Image
    >>> from openmix.data.recordio import ImageHeader, pack_image, write_records
    >>> file = io.BytesIO(); Image.new("RGB", (6, 4)).save(file, "PNG")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_records(f"{folder}/a.rec", [(0, pack_image(ImageHeader(0, 2.0), file.getvalue()))])
    ...     source = RecordIO(f"{folder}/a.rec")
    ...     image, label = source[0]
    >>> image.shape, label, source.classes
    (torch.Size([3, 4, 6]), 2, ('0', '1', '2'))
    """

    files: list[RecordFile]  # in the order of ``path``
    typical_shape: ClassVar[tuple[int, int, int]] = (3, 256, 256)  # of the random images that stand in for a dry run

    def __init__(
        self,
        path: str | Sequence[str],
        index: str | Sequence[str] | None = None,
        num_classes: int | None = None,
    ) -> None:
        paths = _listed(path)
        indices = [None] * len(paths) if index is None else _listed(index)
        if not paths or len(indices) != len(paths):
            raise UserError(f"RecordIO: {len(paths)} files as path, and {len(indices)} as index; one each")
        manifests = [read_manifest(path) for path in paths]
        classes = _known_classes(paths, manifests)
        self.files = [RecordFile(one, other) for one, other in zip(paths, indices, strict=True)]
        for file, manifest in zip(self.files, manifests, strict=True):
            _check_manifest(file, manifest)
        parts = [_labels(file, manifest) for file, manifest in zip(self.files, manifests, strict=True)]
        self._records = np.concatenate([records for records, _ in parts])
        self._starts = np.cumsum([0, *(len(records) for records, _ in parts)])
        labels = torch.from_numpy(np.concatenate([labels for _, labels in parts]))
        if not len(labels):
            raise UserError(f"RecordIO: {', '.join(paths)} holds no image")
        count = num_classes if num_classes is not None else len(classes or ()) or int(labels.max()) + 1
        if classes is not None and len(classes) != count:
            raise UserError(f"RecordIO: {paths[0]} has {len(classes)} classes, and num_classes is {count}")
        super().__init__(labels, classes or tuple(map(str, range(count))))
        if int(labels.max()) >= count:
            where = int(labels.argmax())
            raise UserError(f"RecordIO: {self.name(where)} has the label {int(labels[where])}, of {count} classes")

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` for a dry run: classes as given, or as the files say.

        Raises:
            UserError: neither is there.
        """
        num_classes = options.get("num_classes")
        if num_classes is None:
            try:
                paths = _listed(options["path"])
                num_classes = len(_known_classes(paths, [read_manifest(path) for path in paths]) or ())
                num_classes = num_classes or cls(options["path"], options.get("index")).num_classes
            except UserError as error:
                raise UserError(f"{error} (with num_classes, a config can be checked without its data)") from None
        return num_classes, cls.typical_shape

    def _place(self, index: int) -> tuple[RecordFile, int]:
        """Return the file of an image, and its record's number there."""
        index = range(len(self))[index]
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.files[file], int(self._records[index])

    def encoded(self, index: int) -> np.ndarray:
        """Return an image's bytes as they are stored, uint8 (n,), read-only: mostly a view of the mapped file.

        Raises:
            DamagedImageError: the record's framing or its label is damaged.
        """
        file, record = self._place(index)
        header, image = file.read_image(record)
        label = header.label[0] if isinstance(header.label, tuple) else header.label
        if label != (expected := int(self.labels[index])):  # of another file, or damaged since the set was opened
            raise DamagedImageError(file.name(record), f"is damaged: its label is {label:g}, and should be {expected}")
        return image

    def name(self, index: int) -> str:
        """Return the file, the record's number in it, its key in the index and where it begins."""
        file, record = self._place(index)
        return file.name(record)

    def fingerprint(self) -> str:
        """Return what tells this set from others: the files' sizes, where their records begin, labels, class names.

        No record is read, so one that was overwritten by another of the same length and label is not noticed. Whether
        there is an index or a manifest does not matter, where the classes are the same without.
        """
        places = [part for file in self.files for part in (b"%d" % file.size, file.offsets.tobytes())]
        chosen = self._starts.tobytes(), self._records.tobytes()
        return describe(len(self), self.classes, self.labels, b"records", *chosen, *places)

    def take(self, count: int) -> "RecordIO":
        """Return the set of the first ``count`` images, sharing the files."""
        taken = copy.copy(self)
        taken.labels = self.labels[:count]
        taken._records = self._records[:count]
        return taken


def _listed(path: str | os.PathLike[str] | Sequence[str]) -> list[str]:
    return [os.fspath(path)] if isinstance(path, str | os.PathLike) else [os.fspath(one) for one in path]


def _known_classes(paths: Sequence[str], manifests: Sequence[Manifest | None]) -> tuple[str, ...] | None:
    """Return the classes that the manifests name, None where there is none.

    Raises:
        UserError: they name different ones.
    """
    pairs = zip(paths, manifests, strict=True)
    found = {path: manifest.classes for path, manifest in pairs if manifest and manifest.classes}
    if len(set(found.values())) > 1:
        first = next(iter(found))
        other = next(path for path in found if found[path] != found[first])
        raise UserError(f"RecordIO: {first} and {other} are of different classes; pack them with one --classes FILE")
    return next(iter(found.values()), None)


def _check_manifest(file: RecordFile, manifest: Manifest | None) -> None:
    """Raise UserError for a manifest of another file, or an index that lacks records of it."""
    if manifest is None:
        return
    known = manifest_path(file.path)
    if manifest.size != file.size:
        raise UserError(
            f"RecordIO: {file.path} has {file.size:,} bytes, and {known}, its manifest, says {manifest.size:,}: one of "
            f"them is another set's, or the file is damaged; see 'openmix rec verify {file.path}', and 'openmix rec "
            f"index --manifest --force {file.path}' writes a new manifest"
        )
    if manifest.count != len(file):
        raise UserError(
            f"RecordIO: {file.index or file.path} has {len(file):,} records, and {known}, its manifest, says "
            f"{manifest.count:,}; see 'openmix rec verify {file.path}', and 'openmix rec index --force {file.path}' "
            "writes a new index"
        )


def _headers(file: RecordFile, manifest: Manifest | None) -> Headers:
    """Return the records' headers, as the manifest has them, if it is of this index."""
    if manifest is None or manifest.labels is None or file.index is None:
        return file.headers()
    if hashlib.sha256(file.index.read_bytes()).hexdigest() != manifest.index_sha256:
        return file.headers()
    ones = np.ones(len(file), np.int64)
    return Headers(ones > 0, ones - 1, manifest.labels, ones)


def _labels(file: RecordFile, manifest: Manifest | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the records that are images, and their labels, both int64.

    Raises:
        UserError: one has no class number for a label, or too many records are damaged.
    """
    headers = _headers(file, manifest)
    damaged = np.flatnonzero(~headers.framed)
    if len(damaged) > max(MOST_DAMAGED * len(file), 1 if len(file) > 1 else 0):
        raise UserError(
            f"RecordIO: {len(damaged)} of {len(file)} records of {file.path} are damaged, the first at byte "
            f"{file.offsets[damaged[0]]}, or its index is another file's; see 'openmix rec verify {file.path}'"
        )
    metadata = headers.framed & (headers.flags > 1) & (headers.bodies == 0)
    _refuse(file, headers, headers.framed & (headers.flags > 1) & ~metadata, "where one number is the class")
    labels = np.where(headers.framed & ~metadata, headers.labels, np.float32(0))
    with np.errstate(invalid="ignore"):
        wrong = ~((labels >= 0) & (labels < 2**24) & (labels == np.floor(labels)))
    _refuse(file, headers, wrong, "for a label, where a class is a whole number from 0 up")
    kept = np.flatnonzero(~metadata)
    return kept, labels[kept].astype(np.int64)


def _refuse(file: RecordFile, headers: Headers, wrong: np.ndarray, what: str) -> None:
    """Raise UserError for the first record that is wrong."""
    found = np.flatnonzero(wrong)
    if len(found):
        first = int(found[0])
        value = f"{headers.flags[first]} labels, " if headers.flags[first] > 1 else f"{headers.labels[first]} "
        raise UserError(
            f"RecordIO: {file.name(first)} has {value}{what} ({len(found)} of {len(file)} records); see "
            f"'openmix rec verify {file.path}'"
        )
