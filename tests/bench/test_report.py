"""Reports: JSON that holds everything, a page that hides no bar, files that are whole or untouched."""

import json

import pytest
import torch

from openmix.bench.measure import Estimate, estimate
from openmix.bench.report import Bar, Section, facts, markdown, write_report
from openmix.bench.rows import columns_of, fields_of, spelt
from openmix.errors import WriteError

ROWS = [
    {"loop": "bare", **fields_of("us", Estimate(12.345, 11.0, 14.0, 9)), "unshown": [1, 2]},
    {"loop": "openmix", "ratio": float("nan")},
]
SECTION = Section(
    "step",
    "A step",
    "Side by side.",
    {"loop": "loop", **columns_of("µs", "us", ".1f")},
    ROWS,
    [Bar("<= 40 µs", "38.2", True), Bar("<= 2 %", "3 %", False)],
)


def test_a_page():
    assert markdown(SECTION) == (
        "## A step\n\nSide by side.\n\n- met: <= 40 µs: 38.2\n- **missed**: <= 2 %: 3 %\n\n"
        "| loop | µs | µs, from | µs, to |\n|---|---|---|---|\n| bare | 12.3 | 11.0 | 14.0 |\n| openmix |  |  |  |\n"
    )


def test_files(tmp_path):
    out = tmp_path / "new" / "speed.json"
    write_report(out, [SECTION], {"device": "a CPU"})
    found = json.loads(out.read_text())
    assert found["device"] == "a CPU"
    assert found["sections"][0]["rows"][0] == {**ROWS[0]}
    assert found["sections"][0]["bars"][1] == {"text": "<= 2 %", "value": "3 %", "met": False}
    page = out.with_suffix(".md").read_text()
    assert page.startswith("# openmix bench\n\n## A step\n")
    assert page.endswith("- device: a CPU\n")
    assert sorted(p.name for p in out.parent.iterdir()) == ["speed.json", "speed.md"]


def test_json_that_other_programs_can_read(tmp_path):
    out = tmp_path / "speed.json"
    write_report(out, [SECTION], {})

    def refuse(name):
        pytest.fail(f"{name} is no JSON")

    assert json.loads(out.read_text(), parse_constant=refuse)["sections"][0]["rows"][1]["ratio"] is None


def test_what_was_there_before_is_kept(tmp_path):
    out = tmp_path / "speed.json"
    out.mkdir()
    with pytest.raises(WriteError, match="cannot write"):
        write_report(out, [SECTION], {})
    assert out.is_dir()


def test_a_warning_is_what_is_read_first(tmp_path):
    write_report(tmp_path / "speed.json", [SECTION], {"versions": {"a": "1", "b": "2"}, "warning": "Quick."})
    page = (tmp_path / "speed.md").read_text()
    assert page.startswith("# openmix bench\n\n**Quick.**\n\n## A step\n")
    assert page.endswith("\n- versions: a 1, b 2\n") and page.count("Quick.") == 1


def test_values_come_with_their_estimate():
    values = [0.0123456, 2.0, 3.0, 4.0, 5.0, 6.0]
    row = fields_of("s", estimate(values))
    assert row["s_values"] == [0.01235, 2.0, 3.0, 4.0, 5.0, 6.0]
    again = estimate(row["s_values"])
    assert (again.median, again.n) == (row["s"], row["s_n"])
    assert again.low == pytest.approx(row["s_low"], rel=1e-3)


def test_few_values_have_a_range():
    assert spelt(estimate([1.0] * 5), ".0f") == "1 (range 1 to 1)"
    assert spelt(estimate([1.0] * 6), ".0f") == "1 (1 to 1)"


def test_facts():
    found = facts(torch.device("cpu"))
    assert found["threads"] == torch.get_num_threads()
    assert {"torch", "openmix", "python"} <= found["versions"].keys()
    assert found["cores"] >= 1 and found["date"][:2] == "20"
