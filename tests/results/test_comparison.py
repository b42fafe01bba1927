import pytest
from rich.console import Console
from scipy import stats

from openmix.results.comparison import Comparison

RUNS = {
    "vanilla": {0: {"top1": 90.0, "n": 697}, 1: {"top1": 92.0, "n": 697}, 2: {"top1": 91.0, "n": 697}},
    "mixup": {0: {"top1": 93.0, "n": 697}, 1: {"top1": 94.0, "n": 697}, 2: {"top1": 93.5, "n": 697}},
    "cutmix": {0: {"top1": 89.0, "n": 697}, 1: {"top1": 90.0, "n": 697}, 2: {"top1": 89.5, "n": 697}},
}


def test_differences_are_paired_by_seed():
    rows = {row.name: row for row in Comparison(RUNS).rows}
    assert rows["vanilla"].difference is None
    # by hand: the differences are 3, 2, 2.5; unpaired, the interval would be wider
    interval = stats.ttest_rel([93.0, 94.0, 93.5], [90.0, 92.0, 91.0]).confidence_interval(0.95)
    difference = rows["mixup"].difference
    assert difference.mean == pytest.approx(2.5)
    assert difference.mean + difference.half_width == pytest.approx(interval.high)


def test_signs_are_shown_whichever_they_are():
    text = Comparison(RUNS).markdown()
    assert "| mixup | 93.50 ± 1.24 | +2.50 ± 1.24 |" in text
    assert "| cutmix | 89.50 ± 1.24 | -1.50 ± 1.24 |" in text
    assert "| vanilla | 91.00 ± 2.48 |  |" in text


def test_the_note_says_what_the_figures_are():
    note = Comparison(RUNS).note
    for fact in ("697 test images", "3 seeds (0, 1, 2)", "vanilla", "95 %"):
        assert fact in note


def test_one_seed_shows_no_interval():
    one = {name: {0: runs[0]} for name, runs in RUNS.items()}
    assert "±" not in Comparison(one).markdown().split("\n\n")[0]


def test_terminal_table_has_all_rows():
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(Comparison(RUNS).table())
    text = console.export_text()
    assert all(name in text for name in RUNS) and "+2.50" in text and "-1.50" in text
