"""The statistics of a run, kept apart: last, median of exactly 10 epochs, best."""

import random
import statistics

import pytest

from openmix.results.summaries import number, summarise


def records(values, metric="top1", **others):
    return [{"epoch": e, "step": e, metric: value, **others} for e, value in enumerate(values, 1)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("epochs", [10, 11, 12, 57])
def test_all_three_by_hand(seed, epochs):
    values = random.Random(seed).sample(range(1000), epochs)
    summary = summarise(records(values))
    ordered = sorted(values[-10:])
    assert summary.values == {
        "last": values[-1],
        "median_last10": (ordered[4] + ordered[5]) / 2,
        "best": max(values),
    }
    assert summary.best_epoch == values.index(max(values)) + 1
    assert (summary.missing, summary.diverged) == ({}, False)


def test_the_median_is_of_ten_epochs_not_of_eleven_or_twelve():
    # the eleventh and twelfth from the end would move it
    values = [1000.0, 1000.0, *range(1, 11)]
    assert summarise(records(values)).values["median_last10"] == 5.5
    assert statistics.median(values[-11:]) == 6 and statistics.median(values) == 6.5


def test_of_an_epoch_with_several_validations_the_last_counts():
    twice = [
        r
        for e in range(1, 11)
        for r in ({"epoch": e, "step": 2 * e - 1, "top1": 99.0}, {"epoch": e, "step": 2 * e, "top1": float(e)})
    ]
    summary = summarise(twice)
    assert summary.values == {"last": 10.0, "median_last10": 5.5, "best": 99.0}


def test_fewer_epochs_have_no_median():
    summary = summarise(records(range(9)))
    assert "median_last10" not in summary.values and summary.values["last"] == 8
    assert summary.missing == {"median_last10": "it has 9 epochs, and the median is that of 10"}


@pytest.mark.parametrize(
    ("gone", "said"), [([15], "1 of its last 10 epochs has no"), ([12, 14], "2 of its last 10 epochs have no")]
)
def test_gaps_have_no_median(gone, said):
    summary = summarise([r for r in records(range(20)) if r["epoch"] not in gone])
    assert summary.missing["median_last10"].startswith(said)
    assert summarise([r for r in records(range(20)) if r["epoch"] != 10]).values["median_last10"] == 14.5


def test_a_figure_that_is_no_number_is_counted_and_not_skipped():
    summary = summarise(records([*range(18), None, 19.0]))
    assert summary.diverged
    assert summary.values == {"last": 19.0, "best": 19.0}
    assert summary.missing == {"median_last10": "top1 of some of its last 10 epochs is no number"}
    summary = summarise(records([5.0] * 11 + [None]))
    assert summary.values == {"best": 5.0} and summary.missing["last"] == "top1 of its last validation is no number"
    assert summarise(records([None] * 12)).values == {}


def test_a_network_without_a_loss_at_the_end_has_diverged():
    assert summarise(records([10.0], nll=None)).diverged
    assert not summarise([*records([10.0], nll=None), {"epoch": 2, "step": 2, "top1": 9.0, "nll": 1.0}]).diverged


def test_less_is_better_of_a_loss():
    summary = summarise(records([3.0, 1.0, 2.0], "nll"), "nll")
    assert (summary.values["best"], summary.best_epoch) == (1.0, 2)


def test_records_without_the_metric():
    summary = summarise(records([1.0]), "top1_k")
    assert summary.values == {} and set(summary.missing.values()) == {"its records have no top1_k"}
    assert not summary.diverged


@pytest.mark.parametrize("value", [None, "95", True, float("nan"), float("inf"), 10**400, [1.0]])
def test_what_is_no_figure(value):
    assert number(value) is None
