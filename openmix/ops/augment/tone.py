"""Operations that look at one pixel at a time: a table of 256 values for each image and channel, looked up once.

They are read at 8 bits, which is what images hold and how Pillow and torchvision define autocontrast, equalize,
posterize and solarize; what comes out is not rounded to 8 bits. So several of them cost hardly more than one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from openmix.ops.augment.filters import to_gray
from openmix.ops.augment.names import CODES, is_any

__all__ = ["TONES", "retone"]


def retone(x: Tensor, operation: Tensor, magnitude: Tensor, used: Sequence[str]) -> Tensor:
    """Change the tones of each image whose operation says so.

    Args:
        x: float32 (N, C, H, W) in [0, 1].
        operation: int64 (N,), see :data:`~openmix.ops.augment.OPERATIONS`.
        magnitude: float32 (N,).
        used: the names of :data:`TONES` that ``operation`` may hold; the others are not computed.
    """
    levels = _to_levels(x).flatten(2).long()
    amount = magnitude[:, None, None]
    table = torch.arange(256, device=x.device, dtype=x.dtype).expand(*x.shape[:2], 256)
    for name in used:
        curve = TONES[name](x, levels, amount)
        table = torch.where((operation == CODES[name])[:, None, None], curve, table)
    toned = (table / 255).clamp(0, 1).gather(2, levels).view_as(x)
    return torch.where(is_any(operation, used)[:, None, None, None], toned, x)


def _to_levels(x: Tensor) -> Tensor:
    """Round [0, 1] to 8 bits; as uint8, whatever ``x`` holds is an index into a table of 256."""
    return x.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def _levels(like: Tensor) -> Tensor:
    return torch.arange(256, device=like.device, dtype=torch.float32)


def _autocontrast(x: Tensor, levels: Tensor, amount: Tensor) -> Tensor:
    low, high = (_to_levels(extreme).float()[:, :, None] for extreme in (x.amin((2, 3)), x.amax((2, 3))))
    # a channel of one value keeps it
    low, scale = torch.where(high > low, low, 0), torch.where(high > low, 255 / (high - low).clamp(min=1), 1)
    return (_levels(x) - low) * scale


def _equalize(x: Tensor, levels: Tensor, amount: Tensor) -> Tensor:
    one = torch.ones(1, dtype=torch.int32, device=x.device)
    count = torch.zeros(*levels.shape[:2], 256, dtype=torch.int32, device=x.device)
    count = count.scatter_add(2, levels, one.expand_as(levels))
    brightest = count.gather(2, _to_levels(x.amax((2, 3)))[:, :, None].long())
    step = (levels.shape[2] - brightest) // 255
    below = count.cumsum(2) - count
    flat = (below + step // 2) // step.clamp(min=1)
    return torch.where(step > 0, flat.float(), _levels(x))  # too few pixels to tell levels apart


def _invert(x: Tensor, levels: Tensor, amount: Tensor) -> Tensor:
    return 255 - _levels(x)


def _posterize(x: Tensor, levels: Tensor, amount: Tensor) -> Tensor:
    step = torch.exp2(8 - amount)
    return (_levels(x) / step).floor() * step


def _solarize(x: Tensor, levels: Tensor, amount: Tensor) -> Tensor:
    return torch.where(_levels(x) >= amount, 255 - _levels(x), _levels(x))


def _brightness(x: Tensor, levels: Tensor, amount: Tensor) -> Tensor:
    return amount * _levels(x)


def _contrast(x: Tensor, levels: Tensor, amount: Tensor) -> Tensor:
    mean = 255 * to_gray(x.mean((2, 3), keepdim=True))[:, :, 0]
    return amount * _levels(x) + (1 - amount) * mean


# of each operation, the table: (images, their levels (N, C, H * W), magnitude (N, 1, 1)) -> values in 0 .. 255, wider
# ones are cut off, broadcastable to (N, C, 256)
TONES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "invert": _invert,
    "posterize": _posterize,
    "solarize": _solarize,
    "brightness": _brightness,
    "contrast": _contrast,
}
