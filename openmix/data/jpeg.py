"""Decode only those rows of a JPEG that are needed, at the scale that is needed.

Most of a JPEG's decoding time goes into reading its bit stream, which allows no leap. So what can be saved is what lies
below the last row wanted: the header is told that the image ends there. Only where there are restart markers, between
rows of blocks, one may begin at one; then what lies above is left out as well. And where an image is to be shrunk,
libjpeg's inverse DCT gives it at 1/2, 1/4 or 1/8 for less than in full.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from openmix.data.decoding import HUGE

__all__ = ["JpegFrame", "dct_factor", "decode_rows", "load_row_decoder", "read_frame"]

BASELINE = (0xC0, 0xC1)  # baseline and extended Huffman; a progressive image has to be read to its end
HARMLESS = frozenset((0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE))  # tables, restart interval, applications', comment
SAMPLINGS = {(1, 1), (2, 1), (1, 2), (2, 2)}  # of the luma, in units of the chroma's
MOST_SEGMENTS = 2000  # before the image; a photo has ten, the largest colour profile 255
SMALLEST = 8  # rows and columns from which on every scale gives a size of its own
END = 0xD9


class JpegFrame(NamedTuple):
    """What the header of a JPEG says, for those that :func:`decode_rows` takes.

    Attributes:
        height: rows.
        width: columns.
        place: where in the data the height stands, two bytes.
        scan: where the coded image begins.
        restart_rows: how many rows there are from one restart marker to the next; 0 if there are none, or not at the
            beginning of rows.
    """

    height: int
    width: int
    place: int = 0
    scan: int = 0
    restart_rows: int = 0


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
    frame, components, interval, place = None, 0, 0, 2
    for _ in range(MOST_SEGMENTS):
        if place + 4 > len(view) or view[place] != 0xFF:
            return None
        marker, end = view[place + 1], place + 2 + _number(view, place + 2)
        if not place + 4 <= end <= len(view):
            return None
        if marker == 0xDA:
            if frame is None or end == place + 4 or view[place + 4] != components or not _has_end(view, end):
                return None
            sampling = view[frame.place + 6] if components > 1 else 0x11  # of a single component it means nothing
            return frame._replace(scan=end, restart_rows=_restart_rows(frame.width, sampling, interval))
        if marker in BASELINE and frame is None and _can_be_cut(segment := view[place + 4 : end]):
            frame, components = JpegFrame(_number(segment, 1), _number(segment, 3), place + 5), segment[5]
        elif marker == 0xDD and end == place + 6:
            interval = _number(view, place + 4)
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


def _restart_rows(width: int, sampling: int, interval: int) -> int:
    """Return the rows that an interval of so many blocks makes; 0 for a part of a row, and for no interval."""
    blocks = -(-width // (8 * (sampling >> 4)))
    return 0 if interval % blocks else interval // blocks * 8 * (sampling & 15)


def dct_factor(frame: JpegFrame, crop: tuple[int, int], size: tuple[int, int]) -> int:
    """Return the largest of 1, 2, 4 and 8 by which a crop can be shrunk and still is no smaller than ``size``.

    >>> frame = JpegFrame(1500, 2000)
    >>> [dct_factor(frame, (side, side), (224, 224)) for side in (447, 448, 895, 896)]
    [1, 2, 2, 4]
    """
    if min(frame.height, frame.width, *crop) < SMALLEST:
        return 1
    shrink = min(crop[0] // size[0], crop[1] // size[1])
    return next((factor for factor in (8, 4, 2) if factor <= shrink), 1)


def decode_rows(
    data: np.ndarray, frame: JpegFrame, top: int, bottom: int, factor: int = 1
) -> tuple[np.ndarray, int] | None:
    """Decode rows ``top`` to ``bottom`` of an image, and a few or many more.

    Without a factor these are the pixels of a full decode, bit for bit.

    Args:
        data: the file's bytes, as :func:`read_frame` was given them.
        frame: what it returned.
        top: the first row that is needed.
        bottom: the row after the last that is needed, at most the frame's height.
        factor: 1, 2, 4 or 8: by how much to shrink.

    Returns:
        uint8 (rows, columns, 3) in RGB, and which row of the image it begins with, a multiple of ``factor``; row i of
        the array covers ``factor`` rows from ``factor * i`` on. None where simplejpeg is missing, or cannot decode it.
    """
    decode = load_row_decoder()
    if decode is None:
        return None
    # Interpolating the chroma looks one of its rows further: two rows of the image, at the scale it is decoded at.
    last = min(frame.height, max(bottom + 2 * factor, top + SMALLEST, SMALLEST))
    cut, first = _between_restarts(data, frame, top - 2 * factor, last) or (bytearray(data), 0)
    cut[frame.place : frame.place + 2] = (last - first).to_bytes(2, "big")
    size = -(-(last - first) // factor), -(-frame.width // factor)
    try:
        # Not strict: the rest of the data, which nobody decodes, is something to warn of. What damage a full decode
        # lets pass, passes here.
        image = decode(cut, min_height=size[0] if factor > 1 else 0, min_width=size[1] if factor > 1 else 0)
    except (ValueError, MemoryError):
        return None
    return (image, first) if image.shape == (*size, 3) else None


def _between_restarts(data: np.ndarray, frame: JpegFrame, top: int, bottom: int) -> tuple[bytearray, int] | None:
    """Return the data without what restart markers allow to leave out above and below, and the first row left.

    None if there is nothing to leave out above, or the markers are not where they should be.
    """
    step = frame.restart_rows
    skipped = top // step if step else 0
    if skipped < 1:
        return None
    places = np.flatnonzero(data[frame.scan : -1] == 0xFF) + frame.scan
    kinds = data[places + 1]
    marks = (kinds >= 0xD0) & (kinds <= END)
    places, kinds = places[marks], kinds[marks]
    count, used = -(-frame.height // step) - 1, -(-bottom // step)
    if len(kinds) <= count or kinds[count] != END or (kinds[:count] != 0xD0 + np.arange(count) % 8).any():
        return None
    start = int(places[skipped - 1]) + 2
    coded = data[start : places[used - 1]].copy()
    inner = places[skipped : used - 1] + 1 - start  # restart markers are numbered anew
    coded[inner] = 0xD0 + np.arange(len(inner)) % 8
    return bytearray(data[: frame.scan].tobytes() + coded.tobytes() + bytes((0xFF, END))), skipped * step


@functools.cache
def load_row_decoder() -> Callable[..., np.ndarray] | None:
    """Return simplejpeg's decoder, which is libjpeg-turbo's, if it is there."""
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return None
    return functools.partial(decode_jpeg, colorspace="RGB", strict=False)
