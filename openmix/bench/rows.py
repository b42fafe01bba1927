"""An estimate in a table: its three numbers as keys of a row, its three columns, and in a sentence."""

from typing import Any

from openmix.bench.measure import Estimate

__all__ = ["columns_of", "fields_of", "spelt"]


def fields_of(key: str, estimate: Estimate) -> dict[str, Any]:
    """Return a row's keys for an estimate.

    >>> fields_of("ratio", Estimate(2.0, 1.5, 2.5, 9))
    {'ratio': 2.0, 'ratio_low': 1.5, 'ratio_high': 2.5, 'ratio_n': 9}
    """
    return {key: estimate.median, f"{key}_low": estimate.low, f"{key}_high": estimate.high, f"{key}_n": estimate.n}


def columns_of(heading: str, key: str, spec: str) -> dict[str, tuple[str, str]]:
    """Return the columns of a section that show :func:`fields_of`.

    >>> columns_of("images/s", "rate", ",.0f")
    {'images/s': ('rate', ',.0f'), 'images/s, from': ('rate_low', ',.0f'), 'images/s, to': ('rate_high', ',.0f')}
    """
    return {heading: (key, spec), f"{heading}, from": (f"{key}_low", spec), f"{heading}, to": (f"{key}_high", spec)}


def spelt(estimate: Estimate, spec: str) -> str:
    """Return an estimate for a bar.

    >>> spelt(Estimate(2.0, 1.5, 2.5, 9), ".1f")
    '2.0 (1.5 to 2.5)'
    """
    return f"{estimate.median:{spec}} ({estimate.low:{spec}} to {estimate.high:{spec}})"
