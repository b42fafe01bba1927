"""Steps and epochs against a list that is counted out."""

import pytest

from openmix.data.timeline import Timeline

PHASES = [((0, 7),), ((0, 4), (1, 6)), ((0, 3), (2, 1), (5, 8))]


@pytest.mark.parametrize("phases", PHASES)
def test_every_step_and_epoch_is_where_counting_puts_it(phases):
    line = Timeline(phases)
    lengths = [next(steps for first, steps in reversed(phases) if first <= epoch) for epoch in range(9)]
    counted = [epoch for epoch, steps in enumerate(lengths) for _ in range(steps)]
    assert [line.steps_in(epoch) for epoch in range(9)] == lengths
    assert [line.start_of(epoch) for epoch in range(9)] == [sum(lengths[:epoch]) for epoch in range(9)]
    assert [line.epoch_of(step) for step in range(len(counted))] == counted


def test_the_middle_of_an_epoch():
    line = Timeline(((0, 10), (2, 4)))
    assert [line.start_of(e) for e in (0.25, 0.5, 1.96, 2.5, 2.75)] == [2, 5, 20, 22, 23]
