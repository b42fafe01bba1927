"""The report's axes, and the elements that its page is made of."""

import numpy as np
import pytest

from openmix.results.report.axes import axis, robust_range
from openmix.results.report.charts import Line, chart
from openmix.results.report.curves import Curve
from openmix.results.report.markup import element, html

RANGES = [(0, 200), (0, 1), (88.3, 96.1), (0, 1e-5), (-3, 7), (0.1, 0.1), (0, 0), (1e6, 3e6), (99.99, 100.01), (0, 7)]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_ticks_are_few_round_and_told_apart(low: float, high: float) -> None:
    made = axis(low, high)
    assert made.low <= low <= high <= made.high and made.low < made.high
    values, texts = zip(*made.ticks, strict=True)
    assert 2 <= len(values) <= 7
    assert all(made.low - 1e-9 * abs(made.low) <= v <= made.high + 1e-9 * abs(made.high) for v in values)
    np.testing.assert_allclose(np.diff(values), values[1] - values[0])
    assert f"{values[1] - values[0]:.0e}"[0] in "125"
    assert len({*texts}) == len(texts)
    np.testing.assert_allclose([float(text.replace(",", "")) for text in texts], values, rtol=1e-5, atol=1e-12)


def test_a_number_far_off_does_not_flatten_the_rest() -> None:
    values = np.linspace(1, 2, 100)
    assert robust_range([values, np.array([1e30, -1e30, np.nan])]) == (1.0, 2.0)
    assert robust_range([values, np.array([3.2])]) == (1.0, 3.2)  # within three interquartile ranges
    assert robust_range([values, np.array([3.4])]) == (1.0, 2.0)
    assert robust_range([np.array([5.0] * 9 + [6.0])]) == (5.0, 6.0)  # no range between the quartiles: all of it
    assert robust_range([np.array([np.nan])]) is None
    assert robust_range([]) is None


def test_text_between_elements_stays_in_order() -> None:
    made = element("p", {"a": None, "hidden": True}, "1", "2", element("b", None, "3"), "4", "<5", element("br"), "&6")
    assert html(made) == '<p hidden="">12<b>3</b>4&lt;5<br>&amp;6</p>'


def test_a_caption_says_what_and_that_the_axis_is_cut() -> None:
    epochs = np.arange(1.0, 12.0)
    values = np.array([1.0, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1e9])
    made = chart([Line(0, "x", Curve(epochs, values, values, values))], "loss", "nats")
    assert made is not None and "<figcaption><b>loss</b> (nats), axis cut</figcaption>" in html(made)
    whole = chart([Line(0, "x", Curve(epochs, values, values, values))], "rate", "", from_zero=True)
    assert whole is not None and "<figcaption><b>rate</b></figcaption>" in html(whole)


def test_one_point_is_a_dot_and_none_is_no_chart() -> None:
    one = np.array([1.0])
    made = chart([Line(0, "x", Curve(one, one, one, one))], "loss", "")
    assert made is not None and 'l0 0"' in html(made) and ' dot"' in html(made)
    two = np.array([1.0, 2.0])
    joined = chart([Line(0, "x", Curve(two, two, two, two))], "loss", "")
    assert joined is not None and ' dot"' not in html(joined)
    nothing = np.array([np.nan])
    assert chart([Line(0, "x", Curve(one, nothing, nothing, nothing))], "loss", "") is None
    assert chart([Line(0, "x", Curve(one, nothing, nothing, nothing))], "loss", "", from_zero=True) is None
