"""The table as text, Markdown, LaTeX and CSV: every figure is there, and no name breaks the form."""

import csv
import io
import re

import pytest
from rich.console import Console

from openmix.results.csv_table import columns, csv_text
from openmix.results.formats import latex, markdown, print_text
from openmix.results.reading import read_table
from openmix.results.sheets import sheets


@pytest.fixture(scope="module")
def study(tmp_path_factory, run_of):
    folder = tmp_path_factory.mktemp("study")
    for seed, (ours, theirs) in enumerate([(95.25, 95.5), (95.5, 94.5), (96.0, 95.0)]):
        run_of(folder / f"m{seed}", [1.0] * 190 + [ours] * 10, seed=seed)
        run_of(folder / f"v{seed}", [1.0] * 190 + [theirs] * 10, seed=seed, method="vanilla")
    run_of(folder / "short", [50.0, 60.0], method="cutmix")
    run_of(folder / "stopped", [50.0], record={"status": "stopped"}, method="cutmix", epochs=2)
    return folder


def text_of(table, width=200, **options):
    console = Console(width=width, highlight=False, file=io.StringIO())
    print_text(table, console, **options)
    return console.file.getvalue()


def test_the_words_by_hand(study):
    (sheet,) = sheets(read_table([study]), ["median_last10"])
    assert sheet.title == "CIFAR-10, ResNet-18"
    assert sheet.head == (
        "method", "epochs", "n", "median last10", "median last10, difference to vanilla", "published"
    )  # fmt: skip
    assert sheet.rows == (
        ("cutmix a1", "2", "1", "- [1]", "-", "-"),
        ("vanilla", "200", "3", "95.00 ± 0.50", "baseline", "94.87 (ours +0.13) [2]"),
        ("mixup a1", "200", "3", "95.58 ± 0.38", "+0.58 (-1.21 .. +2.38)", "95.70 (ours -0.12) [2]"),
    )
    assert sheet.notes[0] == "it has 2 epochs, and the median is that of 10"
    assert sheet.notes[1].startswith("median of the last 10 epochs, OpenMixup's benchmarks")
    assert "1,000 validation images" in sheet.caption and "Student's t" in sheet.caption


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_digit_is_lost_on_a_terminal_of_any_width(study, width):
    text = text_of(read_table([study]), width)
    for figure in ("95.00±0.50", "95.58±0.38", "94.87", "(-1.21", "+2.38)"):
        assert figure in text
    assert "…" not in text and "(-1.21..+2.38)" in text, "an interval is broken"
    assert f"stopped: {study / 'stopped'}" in text.replace("\n", "")


def test_losses_have_four_decimals(study):
    (sheet,) = sheets(read_table([study], metric="nll"), ["last"])
    assert ("vanilla", "200", "3", "1.0000 ± 0.0000", "baseline") in sheet.rows
    assert ("mixup a1", "200", "3", "1.0000 ± 0.0000", "+0.0000 (+0.0000 .. +0.0000)") in sheet.rows


def test_markdown_has_rows_of_equal_length(study):
    lines = [line for line in markdown(read_table([study])).splitlines() if line.startswith("|")]
    assert len(lines) == 5
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_csv_has_every_digit_and_every_run(study):
    rows = list(csv.DictReader(io.StringIO(csv_text(read_table([study])))))
    assert list(rows[0]) == columns()
    by_name = {row["group"]: row for row in rows if row["state"] == "done"}
    mixup = by_name["mixup a1"]
    assert float(mixup["last_mean"]) == pytest.approx(95.58333333333333, abs=1e-12)
    assert (mixup["seeds"], mixup["median_last10_published"], mixup["last_published"]) == ("0 1 2", "95.70", "")
    assert mixup["last_paired"] == "yes" and float(mixup["last_low"]) == pytest.approx(-1.21, abs=0.01)
    (out,) = [row for row in rows if row["state"] != "done"]
    assert (out["state"], out["folder"]) == ("stopped", str(study / "stopped"))


HOSTILE = r"[red]a|b_c&d%e$f#g{h}~i^j\k<b>`l`*m*" + "\x1b[31m\nn"


class TestNames:
    @pytest.fixture
    def table(self, tmp_path, run_of):
        run_of(tmp_path / "a", method=HOSTILE)
        run_of(tmp_path / "b|[bold]_&%", record={"status": "failed"})
        return read_table([tmp_path])

    def test_on_a_terminal(self, table):
        text = text_of(table, 300)
        assert "[red]a|b_c&d%e$f#g{h}~i^j\\k<b>`l`*m*?[31m?n" in text and "b|[bold]_&%" in text
        assert "\x1b" not in text

    def test_in_markdown(self, table):
        text = markdown(table)
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {len(re.split(r"\|", lines[1]))}
        assert "<b>" not in text.replace("\\<b\\>", "")

    def test_in_latex(self, table):
        body = latex(table)
        row = next(line for line in body.splitlines() if "red" in line)
        assert len(re.findall(r"(?<!\\)&", row)) == body.count("&", body.index("method"), body.index(r"\\"))
        unescaped = re.sub(
            r"\\(textbackslash|textasciicircum|textasciitilde|textbar|textless|textgreater)\{\}|\\[&%$#_{}]", "", row
        )
        unescaped = unescaped.replace(r"$\pm$", "").removesuffix(r"\\")
        assert not set("\\$#%_^~{}") & set(unescaped)

    def test_in_csv(self, table):
        rows = list(csv.DictReader(io.StringIO(csv_text(table))))
        assert len(rows) == 2 and "\x1b" not in rows[0]["group"]


def test_data_sets_and_networks_are_apart(tmp_path, run_of):
    run_of(tmp_path / "a")
    run_of(tmp_path / "b", backbone={"type": "ConvNet", "widths": [4, 8]})
    found = sheets(read_table([tmp_path]))
    assert [sheet.title for sheet in found] == ["CIFAR-10, ResNet-18", "CIFAR-10, ConvNet widths=4-8"]
