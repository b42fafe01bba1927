"""table: published figures in a terminal of any width, as CSV, and from another program's point of view."""

import csv
import io
import os
import re
import subprocess
import sys

import pytest

from openmix.commands import run_command
from openmix.results.published import COLUMNS, lookup, read
from openmix.results.published.names import DATASETS, METHODS


@pytest.fixture
def table(capsys, monkeypatch):
    """Run the command at a width and return what it prints."""

    def table(*arguments: str, width: int = 80) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        assert run_command("table", ["--published", *arguments]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return table


def grid(text: str) -> list[list[str]]:
    """Return the cells of a table that rich drew; lines of a head that was broken are joined."""
    head = [line.strip("┃").split("┃") for line in text.splitlines() if line.startswith("┃")]
    joined = [" ".join(filter(None, (cell.strip() for cell in column))) for column in zip(*head, strict=True)]
    body = [[c.strip() for c in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")]
    return [joined, *body]


@pytest.mark.parametrize("width", [80, 120])
def test_openmixups_table(table, width):
    """Every figure stands in its method's row and its length's column."""
    text, *others = re.split(r"\n\n(?=CIFAR-10)", table("cifar10", "r18", width=width))
    assert len(others) == 5  # of those who learn without labels
    head, *rows = grid(text)
    assert head == ["method", "alpha", "200 epochs", "400 epochs", "800 epochs", "1200 epochs"]
    there = {
        (re.sub(r" \[.*\]", "", row[0]), epochs, row[1], cell)
        for row in rows
        for epochs, cell in zip((200, 400, 800, 1200), row[2:], strict=True)
        if cell
    }
    wanted = {
        (METHODS[f.method], f.epochs, " ".join(f"{a:g}" for a in f.alpha), f.printed)
        for f in lookup("cifar10", "r18")
        if f.source == "openmixup"
    }
    assert there == wanted
    assert len(wanted) == 13 * 4 + 1
    assert text.splitlines()[0] == "CIFAR-10, ResNet-18 (cifar10 r18): OpenMixup's benchmarks, openmixup-cifar"
    assert "median of the last 10 epochs" in text
    assert "https://github.com/Westlake-AI/openmixup" in text


def test_figures_of_several_metrics_stand_one_below_the_other(table):
    head, *rows = grid(table("imagenet", "convnext", width=120))
    assert head == ["", "Vanilla", "CropMix"]
    assert ["top-1 on ImageNet-A (%)", "23.88", "25.65"] in rows
    assert len(rows) == 8


def test_extra_cost_is_a_column_where_the_source_has_it(table):
    head, *rows = grid(table("cifar100", "ss26-2x96d"))
    assert head == ["method", "extra cost", "top-1 (%)"]
    assert ["CutMix", "no", "85.0"] in rows
    assert ["DADA", "yes", "84.70"] in rows


def test_a_run_of_unstated_length_is_not_given_anothers(table):
    text = table("cifar100", "preactresnet18", width=120)
    assert re.search(r"│ top-1 \(%\), statistic not stated +│ +80\.4 │ +80\.2 │", text)
    assert re.search(r"│ top-1 \(%\), 1200 epochs, last epoch +│ +│ +80\.34 │", text)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("dataset", DATASETS)
def test_everything_fits_and_nothing_is_cut(table, dataset, width):
    text = table(dataset, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    printed = re.findall(r"(?<=[ \]])\d+(?:\.\d+)?(?= +│)", text)
    assert {f.printed for f in lookup(dataset)} <= set(printed)


@pytest.mark.parametrize("width", [20, 40, 50, 60])
@pytest.mark.parametrize("dataset", DATASETS)
def test_a_narrow_terminal_cuts_nothing(table, dataset, width):
    """Where the width does not do, the tables are wider; every figure and every method is whole."""
    text = table(dataset, width=width)
    assert "…" not in text
    inside = "\n".join(line for line in text.splitlines() if line.startswith("│"))
    printed = re.findall(r"(?<=[ \]])\d+(?:\.\d+)?(?= +│)", inside)
    wide = re.findall(r"(?<=[ \]])\d+(?:\.\d+)?(?= +│)", table(dataset, width=300))
    assert {f.printed for f in lookup(dataset)} <= set(printed) and len(printed) >= len(wide)
    borders = [line for line in text.splitlines() if line.startswith(("┃", "│"))]
    assert borders and all(line.endswith(("┃", "│")) for line in borders)


@pytest.mark.parametrize("width", [10, 30])
def test_what_there_is_on_a_narrow_terminal(table, width):
    text = table(width=width)
    words = set(re.findall(r"[^\s│,]+", text))
    assert "…" not in text and set(DATASETS) <= words
    assert {f"{f.network}:" for f in read()} <= {re.sub(r"\d+$", "", word) for word in words}


@pytest.mark.parametrize("dataset", DATASETS)
def test_all_notes_are_there_numbered_and_referred_to(table, dataset):
    text = table(dataset, width=300)
    for part in text.split("\n\n"):
        below = re.findall(r"^\[(\d+)\] +\S", part, re.M)
        inside = "\n".join(line for line in part.splitlines() if line.startswith(("│", "┃")))
        referred = {n for numbers in re.findall(r"\[([\d,]+)\]", inside) for n in numbers.split(",")}
        assert below == [str(n) for n in range(1, len(below) + 1)]
        assert referred == set(below)
    assert set(notes_below(text).values()) == {note for f in lookup(dataset) for note in f.notes}


def notes_below(text: str) -> dict[tuple[int, str], str]:
    """Return the notes by table and number."""
    parts = enumerate(text.split("\n\n"))
    return {(k, n): note for k, part in parts for n, note in re.findall(r"^\[(\d+)\] +(.*?) *$", part, re.M)}


def test_a_note_on_all_of_a_methods_figures_stands_at_its_name(table):
    text = table("cifar10", "wrn28-10", width=300)
    marks = re.search(r"ResizeMix\+ \[([\d,]+)\]", text).group(1).split(",")
    notes = notes_below(text)
    assert [notes[0, mark] for mark in marks] == list(lookup("cifar10", "wrn28-10", "resizemixplus")[0].notes)


def test_a_note_on_one_figure_stands_at_the_figure(table):
    text = table("imagenet", "r101", "--method", "puzzlemix", width=300)
    mark = re.search(r"│ PuzzleMix │ 1 +│ +\[(\d)\] 79\.36 │ +80\.67 │", text).group(1)
    assert notes_below(text)[0, mark].endswith("has 79.43")


def test_one_method(table):
    text = table("--method", "ResizeMix", "--method", "cutmix", "cifar10", "rx50")
    assert {row[0].split(" [")[0] for row in grid(text)[1:]} == {"ResizeMix", "CutMix"}
    assert table("--method", "rmix").count("R-Mix") >= 5


def test_no_arguments_say_what_there_is(table):
    text = " ".join(table().replace("│", " ").split())
    for dataset in DATASETS:
        assert f" {dataset} " in text
    assert "r18:77, rx50:52, wrn28-10:13, ss26-2x96d:11, vit-t-2:2" in text
    counts = [int(n) for n in re.findall(r":(\d+)", text)]
    assert sum(counts) == len(read())
    assert all(method in text for method in METHODS)


def test_csv_has_every_column_as_in_the_files(table):
    header, *rows = csv.reader(io.StringIO(table("cifar100", "--csv")))
    assert tuple(header) == COLUMNS
    assert [tuple(row) for row in rows] == [f.cells for f in lookup("cifar100")]
    assert len(table("--csv").splitlines()) == len(read()) + 1
    assert table("--csv", "--method", "rmix", "--method", "rmix") == table("--csv", "--method", "rmix")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name work dirs, studies or folders above them, or ask for --published [DATASET [NETWORK]]"),
        (["cifar10", "r18"], "cifar10 is no folder; openmix table takes work dirs, studies, or folders above them"),
        (["docs", "--method", "mixup"], "--method and --csv are for --published"),
        (["docs"], "no runs in docs: a run's work dir has a run.json"),
        (["docs", "--record", "nowhere"], "no folder nowhere to record in"),
        (["docs", "--out", "x.xlsx"], "--out x.xlsx: name a file in .md, .csv, .tex, .txt, .html"),
        (["docs", "--out", "x.md", "--format", "csv"], "--out x.md is markdown, and --format says csv"),
        (["docs", "--out", "nowhere/x.md"], "cannot write nowhere/x.md: there is no folder nowhere"),
        (["docs", "--record", "docs", "--format", "csv"], "leave --format out"),
        (["--published", "cifar10", "r18", "r50"], "takes a data set and a network"),
        (["--published", "cifar1O"], "data set 'cifar1O'; did you mean 'cifar10'?"),
        (["--published", "cifar10", "r81"], "network 'r81'; did you mean 'r18'?"),
        (["--published", "--method", "puzlemix"], "method 'puzlemix'; did you mean 'puzzlemix'?"),
        (["--published", "cifar10", "deit-s"], "no published figures of deit-s on cifar10; there are: r18, rx50"),
        (
            ["--published", "cars", "r18", "--method", "mixup"],
            "mixup on cars r18; there are: automix, samix, adautomix",
        ),
        (["--published", "cars", "--method", "mixup"], "mixup on cars; there are: automix, samix, adautomix"),
    ],
)
def test_wrong_input(capsys, arguments, message):
    assert run_command("table", arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert message in said.err
    assert len(said.err.splitlines()) == 1


def test_it_needs_nothing_heavy():
    """On the way to the table, only the package openmix itself imports torch, and the table does without it."""
    code = """
import importlib.util, sys, types
package = types.ModuleType("openmix")
package.__path__ = list(importlib.util.find_spec("openmix").submodule_search_locations)
sys.modules["openmix"] = package
for name in ("torch", "torchvision", "mmengine", "numpy", "scipy", "timm", "matplotlib"):
    sys.modules[name] = None
from openmix.commands import main
sys.exit(main(["table", "--published", "cifar10", "r18"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "95.59" in done.stdout


@pytest.mark.parametrize("arguments", [["--csv"], ["cifar10"], []])
class TestOutput:
    """What the table is written to may end before it, or be full."""

    def run(self, arguments: list[str], out: int) -> tuple[int, str]:
        code = "import sys; from openmix.commands import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "table", "--published", *arguments]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
        return done.returncode, done.stderr

    def test_a_reader_that_stops(self, arguments):
        ours, theirs = os.pipe()
        os.close(ours)
        try:
            assert self.run(arguments, theirs) == (0, "")
        finally:
            os.close(theirs)

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
    def test_a_full_disk(self, arguments):
        with open("/dev/full", "w") as full:
            assert self.run(arguments, full.fileno()) == (
                1,
                "error: cannot write the figures: No space left on device\n",
            )
