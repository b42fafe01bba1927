"""Checks of values that a user hands in."""

from collections.abc import Sequence

__all__ = [
    "check_choice", "check_flag", "check_integer", "check_not_negative", "check_number", "check_positive",
    "check_probability", "check_range",
]  # fmt: skip


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a number above 0."""
    if not _is_number(value) or not 0 < value < float("inf"):
        raise ValueError(f"{name} must be a number above 0, got {value!r}")


def check_not_negative(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a finite number of at least 0."""
    if not _is_number(value) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number of at least 0, got {value!r}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_range(name: str, value: Sequence[float], low: float, high: float) -> None:
    """Raise ValueError unless ``value`` is a pair ``(a, b)`` with low < a <= b <= high."""
    is_pair = isinstance(value, Sequence) and len(value) == 2 and all(_is_number(v) for v in value)
    if not is_pair or not low < value[0] <= value[1] <= high:
        raise ValueError(f"{name} must be a pair (a, b) with {low} < a <= b <= {high}, got {value!r}")


def check_integer(name: str, value: int, low: int) -> None:
    """Raise ValueError unless ``value`` is an integer of at least ``low``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} must be an integer of at least {low}, got {value!r}")


def check_probability(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a number in [0, 1]."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number in [0, 1], got {value!r}")


def check_number(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a finite number."""
    if not _is_number(value) or not float("-inf") < value < float("inf"):
        raise ValueError(f"{name} must be a finite number, got {value!r}")


def check_flag(name: str, value: bool) -> None:
    """Raise ValueError unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
