"""What is wrong with an image file, and what is odd about it."""

import functools
import io
import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from openmix.data.decoding import decode
from openmix.errors import DamagedImageError

__all__ = ["Inspection", "inspect", "jpeg_warning", "strict_jpeg"]

LARGE, SMALL = 50_000_000, 32  # pixels; pixels of a side
ORIENTATION = 0x0112  # EXIF's


class Inspection(NamedTuple):
    """What was found: why the image is damaged, None where it is not, and what is odd about it."""

    damage: str | None
    oddities: tuple[str, ...]


def inspect(data: np.ndarray, name: str) -> Inspection:
    """Read an image as training does, and look whether all of it is there and as most images are.

    An image is damaged if :func:`~openmix.data.decoding.decode` refuses it, or, where :func:`strict_jpeg` is there, if
    libjpeg has a warning: it fills what is missing or spoilt with grey, and says so only there. Of photographs with 8
    bytes overwritten by random ones it warns of a third, and the decoder refuses one in sixty: what still is a valid
    stream is not seen, and only a checksum from before could tell.

    Args:
        data: the file's bytes, uint8 (n,).
        name: its name, whose ending is compared with what it holds.

    >>> inspect(np.zeros(9, np.uint8), "x.jpg")
    Inspection(damage='(9 bytes) is damaged, or no image: it begins as no format does that Pillow knows', oddities=())
    """
    try:
        decode(data, name)
    except DamagedImageError as error:
        return Inspection(error.reason, ())
    try:
        picture = _describe(data)
    except OSError:  # torchvision knows a format that this Pillow does not
        return Inspection(None, ("unknown to Pillow",))
    damage = jpeg_warning(data) if picture["format"] in ("JPEG", "MPO") else None
    return Inspection(damage, tuple(_oddities(picture, data, name)))


@functools.cache
def strict_jpeg() -> Callable[..., Any] | None:
    """Return simplejpeg's decoder, which turns libjpeg's warnings into errors; None where it is not installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg.decode_jpeg


def jpeg_warning(data: np.ndarray) -> str | None:
    """Return what libjpeg warns of in a JPEG, if anything; None also where nothing can be asked.

    Args:
        data: the file's bytes, uint8 (n,).
    """
    decode_strictly = strict_jpeg()
    if decode_strictly is None:
        return None
    try:
        # In grey, which any JPEG can be had in, and an eighth of the size: all coefficients are read, where the
        # warnings come from, and few pixels computed.
        decode_strictly(data, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        return f"({len(data):,} bytes) is damaged: libjpeg warns: {error}"
    return None


def _describe(data: np.ndarray) -> dict[str, Any]:
    """Return what Pillow reads of an image without its pixels."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of size, and of damaged EXIF data
        with Image.open(io.BytesIO(data.tobytes())) as picture:
            try:
                orientation = picture.getexif().get(ORIENTATION, 1)
            except Exception:  # EXIF data are whatever a camera wrote, and nothing here depends on them
                orientation = 1
            return {
                "format": picture.format or "",
                "mode": picture.mode,
                "size": picture.size,
                "has_alpha": picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info,
                "frames": getattr(picture, "n_frames", 1),
                "orientation": orientation,
            }


def _oddities(picture: dict[str, Any], data: np.ndarray, name: str) -> list[str]:
    kind, mode, (width, height) = picture["format"], picture["mode"], picture["size"]
    is_deep = mode.startswith("I;16") or (kind == "PNG" and len(data) > 24 and data[24] == 16)  # IHDR's bit depth
    found = {
        "CMYK": mode == "CMYK",
        "grey": mode in ("1", "L", "LA", "La") or mode.startswith("I;16"),
        "16-bit": is_deep,
        "alpha": picture["has_alpha"],
        "EXIF orientation": picture["orientation"] not in (0, 1),
        "several frames": picture["frames"] > 1 and kind != "MPO",  # a camera's preview is no second frame
        "over 50 megapixels": width * height > LARGE,
        "under 32 pixels": min(width, height) < SMALL,
    }
    wrong = _wrong_ending(name, kind)
    return [what for what, is_so in found.items() if is_so] + ([wrong] if wrong else [])


def _wrong_ending(name: str, kind: str) -> str | None:
    """Return ``'PNG named .jpg'`` where a name's ending stands for another format."""
    from PIL import Image

    ending = os.path.splitext(name)[1].lower()
    expected = Image.registered_extensions().get(ending)
    content = "JPEG" if kind == "MPO" else kind
    return f"{content} named {ending}" if expected not in (None, content) else None
