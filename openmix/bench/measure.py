"""Timings that hold on noisy machines: candidates take turns, and what counts are medians of ratios within a turn."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["Estimate", "estimate", "one_thread", "ratios", "synchronise", "take_turns"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A median, with the interval that holds the true one with 95 % confidence.

    Attributes:
        median: of the values.
        low: the interval's lower end; the smallest value where there are too few for an interval.
        high: its upper end, likewise.
        n: how many values there are.
        values: all of them, in the order of the turns.
    """

    median: float
    low: float
    high: float
    n: int
    values: tuple[float, ...] = field(default=(), repr=False, compare=False)


def estimate(values: Sequence[float]) -> Estimate:
    """Return the median and its interval by order statistics, which assumes nothing of how the values are spread.

    Of n values in order, the k-th smallest and the k-th largest hold the median between them unless fewer than k lie on
    one side of it, which has the probability 2 P(Binomial(n, 1/2) < k). Below 6 values no k is enough.

    Raises:
        ValueError: no values.

    >>> estimate([1.0, 5.0, 2.0, 4.0, 3.0, 6.0])
    Estimate(median=3.5, low=1.0, high=6.0, n=6)
    """
    if not values:
        raise ValueError("an estimate needs a value")
    ordered, n, k, outside = sorted(values), len(values), 1, 2 * 0.5 ** len(values)
    while k < (n + 1) // 2 and outside + 2 * math.comb(n, k) * 0.5**n <= 1 - CONFIDENCE:
        outside += 2 * math.comb(n, k) * 0.5**n
        k += 1
    return Estimate(statistics.median(ordered), ordered[k - 1], ordered[n - k], n, tuple(values))


def ratios(own: Sequence[float], rival: Sequence[float]) -> list[float]:
    """Return each turn's ratio: of what was measured side by side, so that a machine's moods cancel."""
    return [a / b for a, b in zip(own, rival, strict=True)]


def take_turns(candidates: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Time each candidate once a round, in turn, and return the seconds by name.

    Every second round goes in the opposite order, so that whoever is first does not always follow the same one.

    Args:
        candidates: what to time, by name; each is to wait for its device itself (:func:`synchronise`).
        rounds: how many count.
        warmup: rounds before, which do not.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for i in range(-warmup, rounds):
        turn = list(candidates.items())
        for name, run in turn if i % 2 == 0 else reversed(turn):
            began = time.perf_counter()
            run()
            if i >= 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def synchronise(device: torch.device) -> None:
    """Wait for a GPU; a CPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
