"""Checks of values that a user hands in."""

from collections.abc import Sequence

__all__ = ["check_choice", "check_integer", "check_positive", "check_probability", "check_range"]


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a number above 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError(f"{name} must be a number above 0, got {value!r}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_range(name: str, value: Sequence[float], low: float, high: float) -> None:
    """Raise ValueError unless ``value`` is a pair ``(a, b)`` with low < a <= b <= high."""
    if len(value) != 2 or not low < value[0] <= value[1] <= high:
        raise ValueError(f"{name} must be a pair (a, b) with {low} < a <= b <= {high}, got {value!r}")


def check_integer(name: str, value: int, low: int) -> None:
    """Raise ValueError unless ``value`` is an integer of at least ``low``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} must be an integer of at least {low}, got {value!r}")


def check_probability(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a number in [0, 1]."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number in [0, 1], got {value!r}")
