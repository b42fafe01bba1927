"""Decode a JPEG no further than to the last row that is needed, at the scale that is needed.

Most of a JPEG's decoding time goes into reading its bit stream, which begins at the top and allows no leap. So what can
be saved is what lies below the last row wanted: the header is told that the image ends there. And where an image is
to be shrunk, libjpeg's inverse DCT gives it at 1/2, 1/4 or 1/8 for less than in full.

Beginning at a restart marker, where a file has them, was tried and left: above a random crop lies a sixth of the image,
and libjpeg-turbo reads such files in a slower way, so that a twentieth was gained.
"""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from openmix.data.decoding import HUGE

__all__ = ["JpegFrame", "dct_factor", "decode_rows", "load_row_decoder", "read_frame"]

BASELINE = (0xC0, 0xC1)  # baseline and extended Huffman; a progressive image has to be read to its end
HARMLESS = frozenset((0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE))  # tables, restart interval, applications', comment
SAMPLINGS = {(1, 1), (2, 1), (1, 2), (2, 2)}  # of the luma, in units of the chroma's
LEFTOVER = re.compile("extraneous bytes before marker 0xd[0-9]$")  # libjpeg's words for what follows the last row
MOST_SEGMENTS = 2000  # before the image; a photo has ten, the largest colour profile 255
SMALLEST = 8  # rows and columns from which on every scale gives a size of its own


class JpegFrame(NamedTuple):
    """What the header of a JPEG says, for those that :func:`decode_rows` takes.

    Attributes:
        height: rows.
        width: columns.
        place: where in the data the height stands, two bytes.
        scan: where in the data the coded image begins.
    """

    height: int
    width: int
    place: int
    scan: int = 0


def read_frame(data: np.ndarray) -> JpegFrame | None:
    """Return the frame of a JPEG without decoding it; None for what is no JPEG, or one to be decoded whole.

    What is taken: Huffman coded, sequential, 8 bits, grey or three components in one scan, the chroma at full or half
    resolution, and with an end; what is cut off must be left to :func:`openmix.data.decoding.decode` to complain about.

    Args:
        data: the file's bytes, uint8 (n,); they may be anything.
    """
    view = np.ascontiguousarray(data).data
    if len(view) < 4 or view[0] != 0xFF or view[1] != 0xD8:
        return None
    frame, components, place = None, 0, 2
    for _ in range(MOST_SEGMENTS):
        if place + 4 > len(view) or view[place] != 0xFF:
            return None
        marker, end = view[place + 1], place + 2 + _number(view, place + 2)
        if not place + 4 <= end <= len(view):
            return None
        if marker == 0xDA:
            one_scan = frame and end > place + 4 and view[place + 4] == components
            return frame._replace(scan=end) if frame and one_scan and _has_end(view, end) else None
        if marker in BASELINE and frame is None and _can_be_cut(segment := view[place + 4 : end]):
            frame, components = JpegFrame(_number(segment, 1), _number(segment, 3), place + 5), segment[5]
        elif marker not in HARMLESS:
            return None
        place = end
    return None


def _number(view: memoryview, place: int) -> int:
    return view[place] << 8 | view[place + 1]


def _can_be_cut(segment: memoryview) -> bool:
    """Tell whether a frame header is of the kind that :func:`read_frame` describes."""
    if len(segment) < 6 or len(segment) != 6 + 3 * segment[5]:
        return False
    samplings = [(value >> 4, value & 15) for value in segment[7::3]]
    known = len(samplings) in (1, 3) and samplings[0] in SAMPLINGS
    # A height of 0 stands at the end of the image instead.
    has_pixels = 0 < _number(segment, 1) * _number(segment, 3) <= HUGE
    return known and has_pixels and segment[0] == 8 and all(value == (1, 1) for value in samplings[1:])


def _has_end(view: memoryview, start: int) -> bool:
    """Tell whether the end marker follows; it cannot occur within the coded image, which stuffs a zero after 0xFF."""
    return view[-2:] == b"\xff\xd9" or bytes(view[start:]).find(b"\xff\xd9") >= 0


def is_one_piece(data: np.ndarray, frame: JpegFrame) -> bool:
    """Tell whether the coded image goes on to the end marker without another: one in its middle ends it for libjpeg.

    Args:
        data: the file's bytes, as :func:`read_frame` was given them.
        frame: what it returned.
    """
    scan = data[frame.scan :]
    after = scan[1:][np.flatnonzero(scan[:-1] == 0xFF)]
    markers = after[(after != 0) & (after != 0xFF) & (after & 0xF8 != 0xD0)]  # no stuffing, no filling, no restart
    return len(markers) > 0 and bool(markers[0] == 0xD9)


def dct_factor(frame: JpegFrame, crop: tuple[int, int], size: tuple[int, int]) -> int:
    """Return the largest of 1, 2, 4 and 8 by which a crop can be shrunk and still is no smaller than ``size``.

    >>> frame = JpegFrame(1500, 2000, 0)
    >>> [dct_factor(frame, (side, side), (224, 224)) for side in (447, 448, 895, 896)]
    [1, 2, 2, 4]
    """
    if min(frame.height, frame.width, *crop) < SMALLEST:
        return 1
    shrink = min(crop[0] // size[0], crop[1] // size[1])
    return next((factor for factor in (8, 4, 2) if factor <= shrink), 1)


def decode_rows(data: np.ndarray, frame: JpegFrame, bottom: int, factor: int = 1) -> np.ndarray | None:
    """Return the image down to row ``bottom`` (or a little more), uint8 (rows, columns, 3) in RGB.

    Without a factor these are the pixels of a full decode, bit for bit. Row i of the rest covers the rows from
    ``factor * i`` on.

    Args:
        data: the file's bytes, as :func:`read_frame` was given them.
        frame: what it returned.
        bottom: rows that are needed, at most the frame's.
        factor: 1, 2, 4 or 8.

    Returns:
        None where simplejpeg is missing, or cannot decode this.
    """
    decode = load_row_decoder()
    if decode is None:
        return None
    # Interpolating the chroma looks one of its rows further down: two rows of the image, at the scale it is decoded at.
    rows = min(frame.height, max(bottom + 2 * factor, SMALLEST))
    cut = bytearray(data)
    cut[frame.place : frame.place + 2] = rows.to_bytes(2, "big")
    height, width = -(-rows // factor), -(-frame.width // factor)
    image = np.empty((height, width, 3), np.uint8)
    try:
        decode(cut, buffer=image, min_height=height if factor > 1 else 0, min_width=width if factor > 1 else 0)
    except ValueError as error:
        # What we cut off is something to complain of, once all is decoded. Whatever else there is to complain of is
        # left to a full decode, so that both find the same images damaged.
        if LEFTOVER.search(str(error)) is None:
            return None
    return image


@functools.cache
def load_row_decoder() -> Callable[..., np.ndarray] | None:
    """Return simplejpeg's decoder, which is libjpeg-turbo's, if it is there."""
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return None
    return functools.partial(decode_jpeg, colorspace="RGB", strict=True)
