"""Means and intervals over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Interval", "mean_interval"]


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: of the values.
        half_width: the interval is ``mean - half_width .. mean + half_width``; NaN for a single value.
        n: how many values.
    """

    mean: float
    half_width: float
    n: int


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the mean of a few values with Student's t interval, as small samples want it.

    For the difference of two methods pass the differences seed by seed: what a seed makes of both cancels out.

    Args:
        values: one a seed.
        confidence: of the interval, in (0, 1).

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> round(interval.mean, 3), round(interval.half_width, 3)
    (2.0, 2.484)
    """
    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return Interval(float(x.mean()), float("nan"), len(x))
    half_width = stats.t.ppf((1 + confidence) / 2, len(x) - 1) * x.std(ddof=1) / len(x) ** 0.5
    return Interval(float(x.mean()), float(half_width), len(x))
