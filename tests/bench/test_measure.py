"""Timings: intervals of medians that hold as often as they say, turns that are taken in turn."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openmix.bench.measure import estimate, ratios, synchronise, take_turns


def coverage(n: int, k: int) -> float:
    """The chance that the k-th smallest and the k-th largest of n values hold the median between them, by counting."""
    return sum(math.comb(n, below) for below in range(k, n - k + 1)) / 2**n


@pytest.mark.parametrize("n", range(1, 60))
def test_the_interval_is_the_narrowest_that_holds_the_median_with_95_per_cent(n):
    found = estimate(list(range(1, n + 1)))
    k = int(found.low)  # of 1, 2, 3 ... the k-th smallest is k
    assert (found.median, found.high, found.n) == (statistics.median(range(1, n + 1)), n + 1 - k, n)
    enough = [j for j in range(1, (n + 1) // 2 + 1) if coverage(n, j) >= 0.95]
    assert k == max(enough, default=1)


def test_the_interval_covers_the_true_median_of_skewed_values():
    generator = torch.Generator().manual_seed(0)
    draws = torch.empty(2000, 15).exponential_(1.0, generator=generator).tolist()
    held = sum(e.low <= math.log(2) <= e.high for e in map(estimate, draws))
    assert 0.955 < held / 2000 < 0.975  # the exact chance is 0.9648


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.randoms())
def test_the_order_of_values_does_not_matter(values, random):
    shuffled = random.sample(values, len(values))
    assert estimate(values) == estimate(shuffled)


def test_no_values():
    with pytest.raises(ValueError, match="needs a value"):
        estimate([])


def test_ratios_are_of_one_turn():
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


class Clock:
    """A clock that candidates move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def takes(self, name: str, seconds: float, said: list[str]):
        def run() -> None:
            said.append(name)
            self.now += seconds

        return run


def test_turns(monkeypatch):
    clock, said = Clock(), []
    monkeypatch.setattr("openmix.bench.measure.time.perf_counter", lambda: clock.now)
    candidates = {"a": clock.takes("a", 1.0, said), "b": clock.takes("b", 2.0, said), "c": clock.takes("c", 4.0, said)}
    assert take_turns(candidates, rounds=3) == {"a": [1.0] * 3, "b": [2.0] * 3, "c": [4.0] * 3}
    assert said == ["c", "b", "a", "a", "b", "c", "c", "b", "a", "a", "b", "c"], "a warm-up, then there and back"


def test_a_cpu_is_not_waited_for():
    synchronise(torch.device("cpu"))
