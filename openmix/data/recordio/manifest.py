"""What is known of a RecordIO file since it was packed, in a JSON file beside it: ``train.json`` for ``train.rec``."""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openmix.errors import UserError

__all__ = ["DIGEST_SIZE", "Manifest", "digest", "manifest_path", "read_manifest"]

FORMAT = "openmix recordio 1"
DIGEST_SIZE = 16  # bytes


def digest(data: bytes | np.ndarray) -> bytes:
    """Return the first 16 bytes of the SHA-256 of a record's data: enough, and half as long."""
    return hashlib.sha256(data if isinstance(data, bytes) else data.data).digest()[:DIGEST_SIZE]


@dataclass(frozen=True)
class Manifest:
    """What a RecordIO file should hold.

    Attributes:
        count: how many records.
        size: the file's length in bytes.
        sha256: of the file, in hexadecimal.
        index_sha256: of the index beside it.
        digests: :func:`digest` of each record's data, uint8 (count, 16), in the file's order.
        labels: float32 (count,), by which a set opens without reading its images; None where one has several.
        classes: the class names in label order; None where they are not known.
        histogram: the number of images of each class; None where the labels are not one class an image.
        options: how it was packed.
        fingerprint: of the list of images and the options, '' if not packed here: the same gives the same file.
    """

    count: int
    size: int
    sha256: str
    index_sha256: str
    digests: np.ndarray = field(repr=False)
    labels: np.ndarray | None = field(default=None, repr=False)
    classes: tuple[str, ...] | None = None
    histogram: tuple[int, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    def to_json(self) -> str:
        """Return the text of the JSON file; the same manifest gives the same text."""
        labels = None if self.labels is None else _to_text(self.labels.astype("<f4"))
        fields = asdict(self) | {"digests": _to_text(self.digests), "labels": labels}
        return json.dumps({"format": FORMAT, **fields}, indent=1, ensure_ascii=False) + "\n"


def manifest_path(path: str | os.PathLike[str]) -> Path:
    """Return where the manifest of a .rec is.

    >>> str(manifest_path("train.rec"))
    'train.json'
    """
    return Path(path).with_suffix(".json")


def read_manifest(path: str | os.PathLike[str]) -> Manifest | None:
    """Return the manifest of a .rec, or None where there is none; a JSON file of another kind is none.

    Raises:
        UserError: it cannot be read, or is a damaged one.
    """
    file = manifest_path(path)
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} should be the manifest of {Path(path).name}, and is no JSON: {error}") from None
    if not isinstance(content, dict) or not str(content.get("format")).startswith(FORMAT[:-1]):
        return None  # annotations, say
    try:
        return _parsed(content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UserError(
            f"{file} should be the manifest of {Path(path).name}: {reason}; "
            f"'openmix rec index --manifest --force {path}' writes a new one"
        ) from None


def _parsed(content: Mapping[str, Any]) -> Manifest:
    """Return a manifest of what a JSON file holds, after checking it."""
    if content["format"] != FORMAT:
        raise ValueError(f"its format should be '{FORMAT}'")
    count, size = _whole(content["count"]), _whole(content["size"])
    digests = _from_text(content["digests"], count, DIGEST_SIZE).reshape(count, DIGEST_SIZE)
    labels = None if content["labels"] is None else _from_text(content["labels"], count, 4).view("<f4")
    classes, histogram = content["classes"], content["histogram"]
    if classes is not None:
        classes = tuple(_text(name) for name in _list(classes))
    if histogram is not None:
        histogram = tuple(_whole(number) for number in _list(histogram))
    if classes is not None and histogram is not None and len(classes) != len(histogram):
        raise ValueError(f"it names {len(classes)} classes and counts {len(histogram)}")
    if not isinstance(content["options"], dict):
        raise TypeError("its options are no object")
    return Manifest(
        count, size, _text(content["sha256"]), _text(content["index_sha256"]), digests,
        labels, classes, histogram, content["options"], _text(content["fingerprint"]),
    )  # fmt: skip


def _to_text(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _from_text(text: Any, count: int, size: int) -> np.ndarray:
    """Return ``size`` bytes for each of ``count`` records."""
    try:
        array = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except binascii.Error:
        raise ValueError("its digests or labels are no base64") from None
    if len(array) != count * size:
        raise ValueError(f"it has digests or labels of {len(array) / size:g} records, and says that there are {count}")
    return array


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{str(value)[:20]} is no number of things")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:20]} is no text")
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{str(value)[:20]} is no list")
    return value
