"""Means and intervals over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Interval", "mean_interval", "welch_interval"]


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


def welch_interval(values: Sequence[float], others: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the difference of two means with Welch's interval, for values that cannot be paired.

    Its ``n`` is that of ``values``. The half width is NaN where either side has a single value.

    Args:
        values: one a seed.
        others: what is subtracted, one a seed.
        confidence: of the interval, in (0, 1).

    >>> interval = welch_interval([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    >>> round(interval.mean, 3), round(interval.half_width, 3)
    (1.0, 2.267)
    """
    x, y = np.asarray(values, dtype=float), np.asarray(others, dtype=float)
    difference = float(x.mean() - y.mean())
    if min(len(x), len(y)) < 2:
        return Interval(difference, float("nan"), len(x))
    variances = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    total = sum(variances)
    if not total:
        return Interval(difference, 0.0, len(x))
    freedom = total**2 / (variances[0] ** 2 / (len(x) - 1) + variances[1] ** 2 / (len(y) - 1))
    return Interval(difference, float(stats.t.ppf((1 + confidence) / 2, freedom) * total**0.5), len(x))
