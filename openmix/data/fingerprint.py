"""What a data set is, in one short string: two runs on equal sets have equal ones, wherever the sets lie.

A checkpoint holds it, so that a run is not resumed on another set without a word. It must cost no more than a moment at
the start of a run, so it is made of what is in memory once a set is open: no image file is read, and none is looked at.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from openmix.data.sources.protocol import Source

__all__ = ["MOST_BYTES", "describe", "movable_names", "pixels_digest", "source_fingerprint"]

MOST_BYTES = 1 << 28  # of pixels that are hashed: 0.13 s where the processor has instructions for SHA-256
CHUNK = 1024  # images made contiguous at a time


def source_fingerprint(source: Source) -> str:
    """Return the fingerprint of a data set: its own ``fingerprint()``, if it has that.

    It differs where images were added, removed, renamed or put in another order, where labels or class names are
    others, and, of a set in memory, where pixels are. It does not notice an image file that was overwritten in place,
    nor an image within records or a cache, where the file's size, its index and its header stay as they were. The same
    images in another form (files, records, a cache) count as another set.

    Args:
        source: a set. Of one that has no ``fingerprint()``, a user's own, the length, the class names and
            ``labels``, if that is a tensor, are all that is looked at.

    Returns:
        Such as '52 images of 10 classes, 3f2a67b09c1d5e84': the same in every process and on every machine.

    >>> from openmix.data.sources import Synthetic
    >>> source_fingerprint(Synthetic(10, (1, 8, 8), 52)) == source_fingerprint(Synthetic(10, (1, 8, 8), 60).take(52))
    True
    >>> source_fingerprint(Synthetic(10, (1, 8, 8), 52)).partition(",")[0]
    '52 images of 10 classes'
    """
    own = getattr(source, "fingerprint", None)
    if own is not None:
        return own()
    labels = getattr(source, "labels", None)
    return describe(len(source), source.classes, labels if isinstance(labels, Tensor) else None)


def describe(count: int, classes: Sequence[str], labels: Tensor | None, *content: bytes) -> str:
    """Return a fingerprint of a set's length, classes and labels, and of whatever else tells its images.

    Args:
        count: how many images there are.
        classes: the class names, in label order.
        labels: of the images; None where they are not known without reading images.
        content: further bytes, in an order of the caller's.

    Returns:
        How many images and classes, and 16 hexadecimal digits of SHA-256 over all of it.
    """
    names = "\0".join(map(str, classes)).encode(errors="surrogatepass")
    known = b"" if labels is None else labels.cpu().reshape(-1).to(torch.int64).numpy().tobytes()
    digest = hashlib.sha256()
    for part in (f"{count} {len(classes)}".encode(), names, known, *content):
        digest.update(b"%d:" % len(part))  # so that what ends one part does not begin the next
        digest.update(part)
    return f"{count:,} images of {len(classes):,} classes, {digest.hexdigest()[:16]}"


def pixels_digest(images: Tensor) -> bytes:
    """Return a digest of images in memory and their shape, whatever their memory format and device.

    Of more than 256 MB (:data:`MOST_BYTES`) only every k-th image is hashed, with the smallest k that leaves no more:
    all 50,000 of CIFAR are. Pixels of the others may change unnoticed.

    Args:
        images: (N, C, H, W).
    """
    step = max(1, -(-images.numel() * images.element_size() // MOST_BYTES))
    digest = hashlib.sha256(f"{images.dtype} {tuple(images.shape)}".encode())
    for chunk in images[::step].split(CHUNK):
        digest.update(chunk.cpu().contiguous().numpy().data)
    return digest.digest()


def movable_names(text: bytes, ends: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Return names of files without what says where the set lies: of absolute ones, the folder that all of them share.

    Args:
        text: the names, relative to the set's folder or absolute, one after the other.
        ends: where each ends, int64 (N,).

    Returns:
        The same two for names that may be compared. Where no name is absolute, as in most sets, they are as given.

    >>> movable_names(b"/disk/a/1.png/disk/b/2.png", np.array([13, 26]))[0]
    b'/a/1.png/b/2.png'
    """
    starts = np.concatenate([[0], ends[:-1]])[: len(ends)]
    letters = np.frombuffer(text, np.uint8)
    named = ends > starts
    if not np.any(letters[starts[named]] == ord("/")):
        return text, ends
    names = [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    absolute = [name for name in names if name.startswith(b"/")]
    low, high = min(absolute), max(absolute)  # what these two begin with, all between them do
    equal = next((i for i, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))
    shared = low.rfind(b"/", 0, equal)
    kept = [name[shared:] if name.startswith(b"/") else name for name in names]
    return b"".join(kept), np.cumsum([len(name) for name in kept], dtype=np.int64)
