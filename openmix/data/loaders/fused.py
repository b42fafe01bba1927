"""Decode only what a random crop shows.

A pipeline that begins with ``RandomResizedCrop`` needs no image, only its size, to draw the box; so the header is
read, the box drawn, and the rest of the image left undecoded.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from openmix.data.cropping import decode_crop
from openmix.data.decoding import decode
from openmix.data.jpeg import load_row_decoder, read_frame
from openmix.data.sources.encoded import EncodedSource, only_decodes
from openmix.data.sources.protocol import Source
from openmix.errors import UserError, did_you_mean

__all__ = ["CroppedSource", "Decode", "fuse"]

Decode = Literal["fast", "exact"]


class CroppedSource:
    """An encoded source seen through its random crop: indexing it gives a crop, drawn by torch's global generator.

    The draws are those of the transform, in its order, and so leave the generator as it would.

    Args:
        source: the set.
        crop: torchvision's ``v2.RandomResizedCrop``.
        scaled: whether an image may be decoded at a smaller scale, see :func:`openmix.data.cropping.decode_crop`.
    """

    def __init__(self, source: EncodedSource, crop: Any, scaled: bool) -> None:
        self.source, self.crop, self.scaled = source, crop, scaled
        self._draw = getattr(crop, "make_params", None) or crop._get_params  # the latter up to torchvision 0.20

        load_row_decoder()  # once, before worker processes are forked

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return the crop, uint8 (3, height, width), and the label.

        Raises:
            DamagedImageError: the image is missing, damaged or none.
        """
        data, label = self.source.encoded(index), int(self.source.labels[index])
        frame = read_frame(data)
        if frame is None:
            return self.crop(decode(data, self.source.name(index))), label
        drawn = self._draw([torch.empty(()).expand(3, frame.height, frame.width)])
        image = decode_crop(
            data,
            self.source.name(index),
            (drawn["top"], drawn["left"], drawn["height"], drawn["width"]),
            tuple(self.crop.size),
            interpolation=self.crop.interpolation,
            antialias=self.crop.antialias,
            scaled=self.scaled,
            frame=frame,
        )
        return image, label


def fuse(
    source: Source, pipeline: Sequence[Callable[..., Any]], how: Decode
) -> tuple[Source | CroppedSource, tuple[Callable[..., Any], ...]]:
    """Return what to index for images, and what is left to do with them.

    Where nothing can be saved these are ``source`` and ``pipeline`` as given.

    Args:
        source: the set.
        pipeline: transforms of one image.
        how: 'exact' for the same pixels as without, 'fast' for nearly the same where decoding at a smaller scale helps.

    Raises:
        UserError: ``how`` is neither.

    >>> from openmix.data.sources import Synthetic
    >>> source = Synthetic(10, (3, 8, 8), 100)
    >>> fuse(source, [], "exact") == (source, ())
    True
    """
    if how not in get_args(Decode):
        raise UserError(f"decode must be 'fast' or 'exact', not {how!r}{did_you_mean(str(how), get_args(Decode))}")
    if only_decodes(source) and pipeline and _is_plain_crop(pipeline[0]):
        return CroppedSource(source, pipeline[0], scaled=how == "fast"), tuple(pipeline[1:])
    return source, tuple(pipeline)


def _is_plain_crop(transform: Callable[..., Any]) -> bool:
    """Tell whether a transform is torchvision's own, and not something derived from it."""
    from torchvision.transforms import v2

    return type(transform) is v2.RandomResizedCrop
