"""When a study will be done, in closed form."""

import pytest

from openmix.results.grids.pace import Pace
from openmix.results.grids.states import Progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_nobody_knows_before_something_was_trained(clock):
    pace = Pace(["a", "b"], clock)
    assert pace.seconds_left() is None
    clock.now = 10
    pace.set("a", Progress(0, 10))
    assert pace.seconds_left() is None


def test_two_at_a_time_are_twice_as_fast(clock):
    """4 runs of 10 epochs, two of which have done 5 each in 20 s: 30 are left at 10 in 20 s."""
    pace = Pace("abcd", clock)
    clock.now = 20
    pace.set("a", Progress(5, 10))
    pace.set("b", Progress(5, 10))
    assert pace.seconds_left() == pytest.approx(60)


def test_what_was_done_before_has_taken_no_time(clock):
    pace = Pace("ab", clock)
    pace.set("a", Progress(10, 10))
    pace.end("a")
    clock.now = 100
    pace.begin()
    clock.now = 104
    pace.set("b", Progress(2, 10))
    assert pace.seconds_left() == pytest.approx(16)


def test_what_has_failed_is_not_to_be_done(clock):
    pace = Pace("abc", clock)
    clock.now = 10
    pace.set("a", Progress(2, 10))
    pace.set("b", Progress(8, 10))
    pace.end("a")
    pace.end("c")
    assert pace.seconds_left() == pytest.approx(2)
    pace.end("b")
    assert pace.seconds_left() == 0
