"""Records of our own runs: a row a run, once; tables in pages made of them."""

import csv
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from openmix.errors import UserError
from openmix.results.benchmark_tables import fill, table_of
from openmix.results.benchmarks import COLUMNS, add_rows, read_rows, record_runs


@pytest.fixture
def records(tmp_path):
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


def test_a_row_has_the_runs_provenance(tmp_path, run_of, records):
    folder = run_of(tmp_path / "runs" / "a", [50.0, *[90.0] * 9, 80.0], seed=3, alpha=0.2)
    added, known, left_out = record_runs([tmp_path / "runs"], records)
    assert (added, known, left_out) == ({records / "cifar10.csv": 1}, 0, [])
    (row,) = read_rows(records / "cifar10.csv")
    assert {key: row[key] for key in row if key not in ("study_hash", "log_sha256")} == {
        "dataset": "cifar10", "network": "r18", "method": "mixup", "alpha": "0.2", "mix_prob": "", "epochs": "11",
        "seed": "3", "split": "test", "n_images": "1000", "last": "80.0", "median_last10": "90.0", "best": "90.0",
        "best_epoch": "2", "world_size": "1", "threads": "1", "device": "CPU", "torch": "2.6.0", "wall_time_s": "600",
        "date": "2026-01-01T00:10:00+0000", "config": "configs/a/a.py", "config_hash": "0" * 16, "git_commit": "c" * 40,
        "source": "ours",
    }  # fmt: skip
    assert row["log_sha256"] == hashlib.sha256((folder / "metrics.jsonl").read_bytes()).hexdigest()


def test_a_run_is_recorded_once_and_rows_stay_sorted(tmp_path, run_of, records):
    for seed in (2, 10, 1):
        run_of(tmp_path / "runs" / f"{seed}", [float(seed)], seed=seed)
        record_runs([tmp_path / "runs"], records)
    path = records / "cifar10.csv"
    assert [row["seed"] for row in read_rows(path)] == ["1", "2", "10"]
    before = path.read_bytes()
    assert record_runs([tmp_path / "runs"], records)[:2] == ({path: 0}, 3)
    assert path.read_bytes() == before
    assert len({row["study_hash"] for row in read_rows(path)}) == 1


def test_what_is_not_finished_is_not_recorded(tmp_path, run_of, records):
    run_of(tmp_path / "runs" / "a", record={"status": "stopped"})
    (tmp_path / "runs" / "b").mkdir()
    (tmp_path / "runs" / "b" / "run.json").write_text("{")
    added, _, left_out = record_runs([tmp_path / "runs"], records)
    assert added == {} and sorted(out.state for out in left_out) == ["damaged", "stopped"]


def test_the_time_of_a_resumed_run_is_not_known(tmp_path, run_of, records):
    run_of(tmp_path / "runs" / "a", record={"resumed_at": 7})
    record_runs([tmp_path / "runs"], records)
    assert read_rows(records / "cifar10.csv")[0]["wall_time_s"] == ""


class TestOfTest:
    def test_it_is_a_row_of_its_own(self, tmp_path, run_of, records):
        folder = run_of(tmp_path / "runs" / "a", [90.0] * 10)
        config = (folder / "config.py").read_text()
        (folder / "config.py").write_text(config.replace("'split': 'test'", "'split': 'val'"))
        (folder / "test.json").write_text(json.dumps({"top1": 89.5, "n": 500}))
        record_runs([tmp_path / "runs"], records)
        rows = read_rows(records / "cifar10.csv")
        assert [(row["split"], row["last"], row["median_last10"], row["n_images"]) for row in rows] == [
            ("test", "89.5", "", "500"),
            ("val", "90.0", "90.0", "1000"),
        ]

    def test_an_older_one_is_not_the_runs(self, tmp_path, run_of, records):
        folder = run_of(tmp_path / "runs" / "a")
        (folder / "test.json").write_text(json.dumps({"top1": 89.5}))
        os.utime(folder / "test.json", (1, 1))
        added, _, (out,) = record_runs([tmp_path / "runs"], records)
        assert added == {} and "older" in out.reason


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "\x00", ",".join(COLUMNS) + "\n1\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path, run_of, records, text):
    run_of(tmp_path / "runs" / "a")
    (records / "cifar10.csv").write_text(text)
    with pytest.raises(UserError, match=r"cifar10\.csv has rows of other columns|cannot read"):
        record_runs([tmp_path / "runs"], records)
    assert (records / "cifar10.csv").read_text() == text


class TestPages:
    @pytest.fixture
    def filled(self, tmp_path, run_of, records):
        for seed, (ours, theirs) in enumerate([(95.25, 95.5), (95.5, 94.5), (96.0, 95.0)]):
            for method, value in (("mixup", ours), ("vanilla", theirs)):
                config = {"config": f"configs/{method}.py"}
                run_of(tmp_path / "runs" / f"{method}{seed}", [value], seed=seed, method=method, record=config)
        record_runs([tmp_path / "runs"], records)
        return records

    def test_a_table_by_hand(self, filled):
        lines = table_of("cifar10 split=test baseline=vanilla", filled).splitlines()
        assert lines[:5] == [
            "| method | n | top-1 (%) | difference to vanilla |",
            "|---|---:|---:|---:|",
            "| vanilla | 3 | 95.00 ± 0.50 |  |",
            "| mixup | 3 | 95.58 ± 0.38 | +0.58 (-1.21 .. +2.38) |",
            "",
        ]

    def test_only_what_is_between_the_marks_changes(self, filled):
        page = "before\n\n<!-- table: cifar10 method=mixup -->\nold\n<!-- end -->\n\nafter\n"
        made = fill(page, filled)
        assert made.startswith("before\n\n<!-- table: cifar10 method=mixup -->\n| method") and made.endswith("after\n")
        assert "old" not in made and fill(made, filled) == made

    @pytest.mark.parametrize("spec", ["cifar11", "cifar10 splt=test", "cifar10 statistic=mean", "cifar10 split=val"])
    def test_marks_that_ask_for_nothing(self, filled, spec):
        with pytest.raises(UserError, match=spec):
            fill(f"<!-- table: {spec} -->\n<!-- end -->", filled)

    def test_only_the_same_network_and_processes_are_compared(self, tmp_path, run_of, filled):
        vit = {"type": "ConvNet", "widths": [4]}
        run_of(tmp_path / "more" / "a", [80.0], method="mixup", backbone=vit)
        run_of(tmp_path / "more" / "b", [70.0], method="mixup", record={"world_size": 2, "git_commit": "d" * 40})
        run_of(
            tmp_path / "more" / "c",
            [75.0],
            method="vanilla",
            record={"world_size": 2, "git_commit": "d" * 40 + "-dirty"},
        )
        record_runs([tmp_path / "more"], filled)
        text = table_of("cifar10 baseline=vanilla", filled)
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
        assert rows[0] == ["method", "network", "processes", "n", "top-1 (%)", "difference to vanilla"]
        assert {(row[0], row[1], row[2], row[5]) for row in rows[2:]} == {
            ("mixup", "ConvNet widths=4", "1", ""),
            ("vanilla", "r18", "1", ""),
            ("mixup", "r18", "1", "+0.58 (-1.21 .. +2.38)"),
            ("vanilla", "r18", "2", ""),
            ("mixup", "r18", "2", "-5.00"),
        }
        assert "there is no vanilla of the same data set, network" in text
        assert "cccccccccc, dddddddddd, dddddddddd-dirty)" in text

    def test_a_baseline_that_is_not_there_is_an_error(self, filled):
        with pytest.raises(UserError, match="'vanila'; did you mean 'vanilla'"):
            table_of("cifar10 baseline=vanila", filled)

    def test_of_two_runs_of_a_seed_the_later_one_counts_and_the_other_is_listed(self, tmp_path, run_of, filled):
        for hour, value in (("21", 60.0), ("23", 61.0), ("22", 62.0)):
            end = {"end_time": f"2026-01-01T{hour}:00:00+0000", "config": "configs/cutmix.py"}
            run_of(tmp_path / "again" / hour, [value], method="cutmix", record=end)
        record_runs([tmp_path / "again"], filled)
        text = table_of("cifar10 method=cutmix", filled)
        assert "| cutmix | 1 | 61.00 |" in text
        listed = "60.00 (2026-01-01T21:00:00+0000); cutmix, seed 0: 62.00 (2026-01-01T22:00:00+0000)."
        assert f"Not counted, as a later run has the seed: cutmix, seed 0: {listed}" in text

    @pytest.mark.parametrize(("column", "cell"), [("seed", "x"), ("last", "abc"), ("best", "nan")])
    def test_a_damaged_cell_is_named(self, filled, column, cell):
        path = filled / "cifar10.csv"
        rows = read_rows(path)
        lines = [",".join({**row, column: cell}.values() if k == 1 else row.values()) for k, row in enumerate(rows)]
        path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
        with pytest.raises(UserError, match=rf"cifar10\.csv, row 3: {column} is '{cell}'"):
            table_of("cifar10", filled)

    def test_a_mark_without_an_end(self, filled):
        with pytest.raises(UserError, match="end"):
            fill("<!-- table: cifar10 -->\n", filled)


def test_figures_are_rounded(tmp_path, run_of, records):
    run_of(tmp_path / "runs" / "a", [47.839999999999996])
    record_runs([tmp_path / "runs"], records)
    assert read_rows(records / "cifar10.csv")[0]["last"] == "47.84"


def test_rows_that_are_added_at_the_same_time_are_all_kept(records):
    rows = [dict.fromkeys(COLUMNS, "") | {"seed": f"{seed}", "log_sha256": "a"} for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        added = sum(pool.map(lambda row: add_rows(records / "a.csv", [row]), rows))
    assert added == len(read_rows(records / "a.csv")) == 24
    assert [path.name for path in records.iterdir()] == ["a.csv"]


def test_csv_is_read_back_as_written(tmp_path, run_of, records):
    run_of(tmp_path / "runs" / "a", method='a,"b"')
    record_runs([tmp_path / "runs"], records)
    assert read_rows(records / "cifar10.csv")[0]["method"] == 'a,"b"'
    assert next(csv.reader((records / "cifar10.csv").read_text().splitlines())) == list(COLUMNS)
