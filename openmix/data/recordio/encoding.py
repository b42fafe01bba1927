"""From an image file to the data of its record: its bytes as they are, or encoded anew."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from openmix.data.decoding import decode, load_decoder, read_file
from openmix.data.recordio.format import LONGEST, ImageHeader, pack_image
from openmix.data.recordio.listing import Listing
from openmix.data.recordio.manifest import digest
from openmix.data.recordio.verify import strictly_decode
from openmix.data.resizing import Filter, scaled
from openmix.errors import DamagedImageError

__all__ = ["Encoding", "RecordEncoder"]

BEGINNINGS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*",
    *(b"P%d" % number for number in range(1, 7)),
)  # fmt: skip


@dataclass(frozen=True)
class Encoding:
    """How images are written.

    Attributes:
        resize: the shorter side in pixels; None leaves the size.
        filter: Pillow's, to resize.
        center_crop: whether to cut out the square in the middle.
        encoding: the format.
        quality: JPEG's, 1 to 100.
        color: RGB, or grey.
        anew: whether to encode at all; False takes the files' bytes as they are.
        check: whether to decode the files that are taken as they are, to find the damaged ones.
    """

    resize: int | None = None
    filter: Filter = "bicubic"
    center_crop: bool = False
    encoding: Literal["jpg", "png"] = "jpg"
    quality: int = 95
    color: Literal["rgb", "grey"] = "rgb"
    anew: bool = False
    check: bool = False

    @property
    def checks(self) -> bool:
        """Whether files that are packed as they are get decoded; those that are encoded anew always are."""
        return self.check and not self.anew

    def options(self) -> dict[str, Any]:
        """Return what the bytes depend on, for the manifest."""
        if not self.anew:
            return {"pass_through": True}
        import PIL

        options: dict[str, Any] = {"resize": self.resize, "filter": self.filter, "center_crop": self.center_crop}
        quality = {"quality": self.quality} if self.encoding == "jpg" else {}
        return {**options, "encoding": self.encoding, **quality, "color": self.color, "pillow": PIL.__version__}

    def __call__(self, data: np.ndarray, path: str) -> bytes:
        """Return what is packed of a file's bytes.

        Raises:
            DamagedImageError: it is damaged, or no image.
        """
        if self.anew:
            return self._encoded(data, path)
        start = data[:8].tobytes()
        if not start.startswith(BEGINNINGS):
            raise DamagedImageError(path, "is empty" if not start else f"is no image: it begins with {start.hex()}")
        if self.checks and (reason := strictly_decode(data)):
            raise DamagedImageError(path, reason)
        return data.tobytes()

    def _encoded(self, data: np.ndarray, path: str) -> bytes:
        from PIL import Image

        image = Image.fromarray(decode(data, path).permute(1, 2, 0).contiguous().numpy())
        try:
            if self.resize is not None:
                resample = Image.Resampling[self.filter.upper()]
                image = image.resize(scaled(image.width, image.height, self.resize), resample)
            if self.center_crop:
                side = min(image.size)
                left, top = (image.width - side) // 2, (image.height - side) // 2
                image = image.crop((left, top, left + side, top + side))
            if self.color == "grey":
                image = image.convert("L")
            file = io.BytesIO()
            if self.encoding == "jpg":
                image.save(file, "JPEG", quality=self.quality)
            else:
                image.save(file, "PNG")
        except (OSError, ValueError, MemoryError) as error:  # a side may be too long for JPEG, or for anything
            raise DamagedImageError(path, f"({image.width} x {image.height}) cannot be encoded: {error}") from None
        return file.getvalue()


class RecordEncoder:
    """Returns the data of an image's record, and their digest, by the image's number in a listing."""

    def __init__(self, listing: Listing, encode: Callable[[np.ndarray, str], bytes]) -> None:
        self.listing = listing
        self.encode = encode
        load_decoder()  # once, before processes are forked

    def __call__(self, item: str) -> tuple[bytes, bytes]:
        """Encode one image.

        Args:
            item: its number, as text, as which processes hand it on.

        Raises:
            DamagedImageError: the file is missing, damaged or no image.
        """
        number = int(item)
        path = self.listing.path(number)
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
            raise DamagedImageError(path, "is no regular file")
        image = self.encode(read_file(path), path)
        if len(image) > LONGEST // 2:
            raise DamagedImageError(path, f"({len(image):,} bytes) is too large for a record")
        labels: list[float] = self.listing.labels[number].tolist()
        header = ImageHeader(int(self.listing.keys[number]), tuple(labels) if len(labels) > 1 else labels[0])
        data = pack_image(header, image)
        return data, digest(data)
