"""Smaller copies of images, so that training does not decode photographs of full size again and again.

The first was R-Mix's and Co-Mixup's ImageNet recipe, which trains on a set of 160 and a set of 352 pixels.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from openmix.data.decoding import load_decoder, read_image
from openmix.data.whole_files import write_whole
from openmix.errors import UserError

__all__ = ["FILTERS", "ImageResizer", "copy_name", "scaled"]

Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
FILTERS: tuple[Filter, ...] = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")


@dataclass(frozen=True)
class ImageResizer:
    """Writes JPEG copies of the images below one folder into the same tree below others, ``sizeN`` for size N.

    Copies are RGB; EXIF data is not kept and not applied. The same image gives the same bytes, as long as Pillow is the
    same. A copy is written beside its place and renamed, so a copy that is there is whole.

    Attributes:
        source: the folder of the images.
        destination: the folder of the ``sizeN``; their folders are expected to be there.
        sizes: the copies' shorter sides, in pixels.
        quality: JPEG's, 1 to 100.
        filter: Pillow's way to resample.
    """

    source: Path
    destination: Path
    sizes: Sequence[int]
    quality: int = 75
    filter: Filter = "bicubic"

    def __post_init__(self) -> None:
        load_decoder()  # once, before processes are forked

    def folder(self, size: int) -> Path:
        """Return where the copies of one size go."""
        return self.destination / f"size{size}"

    def copies(self, name: str) -> dict[int, Path]:
        """Return, by size, the paths of the copies of the image ``name`` (its path below ``source``)."""
        return {size: self.folder(size) / copy_name(name) for size in self.sizes}

    def __call__(self, name: str) -> int:
        """Write the copies of an image that are not there, and return how many that were.

        An empty file counts as not there: a machine that went down may leave one.

        Raises:
            UserError: the image is missing or damaged.
            OSError: a copy cannot be written.
        """
        wanted = {n: path for n, path in self.copies(name).items() if not (path.is_file() and path.stat().st_size)}
        if not wanted:
            return 0
        contents = self._encode(os.path.join(self.source, name), list(wanted))
        for path, content in zip(wanted.values(), contents, strict=True):
            write_whole(path, content, durable=False)
        return len(wanted)

    def _encode(self, path: str, sizes: Sequence[int]) -> list[bytes]:
        """Return an image's copies, decoding it once."""
        from PIL import Image

        image = Image.fromarray(read_image(path).permute(1, 2, 0).numpy())
        contents = []
        for size in sizes:
            file = io.BytesIO()
            try:
                small = image.resize(scaled(image.width, image.height, size), Image.Resampling[self.filter.upper()])
                small.save(file, "JPEG", quality=self.quality)
            except (OSError, ValueError, MemoryError) as error:  # a side may be too long for JPEG, or for anything
                raise UserError(f"{path} ({image.width} x {image.height}) cannot be resized: {error}") from None
            contents.append(file.getvalue())
        return contents


def scaled(width: int, height: int, size: int) -> tuple[int, int]:
    """Return width and height scaled such that the shorter one is ``size``, the other rounded down.

    R-Mix's code divides floating-point numbers and truncates, which makes 351 of 352 where the shorter side is 400 and
    a few others; here it is exact.

    >>> scaled(500, 375, 160), scaled(400, 600, 352)
    ((213, 160), (352, 528))
    """
    shorter = min(width, height)
    return width * size // shorter, height * size // shorter


def copy_name(name: str) -> str:
    """Return an image's name as a JPEG file's.

    >>> copy_name("cat/1.JPEG"), copy_name("cat/1.png")
    ('cat/1.JPEG', 'cat/1.jpg')
    """
    return name if name.lower().endswith((".jpg", ".jpeg")) else str(PurePath(name).with_suffix(".jpg"))
