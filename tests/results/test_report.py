"""The HTML report against its own data: what is in the page is what is in the runs, and nothing else can get in."""

import json
import math
import re
import statistics
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openmix.errors import WriteError
from openmix.results.groups import Group, Label, Member
from openmix.results.published import lookup
from openmix.results.reading import read_table
from openmix.results.report import write_report
from openmix.results.report.curves import gather, training_series, validation_series
from openmix.results.report.page import page
from openmix.results.rows import Figure, LeftOut, Row, Table, make_row
from openmix.results.runs import Run
from openmix.results.summaries import STATISTICS, summarise

VOID = {"meta", "input", "br"}
STEPS = 10  # of an epoch


class Tree(HTMLParser):
    """A strict reader: every element is closed where it must be; keeps them flat, with their attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[dict[str, Any]] = []
        self.all: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        inside = tuple(e["tag"] for e in self.open)
        self.all.append({"tag": tag, "attrs": dict(attrs), "text": "", "inside": inside})
        if tag not in VOID:
            self.open.append(self.all[-1])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element["text"] += data

    def find(self, tag: str, **attrs: str) -> list[dict[str, Any]]:
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attrs.items()}
        return [e for e in self.all if e["tag"] == tag and wanted.items() <= e["attrs"].items()]


def make_run(folder: Path, seed: int, epochs: int, level: float, **record: Any) -> Run:
    """Write a work dir's metrics and return the run; every number in it is a different one."""
    rng = np.random.default_rng([seed, int(100 * level)])
    lines: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        for step in (4, 8, STEPS):
            at = {"split": "train", "epoch": epoch, "step": (epoch - 1) * STEPS + step}
            figures = {"lr": 0.1 / epoch, "loss": 2 + rng.random(), "top1_dominant": 40 + rng.random()}
            lines.append(at | figures)
        at = {"split": "val", "epoch": epoch, "step": epoch * STEPS, "n": 1000}
        lines.append(at | {"top1": level + rng.random(), "nll": 1 + rng.random()})
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    known = {"seed": seed, "status": "done", "versions": {"torch": "2.14.0", "openmix": "0.1"}, "git_commit": "abc123"}
    validations = tuple(line for line in lines if line["split"] == "val")
    return Run(folder, known | record, {}, validations)


def make_group(folder: Path, name: str, seeds: int, epochs: int = 12, level: float = 80.0, **label: Any) -> Group:
    runs = [make_run(folder / f"{name.replace('/', '_')}_s{seed}", seed, epochs, level) for seed in range(seeds)]
    whole = {"dataset": "cifar10", "network": "r18", "method": "mixup", "alpha": (), "mix_prob": (), "epochs": epochs}
    members = tuple(Member(run, summarise(run.validations)) for run in runs)
    return Group(name, Label(**(whole | label)), {}, members)


def make_table(groups: Sequence[Group], left_out: Sequence[LeftOut] = ()) -> Table:
    published = {"r18": lookup("cifar10", "r18", "gridmix", epochs=200)}
    rows = tuple(make_row(group, groups[0], published.get(group.label.network, [])) for group in groups)
    return Table("top1", rows, tuple(left_out), ("a note on all",))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    groups = [make_group(tmp_path, "vanilla", 3), make_group(tmp_path, "mixup a0.2", 3, level=82.0, alpha=(0.2,))]
    lost = LeftOut(tmp_path / "lost", "mixup a0.2", "failed", "exit code 1")
    return make_table([*groups, make_group(tmp_path, "short", 1, epochs=3, level=60.0)], [lost])


def test_every_figure_is_in_the_page(table: Table) -> None:
    tree = Tree(page(table))
    rows = [e for e in tree.find("tr") if "data-g" in e["attrs"] and e["inside"][-3:-1] == ("div", "table")]
    groups = rows[: len(table.rows)]
    for row, shown in zip(table.rows, groups, strict=True):
        text = shown["text"]
        assert row.group.name in text
        for statistic in STATISTICS:
            values = [m.summary.values[statistic] for m in row.group.members if statistic in m.summary.values]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            assert (f"{statistics.fmean(values):.2f}{spread}" if values else "–") in text
            difference = row.figures[statistic].difference
            assert difference is None or f"{difference.mean:+.2f}" in text
        assert all(published.printed in text for published in row.published)
    runs = [member for row in table.rows for member in row.group.members]
    for member, shown in zip(runs, rows[len(table.rows) :], strict=True):
        assert str(member.run.folder) in shown["text"]
        assert all(f"{value:.2f}" in shown["text"] for value in member.summary.values.values())
    whole = tree.find("body")[0]["text"]
    notes = [note for row in table.rows for published in row.published for note in published.notes]
    assert notes
    for text in [*notes, *table.notes, "it has 3 epochs, and the median is that of 10", "exit code 1", "1 failed"]:
        assert text in whole


def test_the_head_says_what_differs_between_runs(tmp_path: Path) -> None:
    commits = ["a" * 40, "a" * 40 + "-dirty", None]
    runs = [make_run(tmp_path / str(k), k, 12, 80.0, git_commit=c, start_time=f"2026-0{k + 1}-02T10:00:00+0000")
            for k, c in enumerate(commits)]  # fmt: skip
    label = Label("cifar10", "r18", "mixup", (), (), 12)
    group = Group("mixup", label, {}, tuple(Member(run, summarise(run.validations)) for run in runs))
    facts = Tree(page(make_table([group])))
    shown = dict(zip((e["text"] for e in facts.find("dt")), (e["text"] for e in facts.find("dd")), strict=True))
    assert shown["commit"] == "aaaaaaaaaa (1 run), aaaaaaaaaa-dirty (1 run), unknown (1 run)"
    assert shown["dates"] == "2026-01-02 to 2026-03-02"
    assert shown["runs"] == "3 in 1 group" and shown["seeds"] == "0, 1, 2" and shown["data set"] == "CIFAR-10"
    assert shown["versions"] == "torch 2.14.0, openmix 0.1" and shown["images validated on"] == "1,000"


def test_notes_lead_to_their_texts(table: Table) -> None:
    tree = Tree(page(table))
    targets = {e["attrs"]["id"]: e["text"] for e in tree.find("li") if "id" in e["attrs"]}
    links = {e["attrs"]["href"][1:] for e in tree.find("a")}
    assert links == targets.keys()
    assert [int(name.removeprefix("note")) for name in targets] == [*range(1, len(targets) + 1)]


def test_sorting_has_the_exact_numbers(table: Table) -> None:
    """What a column is sorted by is the figure, and a cell without one has no key."""
    tree = Tree(page(table))
    keys = [float(e["attrs"]["data-v"]) for e in tree.find("td") if "data-v" in e["attrs"]]
    for row in table.rows:
        for figure in row.figures.values():
            assert figure.mean is None or figure.mean in keys
    blank = [e for e in tree.find("td", class_="number") if e["text"].strip("–0123456789") == "" and "–" in e["text"]]
    assert len(blank) == 1 and "data-v" not in blank[0]["attrs"]  # the short group's median


def points(path: str) -> list[tuple[int, int]]:
    """Read a path of the report: pieces of a first point and steps from each to the next."""
    assert re.fullmatch(r"(M\d+ -?\d+l(-?\d+[ -]\d+ ?)+(?<! )z?|(?=$))+", path.replace(" -", "-"))
    found = []
    for piece in path.split("M")[1:]:
        x = y = 0
        numbers = [int(n) for n in re.findall(r"-?\d+", piece)]
        for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
            x, y = x + dx, y + dy
            found.append((x, y))
    return found


def charts(tree: Tree) -> dict[str, tuple[dict[str, str], list[dict[str, Any]]]]:
    """Return each chart's outer attributes and its lines and bands, by its title."""
    found: dict[str, tuple[dict[str, str], list[dict[str, Any]]]] = {}
    for e in tree.all:
        if e["tag"] == "svg" and "data-window" in e["attrs"]:
            found[e["attrs"]["aria-label"].removesuffix(" against epochs")] = (e["attrs"], drawn := [])
        elif e["tag"] == "path" and "data-g" in e["attrs"]:
            drawn.append(e["attrs"])
    return found


def inverted(chart: dict[str, str], path: str) -> list[tuple[float, float]]:
    """Return a path's points as numbers of the axes."""
    (x0, x1), (y0, y1) = (map(float, chart[f"data-{axis}"].split()) for axis in "xy")
    left, top, width, height = map(int, chart["data-window"].split())
    return [(x0 + (x - left) / width * (x1 - x0), y1 - (y - top) / height * (y1 - y0)) for x, y in points(path)]


def test_lines_and_bands_are_the_runs_means_and_extremes(table: Table) -> None:
    """Validation by epoch, training by the mean over an epoch's ten steps: the axes inverted give the numbers again."""
    found = charts(Tree(page(table)))
    assert len(found) == 5
    for title, split, key in (
        ("validation top-1", "val", "top1"),
        ("validation loss", "val", "nll"),
        ("training loss", "train", "loss"),
        ("mixed training images predicted as their largest share", "train", "top1_dominant"),
        ("learning rate", "train", "lr"),
    ):
        chart, drawn = found[title]
        y0, y1 = map(float, chart["data-y"].split())
        tolerance = 2 * (y1 - y0) / int(chart["data-window"].split()[3])
        for number, row in enumerate(table.rows[:2]):
            runs = np.array([by_epoch(member.run.folder, split, key) for member in row.group.members])
            line, *band = (
                inverted(chart, e["d"])
                for name in ("line", "band")
                for e in drawn
                if e["data-g"] == str(number) and e["class"].startswith(name)
            )
            assert [round(x, 1) for x, _ in line] == [*range(1, 13)]
            np.testing.assert_allclose([y for _, y in line], runs.mean(axis=0), atol=tolerance)
            if key != "lr":  # the same in all runs: no band
                edge = np.concatenate([runs.max(axis=0), runs.min(axis=0)[::-1]])
                np.testing.assert_allclose([y for _, y in band[0]], edge, atol=tolerance)
            assert len(band) == (key != "lr")


def by_epoch(folder: Path, split: str, key: str) -> list[float]:
    """Compute a figure of each epoch from the file, record by record."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = []
    for epoch in range(1, 13):
        own = [r for r in records if r["split"] == split and r["epoch"] == epoch]
        if split == "val" or key == "lr":
            result.append(own[-1][key])
        else:
            result.append((4 * own[0][key] + 4 * own[1][key] + 2 * own[2][key]) / STEPS)
    return result


def test_a_curve_stops_where_a_run_has_no_number(tmp_path: Path) -> None:
    group = make_group(tmp_path, "mixup", 2)
    records = [
        dict(r, top1=None, nll=None) if r["epoch"] in (5, 9) else dict(r) for r in group.members[0].run.validations
    ]
    runs = [validation_series(v, "top1") for v in (records, group.members[1].run.validations)]
    curve = gather([run for run in runs if run], 200)
    assert np.flatnonzero(np.isnan(curve.mean)).tolist() == [4, 8]
    assert (np.isnan(curve.low) == np.isnan(curve.mean)).all()


@pytest.mark.parametrize(("epochs", "points"), [(400, 200), (401, 200), (12, 200), (9, 200), (1000, 20)])
def test_long_runs_have_few_points(tmp_path: Path, epochs: int, points: int) -> None:
    run = make_run(tmp_path / "long", 0, epochs, 80.0)
    for series in (training_series(run.folder)["loss"], validation_series(run.validations, "top1")):
        assert series is not None
        curve = gather([series], points)
        assert len(curve.epochs) <= points
        assert curve.epochs[-1] == epochs
        assert (np.diff(curve.epochs) > 0).all()
        if series.steps is not None:  # each point weighs as many epochs as it stands for, so the whole mean is kept
            weights = np.diff(curve.epochs, prepend=0)
            whole = np.average(series.values, weights=series.steps)
            assert math.isclose(np.average(curve.mean, weights=weights), whole)


def test_a_run_of_few_epochs_has_points_within_them(tmp_path: Path) -> None:
    run = make_run(tmp_path / "short", 0, 2, 80.0)
    curve = gather([training_series(run.folder)["loss"]], 200)
    np.testing.assert_allclose(curve.epochs, [0.4, 0.8, 1.0, 1.4, 1.8, 2.0])


def test_damaged_metrics_cost_their_lines_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 0, 12, 80.0)
    whole = training_series(run.folder)
    path = run.folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    junk = [
        b'{"split": "train"\n',
        b"\xff\xfe train\n",
        b'["train"]\n',
        b'{"split": "train", "epoch": "1", "step": 3}\n',
        b"\n",
    ]
    junk += [b'{"split": "train", "epoch": 12, "step": 1e3}\n', b'{"split": "train", "epoch": true, "step": 3}\n']
    junk += [
        b'"train"' * 40_000 + b"\n",
        b"[" * 5000 + b'"train"\n',
        b'{"split": "train", "epoch": 12, "step": 115, "loss": 7}\n',
    ]
    path.write_bytes(b"".join([*lines, *junk, b'{"split": "train", "epoch": 12, "st']))
    for key, series in training_series(run.folder).items():
        assert series.epochs.tolist() == whole[key].epochs.tolist()
        assert series.values.tolist() == whole[key].values.tolist()
    path.unlink()
    assert training_series(run.folder) == {}


def test_numbers_that_are_none_are_gaps(tmp_path: Path) -> None:
    records = [{"epoch": e, "step": e, "top1": v} for e, v in enumerate([1, None, 1e300, 10**400, True, "5", 2.5], 1)]
    series = validation_series(records, "top1")
    assert series is not None
    assert [None if math.isnan(v) else v for v in series.values] == [1, None, None, None, None, None, 2.5]


NASTY = "<script>alert(1)</script>\"'&amp;&<b onload=x>|\u202e\x00\x1b[31m{{}}</td>"


def test_names_are_text(tmp_path: Path) -> None:
    """Names and records that hold markup are shown as they are, and make no element and no attribute."""
    run = make_run(tmp_path / "r", 0, 12, 80.0, git_commit=NASTY, device=NASTY, versions={NASTY: NASTY}, threads=NASTY)
    run = Run(Path(f"/runs/{NASTY}\udcff".replace("\0", "")), run.record, {}, run.validations)
    label = Label(NASTY, NASTY, NASTY, (), (), 12)
    group = Group(NASTY, label, {NASTY: NASTY}, (Member(run, summarise(run.validations)),), (NASTY,))
    figures = {s: Figure(80.0, None, 1, (NASTY,), None, ()) for s in STATISTICS}
    left = LeftOut(Path(f"/{NASTY}"), NASTY, NASTY, NASTY)
    table = Table(NASTY, (Row(group, NASTY, figures, 1, ()),), (left,), (NASTY,))
    nasty = Tree(page(table))
    plain = page(Table("top1", (Row(group, None, figures, 1, ()),), (left,), ()))
    assert len(nasty.find("script")) == 1 and nasty.find("b", onload="x") == []
    assert {name for e in nasty.all for name in e["attrs"]} == {name for e in Tree(plain).all for name in e["attrs"]}
    assert NASTY.replace("\x00", "\ufffd").replace("\x1b", "\ufffd") in nasty.find("body")[0]["text"]
    write_report(table, tmp_path / "nasty.html")  # a folder's name that is no UTF-8
    Tree((tmp_path / "nasty.html").read_text("utf-8"))


def test_nothing_is_loaded(table: Table) -> None:
    """No element loads anything, no script or style is anywhere but in its one place, and the page's policy says so."""
    text = page(table)
    tree = Tree(text)
    for e in tree.all:
        assert e["tag"] not in {
            "link",
            "img",
            "iframe",
            "object",
            "embed",
            "base",
            "form",
            "use",
            "image",
            "foreignobject",
        }
        assert not {"src", "srcset", "action", "style", "xlink:href"} & e["attrs"].keys()
        assert not [name for name in e["attrs"] if name.startswith("on")]
        assert e["attrs"].get("href", "#").startswith("#")
    assert len(tree.find("script")) == len(tree.find("style")) == 1
    code = tree.find("script")[0]["text"] + tree.find("style")[0]["text"]
    assert not re.search(r"url\(|@import|fetch|XMLHttp|innerHTML|import\(", code)
    policy = tree.find("meta", http_equiv="Content-Security-Policy")[0]["attrs"]["content"]
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy


def test_the_policy_admits_the_script(table: Table) -> None:
    """The sums in the policy are those of the text as a browser has it, between the tags."""
    import base64
    import hashlib

    text = page(table)
    policy = Tree(text).find("meta", http_equiv="Content-Security-Policy")[0]["attrs"]["content"]
    for tag in ("script", "style"):
        (inner,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_same_runs_give_the_same_bytes(table: Table, tmp_path: Path) -> None:
    for name in ("one.html", "other.html"):
        write_report(table, tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()
    assert not [*tmp_path.glob(".*")]


def test_a_file_that_cannot_be_written_is_said(table: Table, tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(WriteError, match=r"folder\.html"):
        write_report(table, tmp_path / "folder.html")


def test_of_many_groups_the_best_and_the_baseline_are_drawn(tmp_path: Path) -> None:
    groups = [make_group(tmp_path, f"g{k}", 1, level=50.0 + 2 * (k * 7 % 20)) for k in range(20)]
    tree = Tree(page(make_table(groups)))
    last = {k: group.members[0].summary.values["last"] for k, group in enumerate(groups)}
    best = {0, *sorted([*last][1:], key=lambda k: -last[k])[:11]}
    for _, drawn in charts(tree).values():
        assert {
            int(e["data-g"]) for e in drawn if e["class"].startswith("line") and "off" not in e["class"].split()
        } == best
    pressed = {(int(e["attrs"]["data-g"]), e["attrs"]["aria-pressed"]) for e in tree.find("button")}
    assert pressed == {(k, "true" if k in best else "false") for k in last}
    looks = [e["class"].removesuffix(" off") for e in charts(tree)["training loss"][1] if e["class"].startswith("line")]
    assert len({*looks}) == 20


def test_a_page_of_twelve_long_runs_is_small(tmp_path: Path) -> None:
    groups = [make_group(tmp_path, f"g{k}", 3, epochs=200, level=80.0 + k) for k in range(4)]
    size = len(page(make_table(groups)).encode())
    assert size < 300_000


def test_no_runs_are_a_page_too(tmp_path: Path) -> None:
    left = LeftOut(tmp_path, "", "running", "at epoch 1 of 5")
    assert "at epoch 1 of 5" in page(Table("top1", (), (left,)))
    Tree(page(Table("top1", (), ())))


def test_figures_below_one_have_more_digits(tmp_path: Path) -> None:
    group = make_group(tmp_path, "mixup", 2)
    members = tuple(Member(m.run, summarise(m.run.validations, "nll")) for m in group.members)
    row = make_row(Group("mixup", group.label, {}, members), None, [])
    text = page(Table("nll", (row,), ()))
    assert f"{row.figures['last'].mean:.4f} ± {row.figures['last'].sd:.4f}" in text


def test_a_real_run(lab: Any, tmp_path: Path) -> None:
    path = lab.write(tmp_path)
    for seed in (0, 1):
        lab.train(path, tmp_path / "runs" / str(seed), randomness__seed=seed)
    table = read_table([tmp_path / "runs"])
    write_report(table, tmp_path / "report.html")
    tree = Tree((tmp_path / "report.html").read_text("utf-8"))
    body = tree.find("body")[0]["text"]
    assert f"{statistics.fmean(m.summary.values['last'] for m in table.rows[0].group.members):.2f}" in body
    assert len(charts(tree)) == 5


@pytest.mark.slow
def test_a_page_of_a_thousand_runs_is_below_ten_megabytes(tmp_path: Path) -> None:
    groups = [make_group(tmp_path, f"g{k}", 2, epochs=200, level=50 + k / 20) for k in range(500)]
    assert len(page(make_table(groups)).encode()) < 10_000_000
