"""The difference of a group's mean to its baseline's, and how tables spell figures."""

from collections.abc import Mapping
from dataclasses import dataclass

from openmix.results.statistics import mean_interval, welch_interval

__all__ = ["Difference", "difference", "spelt_mean"]


@dataclass(frozen=True)
class Difference:
    """The mean of a group less that of its baseline.

    Attributes:
        mean: in the metric's unit.
        half_width: the 95 % interval is ``mean - half_width .. mean + half_width``; None where n is 1.
        paired: seed by seed (Student's t) or not (Welch's).
        n: how many pairs of seeds, or runs of the group where it is not paired.
    """

    mean: float
    half_width: float | None
    paired: bool
    n: int

    def spelt(self, digits: int) -> str:
        """Return it with its interval, and a ``w`` where that is Welch's.

        >>> Difference(0.5, 1.25, paired=False, n=3).spelt(2)
        '+0.50 (-0.75 .. +1.75) w'
        """
        how = "" if self.paired else " w"
        if self.half_width is None:
            return f"{self.mean:+.{digits}f}{how}"
        low, high = self.mean - self.half_width, self.mean + self.half_width
        return f"{self.mean:+.{digits}f} ({low:+.{digits}f} .. {high:+.{digits}f}){how}"


def difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Return the difference of two groups' means; None where one of them has no values.

    Args:
        values: by seed.
        baseline: by seed; with the same seeds the difference is taken seed by seed.
    """
    if not values or not baseline:
        return None
    paired = values.keys() == baseline.keys()
    if paired:
        interval = mean_interval([value - baseline[seed] for seed, value in values.items()])
    else:
        interval = welch_interval(list(values.values()), list(baseline.values()))
    known = interval.half_width == interval.half_width  # not NaN
    return Difference(interval.mean, interval.half_width if known else None, paired, interval.n)


def spelt_mean(mean: float, sd: float | None, digits: int) -> str:
    """Return a mean with its sample standard deviation, where there is one.

    >>> spelt_mean(1.5, 0.7071, 2), spelt_mean(1.5, None, 2)
    ('1.50 ± 0.71', '1.50')
    """
    return f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")
