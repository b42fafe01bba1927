"""Encoded images to pixels.

One place says what an image file means here, whatever reads it: the fast paths and DALI are held to it by tests.
"""

import functools
import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from openmix.errors import DamagedImageError

__all__ = ["decode", "load_decoder", "read_file", "read_image"]


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

    The pixels are Pillow's ``convert("RGB")``: grey and CMYK become RGB, transparency is dropped, of an animation the
    first frame is taken, and an orientation in the EXIF data is ignored, as ImageNet's results have it. Where Pillow
    clips 16-bit PNGs, which makes them white, their high bytes are taken.

    Args:
        data: the file's bytes, uint8 (n,).
        name: what an error message calls it.

    Returns:
        uint8 (3, H, W), laid out in memory as the decoder left it (mostly channels last, which resizing prefers).

    Raises:
        DamagedImageError: it is damaged, or no image.
    """
    try:
        image = _decode(data)
        return image if image is not None else _decode_with_pillow(data)
    except Exception as error:  # a damaged file may raise anything
        raise DamagedImageError(name, f"({len(data):,} bytes) is damaged, or no image: {error}") from None


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
