"""Boxes: (y0, y1, x0, x1), half-open, height before width."""

import torch
from torch import Tensor

__all__ = ["box_area", "clip_boxes", "inside_box", "outside_box", "shift_boxes"]


def clip_boxes(centre: Tensor, side: Tensor, size: tuple[int, int]) -> Tensor:
    """Lay boxes around centres and cut them off at the image's border, as CutMix does.

    The half side is ``side // 2`` both ways, so an odd side loses a pixel: this is what the authors' code does, and
    the label follows the area that is really there.

    Args:
        centre: int64 (N, 2), (y, x).
        side: int64 (N, 2), (height, width).
        size: (H, W) of the image.

    Returns:
        int64 (N, 4).
    """
    limit = torch.tensor(size, device="cpu")
    low = (centre - side // 2).clamp(min=0)
    high = torch.minimum(centre + side // 2, limit)
    return torch.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], dim=1)


def shift_boxes(centre: Tensor, side: Tensor, size: tuple[int, int]) -> Tensor:
    """Lay boxes around centres and push them inside the image, so that each keeps its full side.

    Arguments and result as for :func:`clip_boxes`; ``side`` must not exceed ``size``.
    """
    limit = torch.tensor(size, device="cpu") - side
    low = torch.minimum((centre - side // 2).clamp(min=0), limit)
    high = low + side
    return torch.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], dim=1)


def box_area(boxes: Tensor) -> Tensor:
    """Return the number of pixels in each box: int64 (N,) for int64 (N, 4)."""
    return (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])


def inside_box(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return which pixels lie in each box: bool (N, 1, H, W) for int64 (N, 4)."""
    rows, columns = _lines_inside(boxes, size)
    return rows & columns


def outside_box(boxes: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Return 1 for the pixels outside of each box and 0 inside: (N, 1, H, W) of a floating ``dtype``, in one pass."""
    rows, columns = _lines_inside(boxes, size)
    return torch.addcmul(torch.ones((), dtype=dtype, device=boxes.device), rows.to(dtype), columns.to(dtype), value=-1)


def _lines_inside(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return which rows and which columns each box covers: bool (N, 1, H, 1) and (N, 1, 1, W)."""
    y = torch.arange(size[0], device=boxes.device)[None, None, :, None]
    x = torch.arange(size[1], device=boxes.device)[None, None, None, :]
    y0, y1, x0, x1 = boxes[:, :, None, None, None].unbind(1)
    return (y >= y0) & (y < y1), (x >= x0) & (x < x1)
