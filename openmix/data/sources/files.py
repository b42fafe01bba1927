"""What data sets share whose images are files: a compact list of paths, and reading one image."""

import functools
import io
import os
import warnings
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from openmix.errors import UserError

__all__ = ["FileSource", "PathList", "load_decoder", "read_image"]


class PathList:
    """Many paths below one folder, in one string of bytes and one array.

    Reading a Python string writes its reference count, and so a forked worker that goes through a list of a million
    paths ends up with a copy of all of them. Here there is nothing to count: the workers share the memory.

    Args:
        folder: what the paths begin with.
        names: the paths below it.

    >>> paths = PathList("data", ["cat/1.png", "dog/1.png", "dog/2.png"])
    >>> len(paths), paths[-1] == os.path.join("data", "dog/2.png"), len(paths.take(2))
    (3, True, 2)
    """

    def __init__(self, folder: str, names: Iterable[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self.folder = folder
        self._text = b"".join(encoded)
        self._ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        index = range(len(self))[index]
        start = self._ends[index - 1] if index else 0
        return os.path.join(self.folder, os.fsdecode(self._text[start : self._ends[index]]))

    def take(self, count: int) -> "PathList":
        """Return the first ``count`` paths, sharing their memory."""
        taken = PathList(self.folder, ())
        taken._text, taken._ends = self._text, self._ends[:count]
        return taken


class FileSource:
    """A labelled set of image files, decoded when asked for: uint8 (3, H, W) in RGB, each of its own size.

    Args:
        paths: of the images.
        labels: int64 (N,), each in [0, len(classes)).
        classes: the class names, in label order.

    Attributes:
        paths: as given.
        labels: as given.
        classes: the class names as a tuple.
        num_classes: how many classes there are.
    """

    num_classes: int

    def __init__(self, paths: PathList, labels: Tensor, classes: Sequence[str]) -> None:
        self.paths = paths
        self.labels = labels
        self.classes = tuple(classes)
        self.num_classes = len(self.classes)
        load_decoder()  # once, before worker processes are forked

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image, uint8 (3, H, W), and its label.

        Raises:
            UserError: the file is missing, damaged or no image.
        """
        return read_image(self.paths[index]), int(self.labels[index])

    def take(self, count: int) -> "FileSource":
        """Return the set of the first ``count`` images."""
        return FileSource(self.paths.take(count), self.labels[:count], self.classes)


def read_image(path: str) -> Tensor:
    """Decode an image file of any format that torchvision or Pillow knows, whatever its name ends in.

    The pixels are Pillow's ``convert("RGB")``: grey and CMYK become RGB, transparency is dropped, of an animation the
    first frame is taken, and an orientation in the EXIF data is ignored, as ImageNet's results have it. Where Pillow
    clips 16-bit PNGs, which makes them white, their high bytes are taken.

    Args:
        path: the file.

    Returns:
        uint8 (3, H, W), laid out in memory as the decoder left it (mostly channels last, which resizing prefers).

    Raises:
        UserError: the file is missing, damaged or no image.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    try:
        image = _decode(data)
        return image if image is not None else _decode_with_pillow(data)
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{path} ({len(data):,} bytes) is damaged, or no image: {error}") from None


def _decode(data: np.ndarray) -> Tensor | None:
    """Return the image by torchvision, in two thirds of Pillow's time; None for what that does not take."""
    decode = load_decoder()
    if decode is None:
        return None
    try:
        with warnings.catch_warnings():
            # deprecated in torchvision 0.29; should a later one be without it, Pillow does all
            warnings.filterwarnings("ignore", "The image decoding and encoding", DeprecationWarning)
            image = decode(torch.from_numpy(data))
    except RuntimeError:  # perhaps Pillow can; else it says best what is wrong
        return None
    if image.ndim != 3:  # the frames of an animation
        return None
    return image if image.dtype == torch.uint8 else (image.to(torch.int32) >> 8).to(torch.uint8)


@functools.cache
def load_decoder() -> Callable[[Tensor], Tensor] | None:
    """Return torchvision's decoder to RGB, if it is there; importing it takes a second or two."""
    try:
        from torchvision.io import ImageReadMode, decode_image
    except ImportError:
        return None
    return functools.partial(decode_image, mode=ImageReadMode.RGB)


def _decode_with_pillow(data: np.ndarray) -> Tensor:
    from PIL import Image

    with Image.open(io.BytesIO(data.tobytes())) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
