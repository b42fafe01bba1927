"""Encoded images to pixels.

One place says what an image file means here, whatever reads it: the fast paths and DALI are held to it by tests.
"""

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from openmix.errors import DamagedImageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["decode", "load_decoder", "read_file", "read_image"]

HUGE = 178_956_970  # pixels: Pillow's limit, twice its MAX_IMAGE_PIXELS


def read_file(path: str) -> np.ndarray:
    """Return a file's bytes, uint8 (n,).

    Raises:
        DamagedImageError: it cannot be read.
    """
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise DamagedImageError(path, f"cannot be read: {error.strerror}") from None


def read_image(path: str) -> Tensor:
    """Decode an image file: :func:`decode` of :func:`read_file`."""
    return decode(read_file(path), path)


def decode(data: np.ndarray, name: str) -> Tensor:
    """Decode an image of any format that torchvision or Pillow knows, whatever its name ends in.

    The pixels are Pillow's ``convert("RGB")``, but for 16 bits, which Pillow would clip to white:

    - grey, black-and-white and palette images become RGB;
    - CMYK becomes RGB as Adobe's programs write it, inverted, whether or not the file says that they did;
    - of 16 bits a channel the high byte is taken;
    - transparency is dropped, and what lies below it shows;
    - of an animation, or of several pages, the first is taken;
    - an orientation in the EXIF data is ignored, as ImageNet's published results have it, and so is a colour profile;
    - any shape is decoded up to 178,956,970 pixels (537 MB as RGB), where Pillow suspects an attack on the memory; more
      count as damage.

    Args:
        data: the file's bytes, uint8 (n,).
        name: what an error message calls it.

    Returns:
        uint8 (3, H, W), laid out in memory as the decoder left it (mostly channels last, which resizing prefers).

    Raises:
        DamagedImageError: it is damaged, or no image.
    """
    try:
        _refuse_huge(data)
        image = _decode(data)
        return image if image is not None else _decode_with_pillow(data)
    except Exception as error:  # a damaged file may raise anything
        raise DamagedImageError(name, f"({len(data):,} bytes) is damaged, or no image: {error}") from None


def _decode(data: np.ndarray) -> Tensor | None:
    """Return the image by torchvision, in two thirds of Pillow's time; None for what that does not take."""
    decode = load_decoder()
    if decode is None or data[:4].tobytes() == b"GIF8":  # whose transparent pixels torchvision makes grey
        return None
    try:
        with warnings.catch_warnings():
            # deprecated in torchvision 0.29; should a later one be without it, Pillow does all
            warnings.filterwarnings("ignore", "The image decoding and encoding", DeprecationWarning)
            # a record of a mapped file is read-only; nothing is written to it
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
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
    with _opened(data) as picture:
        if picture.mode.startswith("I;16"):
            high = torch.from_numpy((np.array(picture).astype(np.uint16) >> 8).astype(np.uint8))
            return high.expand(3, *high.shape).contiguous()
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def _refuse_huge(data: np.ndarray) -> None:
    """Raise Pillow's error for more pixels than it decodes: torchvision would take the memory for any number.

    The header is read where such a number is possible: a JPEG block of 64 pixels takes a bit or more.
    """
    start = data[:24].tobytes()
    if start.startswith(b"\xff\xd8") and len(data) < HUGE // 512:
        return
    if (
        start.startswith(b"\x89PNG")
        and int.from_bytes(start[16:20], "big") * int.from_bytes(start[20:24], "big") <= HUGE
    ):
        return
    from PIL import UnidentifiedImageError

    with contextlib.suppress(UnidentifiedImageError), _opened(data):
        pass


@contextlib.contextmanager
def _opened(data: np.ndarray) -> Iterator["Image.Image"]:
    """Open an image with Pillow, without its warnings."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of half the number of pixels that it refuses, of transparency that it drops
        try:
            picture = Image.open(io.BytesIO(data.tobytes()))
        except UnidentifiedImageError:  # whose message is an address in memory
            raise UnidentifiedImageError("it begins as no format does that Pillow knows") from None
        with picture:
            yield picture
