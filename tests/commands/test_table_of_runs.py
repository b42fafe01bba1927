"""table over real runs and over a thousand made ones: what it prints, writes and records."""

import csv
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from openmix.commands import run_command


@pytest.fixture(scope="module")
def runs(lab, tmp_path_factory):
    """Two methods, two seeds, trained."""
    folder = tmp_path_factory.mktemp("runs")
    for method in ("vanilla", "mixup"):
        config = lab.write(folder, method, model={"mix_mode": method})
        for seed in (0, 1):
            lab.train(config, folder / method / f"{seed}", randomness__seed=seed)
    return folder


def last_of(lab, folder: Path) -> float:
    return [record["top1"] for record in lab.records(folder) if record["split"] == "val"][-1]


def test_the_figures_of_real_runs(lab, runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert run_command("table", [str(runs), "--statistic", "last"]) == 0
    out = capsys.readouterr().out
    for method in ("vanilla", "mixup"):
        mean = sum(last_of(lab, runs / method / f"{seed}") for seed in (0, 1)) / 2
        assert f"{mean:.2f}±" in next(line for line in out.splitlines() if line.startswith(f"│ {method}"))


@pytest.mark.parametrize(
    ("suffix", "begins"),
    [(".md", "**"), (".csv", "state,"), (".tex", "\\noindent"), (".txt", "Synth"), (".html", "<!")],
)
def test_files_are_written_by_their_suffix(runs, tmp_path, capsys, suffix, begins):
    out = tmp_path / f"table{suffix}"
    assert run_command("table", [str(runs), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    assert out.read_text().startswith(begins) and [path.name for path in tmp_path.iterdir()] == [out.name]


def test_runs_are_recorded_once(runs, tmp_path, capsys):
    for said in (f"{tmp_path / 'synthetic.csv'}: 4 rows added\n", "0 rows added\n4 rows were there already\n"):
        assert run_command("table", [str(runs), "--record", str(tmp_path)]) == 0
        assert capsys.readouterr().out.endswith(said)
    rows = list(csv.DictReader((tmp_path / "synthetic.csv").read_text().splitlines()))
    assert [row["method"] for row in rows] == ["mixup", "mixup", "vanilla", "vanilla"]


def test_csv_has_the_statistic_that_is_asked_for(runs, capsys):
    assert run_command("table", [str(runs), "--format", "csv", "--statistic", "best"]) == 0
    head = next(csv.reader(capsys.readouterr().out.splitlines()))
    assert "best_mean" in head and not any(column.startswith(("last_", "median_")) for column in head)


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (["RUNS", "--out", "x.html", "--statistic", "best"], "--statistic"),
        (["RUNS", "--record", ".", "--metric", "nll", "--baseline", "mixup"], "--baseline and --metric"),
        (["--published", "cifar10", "--record", "."], "--record"),
        (["--published", "--baseline", "foo", "--metric", "nll"], "--baseline and --metric"),
        (["--published", "--out", "x.md", "--format", "csv"], "--out and --format"),
    ],
)
def test_what_would_be_ignored_is_refused(runs, tmp_path, monkeypatch, capsys, options, refused):
    monkeypatch.chdir(tmp_path)
    assert run_command("table", [str(runs) if option == "RUNS" else option for option in options]) == 2
    assert f"leave {refused} out" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_a_reader_that_stops_is_no_error(runs):
    command = f"{sys.executable} -m openmix table {runs} --format csv | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_thousand_runs_take_less_than_ten_seconds(tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    try:
        from tables import make_run
    finally:
        sys.path.pop(0)
    for number in range(1000):
        make_run(tmp_path / f"{number:04}", number)
    command = [sys.executable, "-m", "openmix", "table", str(tmp_path), "--format", "csv"]
    seconds = []
    for _ in range(2):  # the first reads what is not in memory
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # of one core, whatever else runs beside it
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert sum(int(row["n"]) for row in rows) == 1000 and {row["state"] for row in rows} == {"done"}
    assert min(seconds) < 10
