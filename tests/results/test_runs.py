"""Finding and reading work dirs, whole, damaged and hostile ones."""

import json
import os
from pathlib import Path

import pytest

from openmix.engine.config import config_text
from openmix.engine.config_hash import NOT_HASHED, config_hash, study_hash
from openmix.errors import UserError
from openmix.results.run_files import literal_config
from openmix.results.runs import Run, Unreadable, find_runs, read_run


def test_a_real_run_is_read_as_it_was_written(lab, tmp_path):
    lab.train(lab.write(tmp_path), tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert isinstance(run, Run)
    assert run.config == json.loads(json.dumps(lab.load(str(tmp_path / "tiny.py"), tmp_path / "run").to_dict()))
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert list(run.validations) == [record for record in records if record["split"] == "val"]
    assert (run.seed, run.max_epochs, run.unfinished, run.damaged_lines) == (0, 2, None, 0)


def test_what_is_read_has_the_hash_that_the_run_wrote_down(lab, tmp_path):
    """Tables group by it: it must not depend on how a config is read."""
    lab.train(lab.write(tmp_path), tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert isinstance(run, Run) and config_hash(run.config) == run.record["config_hash"]


def test_what_makes_another_study():
    config = {"a": {"b": (1, 2)}, "randomness": {"seed": 1, "deterministic": True}, **dict.fromkeys(NOT_HASHED, "x")}
    one = study_hash(config)
    assert one == study_hash({"a": {"b": [1, 2]}, "randomness": {"deterministic": True}})
    assert one == study_hash({**config, "randomness": {"seed": 7, "deterministic": True}, "work_dir": "y"})
    assert one != config_hash(config) and config_hash(config) != config_hash({**config, "randomness": {"seed": 2}})
    assert one != study_hash({**config, "randomness": {"seed": 1}}) and one != study_hash({**config, "a": 1})


def test_a_config_comes_back_from_its_text(tmp_path):
    config = {"a": {"b": [1, -2.5, None, True, "x"], "c": []}, "d": float("inf"), "e": [float("-inf"), {"f": 1e-4}]}
    (tmp_path / "config.py").write_text(config_text(config))
    assert literal_config(tmp_path / "config.py") == config


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "open({path!r}, 'w')",
        "a = open({path!r}, 'w')",
        "a = dict(b=open({path!r}, 'w'))",
        "a = [x for x in ()]",
        "a = {{**{{}}}}",
        "a.b = 1",
        "a = (",
        "a = float()",
        "a = float([1])",
        "a = " + "[" * 5000,
        "a = 1\x00",
    ],
)
def test_a_config_with_code_is_refused_and_not_run(tmp_path, run_of, text):
    folder = run_of(tmp_path / "run")
    (folder / "config.py").write_text(text.format(path=str(tmp_path / "made")))
    found = read_run(folder)
    assert isinstance(found, Unreadable) and "config.py" in found.reason
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "text", ["[]", "{", "", "null", '{"status": "done"}', '{"seed": 0, "status": "x"}', "[" * 99999]
)
def test_a_damaged_run_json_is_told(tmp_path, run_of, text):
    folder = run_of(tmp_path / "run")
    (folder / "run.json").write_text(text)
    found = read_run(folder)
    assert isinstance(found, Unreadable) and found.reason.startswith("run.json is damaged")


def test_without_a_config_there_is_no_run(tmp_path, run_of):
    folder = run_of(tmp_path / "run")
    (folder / "config.py").unlink()
    assert read_run(folder) == Unreadable(folder, "there is no config.py")


@pytest.mark.parametrize("name", ["run.json", "config.py", "metrics.jsonl"])
def test_a_pipe_is_not_waited_for(tmp_path, run_of, name):
    folder = run_of(tmp_path / "run")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert read_run(folder) == Unreadable(folder, f"{name} is no file")


def test_damaged_lines_are_counted_and_a_cut_one_is_not(tmp_path, run_of):
    folder = run_of(tmp_path / "run", [1.0, 2.0])
    good = (folder / "metrics.jsonl").read_text()
    bad = [
        '{"split": "val", "epoch": 1',
        '{"split": "val", "epoch": "1", "step": 2}',
        "x" * 3_000_000,
        '{"val": [}',
        "[]",
    ]
    (folder / "metrics.jsonl").write_text("\n".join(bad) + "\n" + good + '{"split": "val", "epo')
    run = read_run(folder)
    assert isinstance(run, Run)
    assert run.damaged_lines == len(bad)
    assert [record["top1"] for record in run.validations] == [1.0, 2.0]


def test_a_training_record_that_mentions_val_is_none(tmp_path, run_of):
    folder = run_of(tmp_path / "run", [1.0])
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"split": "train", "epoch": 1, "step": 2, "what": "val"}\n')
    run = read_run(folder)
    assert isinstance(run, Run) and len(run.validations) == 1


@pytest.mark.parametrize(
    ("status", "epochs", "state"),
    [("running", 2, "running"), ("stopped", 2, "stopped"), ("failed", 2, "failed"), ("done", 3, "unfinished")],
)
def test_what_is_not_finished(tmp_path, run_of, status, epochs, state):
    run = read_run(run_of(tmp_path / "run", [1.0, 2.0], epochs=epochs, record={"status": status}))
    assert isinstance(run, Run) and run.unfinished is not None
    assert run.unfinished[0] == state and "epoch 2" in run.unfinished[1]


def test_a_run_that_has_just_begun(tmp_path, run_of):
    folder = run_of(tmp_path / "run", record={"status": "running"})
    (folder / "metrics.jsonl").unlink()
    run = read_run(folder)
    assert isinstance(run, Run) and run.unfinished == ("running", "it runs, or was killed; no validation yet")


class TestFinding:
    def test_every_run_is_found_once(self, tmp_path, run_of):
        for name in ("b/x", "a", "a/within"):
            run_of(tmp_path / name)
        run_of(tmp_path / "a" / "earlier" / "1")
        (tmp_path / "loop").symlink_to(tmp_path)
        (tmp_path / "same").symlink_to(tmp_path / "b")
        found, refused = find_runs([tmp_path, tmp_path / "a"])
        assert [path.relative_to(tmp_path) for path in found] == [Path("a"), Path("a/within"), Path("b/x")]
        assert refused == []

    def test_links_to_elsewhere_are_followed(self, tmp_path, run_of):
        run_of(tmp_path / "scratch" / "run")
        (tmp_path / "study").mkdir()
        (tmp_path / "study" / "runs").symlink_to(tmp_path / "scratch")
        assert find_runs([tmp_path / "study"])[0] == [tmp_path / "study" / "runs" / "run"]

    def test_a_folder_that_cannot_be_looked_into_is_told(self, tmp_path, monkeypatch):
        (tmp_path / "secret").mkdir()
        real = os.scandir

        def scandir(path):
            if str(path).endswith("secret"):
                raise PermissionError(13, "Permission denied", path)
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        assert find_runs([tmp_path])[1] == [
            Unreadable(tmp_path / "secret", "it cannot be looked into: Permission denied")
        ]

    def test_a_path_that_is_no_folder(self, tmp_path):
        with pytest.raises(UserError, match="nowhere is no folder"):
            find_runs([tmp_path / "nowhere"])

    @pytest.mark.slow
    def test_among_many_files(self, tmp_path, run_of):
        for k in range(100):
            (tmp_path / f"{k}").mkdir()
            for i in range(1000):
                (tmp_path / f"{k}" / f"{i}").touch()
        run_of(tmp_path / "50" / "run")
        assert find_runs([tmp_path])[0] == [tmp_path / "50" / "run"]
