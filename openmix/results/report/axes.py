"""An axis: from where to where, and which numbers stand beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Axis", "axis", "robust_range"]


@dataclass(frozen=True)
class Axis:
    """A linear scale.

    Attributes:
        low: the number at its beginning.
        high: the number at its end, larger than ``low``.
        ticks: the numbers beside it, with how they are written.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


def axis(low: float, high: float, most: int = 6) -> Axis:
    """Return the axis from ``low`` to ``high`` with at most ``most`` ticks, at multiples of 1, 2 or 5 times 10^k.

    >>> [text for _, text in axis(0, 200).ticks]
    ['0', '50', '100', '150', '200']
    """
    if not high > low:
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, low + margin
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(m * power for m in (1, 2, 5, 10, 20) if (high - low) / (m * power) < most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, tuple((i * step, _spell(i * step, step)) for i in range(first, last + 1)))


def robust_range(values: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float] | None:
    """Return from where to where most numbers are: the few of a network that diverges must not flatten all curves.

    That is their whole range, but no further than three interquartile ranges from the quartiles. None without numbers.
    """
    flat = np.concatenate([np.empty(0), *values])
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        return None
    first, third = np.quantile(flat, (0.25, 0.75))
    reach = 3 * (third - first)
    inside = flat[(flat >= first - reach) & (flat <= third + reach)] if reach > 0 else flat
    return float(inside.min()), float(inside.max())


def _spell(value: float, step: float) -> str:
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals > 4 or abs(value) >= 1e6:
        return f"{value:.6g}"
    return f"{value + 0.0:,.{decimals}f}".replace("-0", "0") if value == 0 else f"{value:,.{decimals}f}"
