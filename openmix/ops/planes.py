"""Moving pixels fast: images as planes of rows that lie in memory as they are, whatever their memory format.

On a CPU whole rows are copied at the speed of memory, and single pixels at a tenth of it. So content is moved in two
steps: rows of planes first, elements within rows second.
"""

import torch
from torch import Tensor

__all__ = ["elements", "from_planes", "is_channels_last", "like_layout", "select_rows", "take_images", "to_planes"]


def to_planes(x: Tensor, channels_last: bool) -> Tensor:
    """Return images (B, C, H, W) as planes (B, C, H, W), or (B, 1, H, W * C) where channels are last in memory."""
    return x.permute(0, 2, 3, 1).flatten(2)[:, None] if channels_last else x


def from_planes(planes: Tensor, like: Tensor) -> Tensor:
    """Return planes, contiguous, as images of the shape and the memory format of ``like``."""
    batch, channels, height, width = like.shape
    if is_channels_last(like):
        return planes.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return planes.view(like.shape)


def take_images(x: Tensor, index: Tensor) -> Tensor:
    """Return ``x[index]`` in the memory format of ``x`` (B, C, H, W); for small images, in a third of its time."""
    if is_channels_last(x):
        return x.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
    return x.index_select(0, index)


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of each pixel lie side by side."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def like_layout(result: Tensor, x: Tensor) -> Tensor:
    """Return ``result`` in the dtype of ``x``, and in channels_last where ``x`` is."""
    layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    return result.to(x.dtype).contiguous(memory_format=layout)


def elements(columns: Tensor, planes: Tensor, width: int) -> Tensor:
    """Return which elements of a plane's row image columns are: int64 (B, w), or (B, w * C) if channels are last.

    Args:
        columns: int64 (B, w); columns of several images laid side by side count on.
        planes: (B, P, H, L).
        width: of the images.
    """
    unit = planes.shape[3] // width
    return (columns[:, :, None] * unit + torch.arange(unit, device=columns.device)).flatten(1)


def select_rows(planes: Tensor, image: Tensor, row: Tensor) -> Tensor:
    """Return rows of planes: (B, P, h, L), where (b, p, i) is row ``row[b, i]`` of plane p of image ``image[b, i]``.

    Args:
        planes: (B, P, H, L).
        image: int64, broadcastable to ``row``.
        row: int64 (B, h).
    """
    number, height, length = planes.shape[1:]
    plane = image[:, None] * number + torch.arange(number, device=row.device)[:, None]  # (B, P, h)
    chosen = (plane * height + row[:, None]).flatten()
    return planes.reshape(-1, length).index_select(0, chosen).view(len(row), number, -1, length)
