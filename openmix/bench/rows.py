"""An estimate in a table: its three numbers as keys of a row, its three columns, and in a sentence."""

from collections.abc import Iterable
from typing import Any

from openmix.bench.measure import Estimate

__all__ = ["columns_of", "fields_of", "rounded", "spelt"]

ENOUGH = 6  # values for an interval


def fields_of(key: str, estimate: Estimate) -> dict[str, Any]:
    """Return a row's keys for an estimate, and for the values that it is of, from which anyone can find it anew.

    >>> fields_of("ratio", Estimate(2.0, 1.5, 2.5, 3, (2.0, 1.5, 2.5)))
    {'ratio': 2.0, 'ratio_low': 1.5, 'ratio_high': 2.5, 'ratio_n': 3, 'ratio_values': [2.0, 1.5, 2.5]}
    """
    found = {key: estimate.median, f"{key}_low": estimate.low, f"{key}_high": estimate.high, f"{key}_n": estimate.n}
    return {**found, f"{key}_values": rounded(estimate.values)}


def rounded(values: Iterable[float]) -> list[float]:
    """Return the values to four significant digits, as JSON keeps them.

    >>> rounded([0.0123456, 98765.4])
    [0.01235, 98770.0]
    """
    return [float(f"{value:.4g}") for value in values]


def columns_of(heading: str, key: str, spec: str) -> dict[str, tuple[str, str]]:
    """Return the columns of a section that show :func:`fields_of`.

    >>> columns_of("images/s", "rate", ",.0f")
    {'images/s': ('rate', ',.0f'), 'images/s, from': ('rate_low', ',.0f'), 'images/s, to': ('rate_high', ',.0f')}
    """
    return {heading: (key, spec), f"{heading}, from": (f"{key}_low", spec), f"{heading}, to": (f"{key}_high", spec)}


def spelt(estimate: Estimate, spec: str) -> str:
    """Return an estimate for a bar; of few values it has a range, and no interval.

    >>> spelt(Estimate(2.0, 1.5, 2.5, 9), ".1f")
    '2.0 (1.5 to 2.5)'
    >>> spelt(Estimate(2.0, 1.5, 2.5, 3), ".1f")
    '2.0 (range 1.5 to 2.5)'
    """
    range_ = "range " if estimate.n < ENOUGH else ""
    return f"{estimate.median:{spec}} ({range_}{estimate.low:{spec}} to {estimate.high:{spec}})"
