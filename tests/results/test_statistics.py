import math

import pytest
from scipy import stats

from openmix.results.statistics import mean_interval


def test_interval_is_students():
    values = [93.0, 94.5, 92.1, 93.3]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    interval = mean_interval(values)
    assert interval.n == 4
    assert interval.mean - interval.half_width == pytest.approx(low)
    assert interval.mean + interval.half_width == pytest.approx(high)


def test_wider_confidence_is_a_wider_interval():
    assert mean_interval([1, 2, 4], 0.99).half_width > mean_interval([1, 2, 4], 0.9).half_width


def test_one_value_has_no_interval():
    interval = mean_interval([5.0])
    assert interval.mean == 5.0 and math.isnan(interval.half_width)
