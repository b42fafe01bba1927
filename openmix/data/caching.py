"""Images of one size, written into one file by several processes at once."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from openmix.data.resizing import FILTERS, Filter
from openmix.data.sources.protocol import Source
from openmix.errors import UserError

__all__ = ["MODES", "ImageCacher", "fit"]

Mode = Literal["shorter", "square"]
MODES: tuple[Mode, ...] = get_args(Mode)


def fit(image: Tensor, size: int, mode: Mode = "shorter", filter: Filter = "bicubic") -> Tensor:
    """Make an image square.

    Args:
        image: uint8 (3, H, W).
        size: the side, in pixels.
        mode: ``'shorter'`` scales the shorter side to ``size`` and takes the centre, as torchvision's ``Resize`` and
            ``CenterCrop`` do, but without computing what is cut off; ``'square'`` scales both sides, each by its own
            factor, and loses nothing but the proportions.
        filter: Pillow's way to resample.

    Returns:
        uint8 (3, size, size); the image itself where it has that shape.

    >>> fit(torch.zeros(3, 40, 90, dtype=torch.uint8), 32).shape
    torch.Size([3, 32, 32])
    """
    from PIL import Image

    _, height, width = image.shape
    if height == width == size:
        return image
    box = None
    if mode == "shorter":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    small = picture.resize((size, size), Image.Resampling[filter.upper()], box=box)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


@dataclass(frozen=True)
class ImageCacher:
    """Writes images of a set to their places in a file, which has its size already.

    Attributes:
        source: the set.
        file: where image i goes, uint8 (3, size, size), from byte ``i * 3 * size * size`` on.
        size: the side, in pixels.
        mode: as :func:`fit` has it.
        filter: Pillow's way to resample.

    Raises:
        UserError: the size is below 1, or the mode or filter unknown.
    """

    source: Source
    file: Path
    size: int
    mode: Mode = "shorter"
    filter: Filter = "bicubic"

    def __post_init__(self) -> None:
        if self.size < 1 or self.mode not in MODES or self.filter not in FILTERS:
            raise UserError(
                f"size must be at least 1, mode one of {', '.join(MODES)}, filter one of {', '.join(FILTERS)}; "
                f"not {self.size}, {self.mode!r}, {self.filter!r}"
            )

    @property
    def image_bytes(self) -> int:
        """Bytes that an image takes."""
        return 3 * self.size * self.size

    def __call__(self, item: str) -> None:
        """Write the image with this number.

        Raises:
            DamagedImageError: it is damaged.
            OSError: it cannot be written.
        """
        index = int(item)
        content = fit(self.source[index][0], self.size, self.mode, self.filter).contiguous().numpy().tobytes()
        file = os.open(self.file, os.O_WRONLY)
        try:
            written = 0
            while written < len(content):  # a full disk may take a part and refuse the rest
                written += os.pwrite(file, content[written:], index * self.image_bytes + written)
        finally:
            os.close(file)
