"""The boxes of random resized crops and of what CutMix pastes, for a whole batch of images."""

from collections.abc import Sequence

import numpy as np

__all__ = ["NUMBERS_A_BOX", "boxes_from", "cutmix_boxes"]

TRIES = 10
NUMBERS_A_BOX = 2 * TRIES + 2  # area and shape of each try, then y and x
RATIO = (3 / 4, 4 / 3)  # of width over height


def boxes_from(
    heights: np.ndarray,
    widths: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    numbers: np.ndarray,
    ratio: Sequence[float] = RATIO,
) -> np.ndarray:
    """Return crops by the rule of torchvision's ``RandomResizedCrop``, K for each of B images.

    The area is uniform in ``[low, high]`` of the image's and the logarithm of width over height is uniform; sides are
    rounded to pixels, and a crop that does not fit is drawn anew, 10 times at most. Then it is the image's centre: all
    of it, or of an image that is too long for ``ratio`` the largest part that is not. So on images that are not square
    large areas come out less often than they are drawn, as they do in torchvision.

    Args:
        heights: int64 (B,), at least 1.
        widths: int64 (B,), at least 1.
        low: (B, K), the smallest area of each crop as a share of the image's.
        high: (B, K), the largest.
        numbers: (B, K, 22), uniform in [0, 1).
        ratio: the smallest and the largest width over height. Default 3/4 and 4/3, torchvision's.

    Returns:
        int64 (B, K, 4): ``(y0, y1, x0, x1)``, half-open.

    >>> one = np.ones((1, 1))
    >>> boxes_from(np.array([30]), np.array([40]), one, one, np.full((1, 1, NUMBERS_A_BOX), 0.5)).tolist()
    [[[0, 30, 0, 40]]]
    """
    height, width = heights[:, None], widths[:, None]
    areas, shapes, ys, xs = np.split(numbers, [TRIES, 2 * TRIES, -1], axis=-1)
    area = (height * width)[..., None] * (low[..., None] + (high - low)[..., None] * areas)
    shape = np.exp(np.log(ratio[0]) + np.log(ratio[1] / ratio[0]) * shapes)
    w, h = np.rint(np.sqrt(area * shape)), np.rint(np.sqrt(area / shape))
    fits = (w > 0) & (w <= width[..., None]) & (h > 0) & (h <= height[..., None])
    first = fits.argmax(-1)[..., None]
    centre_h, centre_w = _largest(height, width, ratio)
    fit = np.take_along_axis(fits, first, -1)[..., 0]
    h = np.where(fit, np.take_along_axis(h, first, -1)[..., 0], centre_h)
    w = np.where(fit, np.take_along_axis(w, first, -1)[..., 0], centre_w)
    y = np.floor(np.where(fit, ys[..., 0] * (height - h + 1), (height - h) / 2))
    x = np.floor(np.where(fit, xs[..., 0] * (width - w + 1), (width - w) / 2))
    return np.stack([y, y + h, x, x + w], axis=-1).astype(np.int64)


def cutmix_boxes(size: int, numbers: np.ndarray) -> np.ndarray:
    """Return CutMix's boxes in a square: 1 - lam of its area about a centre, clipped at the borders.

    Args:
        size: edge of the square in pixels.
        numbers: (..., 3), uniform in [0, 1): lam, and the centre's y and x.

    Returns:
        int64 (..., 4): ``(y0, y1, x0, x1)``, half-open. The half of an edge is rounded down, as CropMix's authors do.

    >>> cutmix_boxes(32, np.array([0.75, 0.5, 0.0])).tolist()  # 16 x 16, half of it beyond the left border
    [8, 24, 0, 8]
    """
    share, y, x = np.moveaxis(numbers, -1, 0)
    half = (size * np.sqrt(1 - share)).astype(np.int64) // 2
    centre = np.stack([y, y, x, x], axis=-1)
    return ((size * centre).astype(np.int64) + half[..., None] * np.array([-1, 1, -1, 1])).clip(0, size)


def _largest(height: np.ndarray, width: np.ndarray, ratio: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return height and width of the largest centred crop whose shape is within ``ratio``."""
    h = np.where(width < height * ratio[0], np.rint(width / ratio[0]), height)
    w = np.where(width > height * ratio[1], np.rint(height * ratio[1]), width)
    return h, w
