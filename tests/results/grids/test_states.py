"""What is read of a run's work dir, and of an entry's outcome, damaged as they may be."""

import json

import pytest

from openmix.errors import WriteError
from openmix.results.grids.manifest import Entry
from openmix.results.grids.outcomes import Outcome
from openmix.results.grids.states import Progress, is_finished, is_of, read_progress, read_record, saved_place

ENTRY = Entry("a", "configs/a.py", "runs/a", {}, "a" * 16)


def test_a_real_run_is_read(lab, tmp_path):
    lab.train(lab.write(tmp_path), tmp_path / "run")
    progress, last = read_progress(tmp_path / "run"), lab.records(tmp_path / "run")[-1]
    assert (progress.done, progress.length, progress.unit, progress.top1) == (2, 2, "epoch", last["top1"])
    assert progress.images_per_s > 0
    assert progress.place == "epoch 2/2"
    record = read_record(tmp_path / "run")
    assert is_finished(record, Entry("a", "", "", {}, record["config_hash"]))
    assert not is_finished(record, ENTRY)
    lab.train(lab.write(tmp_path), tmp_path / "steps", train_cfg__max_epochs=None, train_cfg__max_iters=9)
    assert read_progress(tmp_path / "steps").place == "step 9/9"


def test_an_epoch_that_has_begun_counts_half(tmp_path):
    lines = [{"split": "val", "epoch": 1, "step": 5, "top1": 9.5}, {"split": "train", "epoch": 2, "step": 7}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_progress(tmp_path) == Progress(1.5, None, "epoch", 9.5, None)
    assert read_progress(tmp_path).place == "epoch 2"


def test_a_long_file_is_read_from_its_end(tmp_path):
    lines = [{"split": "val", "epoch": epoch, "step": epoch, "top1": epoch / 1000} for epoch in range(1, 50_001)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_progress(tmp_path).done == 50_000


@pytest.mark.parametrize(
    ("manifest", "there", "place"),
    [
        ({"epoch_2.pth": 8, "epoch_10.pth": 40}, ["epoch_2", "epoch_10"], "epoch 10/12"),
        ({"epoch_2.pth": 8, "iter_9.pth": 9}, ["epoch_2", "iter_9"], "step 9"),
        ({"epoch_2.pth": 8, "iter_7.pth": 7}, ["epoch_2", "iter_7"], "epoch 2/12"),
        ({"epoch_2.pth": 8}, ["epoch_2", "epoch_1"], "epoch 1/12"),  # not listed: saved just before a kill
        ({"epoch_2.pth": 8, "epoch_3.pth": 12}, ["epoch_2", "last"], "epoch 2/12"),
        ({}, ["epoch_x"], ""),
        ({}, [], ""),
    ],
)
def test_where_a_run_would_go_on_is_what_is_saved(tmp_path, manifest, there, place):
    (tmp_path / "config.py").write_text("train_cfg = {'max_epochs': 12}\n")
    (tmp_path / "metrics.jsonl").write_text('{"split": "val", "epoch": 11, "step": 44}\n')
    (tmp_path / "checkpoints").mkdir()
    entries = {name: {"step": step, "size": 1, "sha256": ""} for name, step in manifest.items()}
    (tmp_path / "checkpoints" / "manifest.json").write_text(json.dumps(entries))
    for name in there:
        (tmp_path / "checkpoints" / f"{name}.pth").touch()
    assert saved_place(tmp_path) == place


def test_a_real_run_would_go_on_from_its_last_step(lab, tmp_path):
    lab.train(lab.write(tmp_path), tmp_path / "run", stop_after=8)
    assert saved_place(tmp_path / "run") == "step 8"


NO_RECORDS = [
    b"",
    b"\xff\xfe",
    b"[1]\n",
    b'{"epoch": "x"}\n',
    b'{"split": "val", "epo',
    b"[" * 5000,
    b'{"top1": null}\n',
]
NO_OUTCOMES = ["", "{}", "[]", "null", '{"status": 3}', '{"status": "done", "attempts": "x"}', '{"status": "", "x": 1}']


@pytest.mark.parametrize("metrics", NO_RECORDS)
def test_lines_that_are_no_records_are_passed_over(tmp_path, metrics):
    (tmp_path / "metrics.jsonl").write_bytes(metrics)
    assert read_progress(tmp_path) == Progress()


@pytest.mark.parametrize(
    "config", ["", "train_cfg = 3", "train_cfg = dict(", "train_cfg = {'max_epochs': 'many'}", "import os", "\0"]
)
def test_a_config_that_does_not_say_how_long(tmp_path, config):
    (tmp_path / "config.py").write_text(config)
    assert read_progress(tmp_path) == Progress()


def test_a_config_is_read_and_not_executed(tmp_path):
    (tmp_path / "config.py").write_text(f"open({str(tmp_path / 'x')!r}, 'w')\ntrain_cfg = {{'max_iters': 7}}\n")
    assert read_progress(tmp_path).length == 7
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\udcff"])
def test_a_record_that_is_none(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    assert read_record(tmp_path) == {}
    assert not is_of({}, ENTRY)


def test_a_run_is_finished_when_it_is_done_with_the_config_as_it_is_now():
    assert is_finished({"config_hash": "a" * 16, "status": "done"}, ENTRY)
    for record in ({"config_hash": "b" * 16, "status": "done"}, {"config_hash": "a" * 16, "status": "running"}, {}):
        assert not is_finished(record, ENTRY)


def test_an_outcome_is_read_as_it_was_written(tmp_path):
    outcome = Outcome("failed", 3, 137, "ended by SIGKILL: µ", "process 7 on here, cpu 0", "then", "now")
    outcome.write(tmp_path / "a.json")
    assert Outcome.read(tmp_path / "a.json") == outcome


@pytest.mark.parametrize("text", NO_OUTCOMES)
def test_an_outcome_that_is_none(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert Outcome.read(tmp_path / "a.json") is None
    assert Outcome.read(tmp_path / "b.json") is None


def test_an_outcome_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(WriteError, match="cannot write"):
        Outcome("done").write(tmp_path / "a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
