"""compare: the same seeds for every config, one table, and nothing trained twice."""

import json
from typing import Any

import pytest

from openmix.commands import run_command

TEST_SET = {
    "type": "ResidentLoader",
    "batch_size": 7,
    "dataset": {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 40},
}


@pytest.fixture
def configs(lab, tmp_path) -> list[str]:
    return [
        lab.write(tmp_path, mode, model={"mix_mode": mode}, test_dataloader=TEST_SET) for mode in ("vanilla", "mixup")
    ]


@pytest.fixture(autouse=True)
def one_commit(monkeypatch):
    """The code of these tests does not change between two calls, whatever the working tree looks like."""
    monkeypatch.setattr("openmix.engine.records.git_commit", lambda: "abc")


def compare(folder: Any, *configs: str, seeds: tuple[int, ...] = (3, 5)) -> int:
    return run_command("compare", [*configs, "--seeds", *map(str, seeds), "--work-dir", str(folder)])


def test_figures_are_the_runs_own_on_the_test_split(lab, configs, tmp_path, capsys):
    assert compare(tmp_path / "out", *configs) == 0
    said = capsys.readouterr().out
    runs = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {name: list(seeds) for name, seeds in runs.items()} == {"vanilla": ["3", "5"], "mixup": ["3", "5"]}
    assert runs["mixup"]["5"]["n"] == 40
    assert json.loads((tmp_path / "out" / "mixup" / "seed_5" / "run.json").read_text())["config"] == configs[1]
    lab.train(configs[1], tmp_path / "alone", randomness__seed=5)
    checkpoint = str(tmp_path / "alone" / "checkpoints" / "last.pth")
    assert run_command("test", [configs[1], checkpoint, "--split", "test", "--out", str(tmp_path / "alone.json")]) == 0
    assert json.loads((tmp_path / "alone.json").read_text()) == runs["mixup"]["5"]
    table = (tmp_path / "out" / "comparison.md").read_text()
    for text in (said, table):
        assert "vanilla" in text and "mixup" in text and "difference to vanilla" in text


def test_a_finished_run_is_not_trained_again(configs, tmp_path):
    compare(tmp_path / "out", *configs)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.pth")}
    assert compare(tmp_path / "out", *configs) == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.pth")} == before


def test_a_changed_config_is_trained_afresh_and_the_old_run_kept(lab, configs, tmp_path):
    compare(tmp_path / "out", *configs)
    old = (tmp_path / "out" / "mixup" / "seed_3" / "metrics.jsonl").read_text()
    lab.write(tmp_path, "mixup", model={"mix_mode": "mixup", "alpha": 0.2}, test_dataloader=TEST_SET)
    compare(tmp_path / "out", *configs)
    assert (tmp_path / "out" / "mixup" / "seed_3" / "earlier" / "1" / "metrics.jsonl").read_text() == old
    assert not (tmp_path / "out" / "vanilla" / "seed_3" / "earlier").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda paths: ([paths[0], paths[0]], (0,)), "same file name: vanilla, vanilla"),
        (lambda paths: (paths, (1, 1)), "names a seed twice"),
        (lambda paths: ([paths[0], "nowhere.py"], (0,)), "no config file nowhere.py"),
    ],
)
def test_wrong_input(configs, tmp_path, capsys, change, message):
    paths, seeds = change(configs)
    assert compare(tmp_path / "out", *paths, seeds=seeds) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_test_split(lab, tmp_path, capsys):
    assert compare(tmp_path / "out", lab.write(tmp_path), seeds=(0,)) == 2
    assert "test_dataloader" in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "found only after training"
