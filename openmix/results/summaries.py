"""A run's figure by three statistics, kept apart: the last epoch's, the median of the last 10 epochs, the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["STATISTICS", "Summary", "decimals", "number", "summarise"]

STATISTICS = {"last": "last epoch", "median_last10": "median of the last 10 epochs", "best": "best epoch"}
WINDOW = 10
LOWER_IS_BETTER = ("nll", "ece")


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


def number(value: Any) -> float | None:
    """Return a record's figure; None where it is no finite number."""
    try:
        return float(value) if type(value) in (int, float) and math.isfinite(value) else None
    except OverflowError:  # JSON's whole numbers have no end
        return None


def decimals(metric: str) -> int:
    """Return how many decimals a figure has: of per cents two, of losses and of fractions four.

    >>> decimals("top1"), decimals("ece"), decimals("nll_mixed")
    (2, 4, 4)
    """
    return 4 if metric.split("_")[0] in LOWER_IS_BETTER else 2


def summarise(validations: Sequence[Mapping[str, Any]], metric: str = "top1") -> Summary:
    """Return a finished run's figure.

    The median is that of exactly 10 values, of the last validation of each of the last 10 epochs. OpenMixup's own
    scripts take 11 or 12 epochs.

    Args:
        validations: the run's validation records, to the end of training.
        metric: a key of the records.

    >>> records = [{"epoch": e, "step": e, "top1": float(e)} for e in range(1, 21)]
    >>> summarise(records).values
    {'last': 20.0, 'median_last10': 15.5, 'best': 20.0}
    """
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    last = validations[-1]
    present = [record for record in validations if metric in record]
    diverged = any(number(record[metric]) is None for record in present) or any(
        last.get(key, 0) is None for key in (metric, "nll", "top1")
    )
    if not present:
        return Summary({}, dict.fromkeys(STATISTICS, f"its records have no {metric}"), None, diverged)
    figures = [(value, record["epoch"]) for record in present if (value := number(record[metric])) is not None]
    sign = -1 if metric.split("_")[0] in LOWER_IS_BETTER else 1
    best = max(figures, key=lambda figure: sign * figure[0], default=None)

    at_end = number(last.get(metric))
    if at_end is not None:
        values["last"] = at_end
    else:
        missing["last"] = f"{metric} of its last validation is no number"
    by_epoch = {record["epoch"]: number(record.get(metric)) for record in validations}
    window = range(last["epoch"] - WINDOW + 1, last["epoch"] + 1)
    figures_of_window = [value for epoch in window if (value := by_epoch.get(epoch)) is not None]
    if len(figures_of_window) == WINDOW:
        values["median_last10"] = median(figures_of_window)
    else:
        missing["median_last10"] = _why_no_median(metric, by_epoch, window)
    if best is not None:
        values["best"] = best[0]
    else:
        missing["best"] = f"{metric} of no validation is a number"
    return Summary(values, missing, None if best is None else best[1], diverged)


def _why_no_median(metric: str, by_epoch: Mapping[int, float | None], window: range) -> str:
    if window[0] < 1:
        return f"it has {window[-1]} epoch{'s' * (window[-1] > 1)}, and the median is that of {WINDOW}"
    without = sum(epoch not in by_epoch for epoch in window)
    if without:
        return f"{without} of its last {WINDOW} epochs {'has' if without == 1 else 'have'} no validation"
    return f"{metric} of some of its last {WINDOW} epochs is no number"
