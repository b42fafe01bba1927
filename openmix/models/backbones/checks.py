"""Checks of the arguments that several backbones have."""

from collections.abc import Iterable

__all__ = ["check_drop_rate", "check_one_of", "count_blocks"]


def check_one_of(name: str, value: int, numbers: Iterable[int]) -> None:
    """Raise ValueError unless ``value`` is an integer among ``numbers``."""
    numbers = tuple(numbers)
    if type(value) is not int or value not in numbers:  # 18.0 and True are found among integers
        raise ValueError(f"{name} must be one of {', '.join(map(str, numbers))}, got {value!r}")


def count_blocks(depth: int, per_block: int, rest: int) -> int:
    """Return the n >= 1 of a depth ``per_block * n + rest``; raise ValueError for another depth."""
    if type(depth) is not int or depth < per_block + rest or (depth - rest) % per_block:
        raise ValueError(f"depth must be {per_block}n + {rest} with n >= 1, got {depth!r}")
    return (depth - rest) // per_block


def check_drop_rate(value: float) -> None:
    """Raise ValueError unless ``value`` is a number in [0, 1)."""
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise ValueError(f"drop_rate must be a number in [0, 1), got {value!r}")
