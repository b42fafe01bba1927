"""Tables of our own runs in README.md and docs are those of docs/benchmarks/*.csv; each row has its provenance."""

import importlib.util
import json
from pathlib import Path

import pytest

from openmix.results.benchmarks import read_rows

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "docs" / "benchmarks").glob("*.csv"))


@pytest.fixture(scope="module")
def make_tables():
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "docs" / "make_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_page_is_stale(make_tables):
    stale = [str(page) for page in make_tables.stale_pages(ROOT)]
    assert not stale, f"run docs/make_tables.py: {', '.join(stale)}"


def test_a_stale_page_is_found(make_tables, tmp_path):
    (tmp_path / "docs" / "benchmarks").mkdir(parents=True)
    for path in FILES:
        (tmp_path / "docs" / "benchmarks" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "README.md").write_text("<!-- table: digits split=test baseline=vanilla -->\n<!-- end -->\n")
    stale = make_tables.stale_pages(tmp_path)
    assert list(stale) == [tmp_path / "README.md"] and "| vanilla |" in stale[tmp_path / "README.md"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_row_says_what_was_run_and_from_what_code(path):
    rows = read_rows(path)
    assert rows
    for row in rows:
        assert all(row[key] for key in ("dataset", "network", "method", "epochs", "seed", "split", "last", "config"))
        assert len(row["git_commit"].removesuffix("-dirty")) == 40 and row["source"]
        assert 0 <= float(row["last"]) <= float(row["best"] or 100)
    hashed = [(row["log_sha256"], row["split"]) for row in rows if row["log_sha256"]]
    assert len({*hashed}) == len(hashed)


def test_the_one_epoch_benchmark_and_its_rows_agree():
    benchmark = json.loads((ROOT / "docs" / "benchmarks" / "cifar10_one_epoch.json").read_text())
    rows = read_rows(ROOT / "docs" / "benchmarks" / "cifar10.csv")
    found = {(Path(row["config"]).stem, row["world_size"], float(row["last"])) for row in rows}
    for row in benchmark["rows"]:
        assert (row["name"], "1", round(row["top1"], 6)) in found
        assert not row["top1_of_two"] or (row["name"], "2", round(float(row["top1_of_two"]), 6)) in found
