"""A run's figure by three statistics, kept apart: the last epoch's, the median of the last 10 epochs, the best."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["STATISTICS", "Summary"]

STATISTICS = {"last": "last epoch", "median_last10": "median of the last 10 epochs", "best": "best epoch"}


@dataclass(frozen=True)
class Summary:
    """A metric of one run.

    Attributes:
        values: by statistic, in the metric's unit; what has no value is not in it.
        missing: by statistic, why it has no value.
        best_epoch: the epoch of the best value; None where there is none.
        diverged: whether the last validation's figures, or the metric's in any, are no numbers.
    """

    values: Mapping[str, float]
    missing: Mapping[str, str]
    best_epoch: int | None
    diverged: bool
