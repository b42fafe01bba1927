"""Studies in a table: entries that have not begun, and what the queue knows of runs that failed."""

import pytest

from openmix.errors import UserError
from openmix.results.formats import markdown
from openmix.results.grids.manifest import Entry, Manifest
from openmix.results.grids.outcomes import Outcome
from openmix.results.reading import read_table
from openmix.results.report import write_report


@pytest.fixture
def study(tmp_path):
    """A study of two runs as 'openmix grid make' leaves it."""
    entries = [Entry(name, f"configs/{name}.py", f"runs/{name}", {}, "0" * 16) for name in ("a", "b")]
    folder = tmp_path / "study"
    (folder / "queue").mkdir(parents=True)
    manifest = Manifest(folder, "base.py", (*entries,))
    (folder / "manifest.json").write_text(manifest.text())
    return folder


def left_out(study):
    return [(run.name, run.state, run.reason) for run in read_table([study]).left_out]


def test_a_study_that_was_just_made_waits(study, tmp_path):
    assert left_out(study) == [("a", "waiting", "it has not begun"), ("b", "waiting", "it has not begun")]
    assert "In no mean: 2 runs" in markdown(read_table([study]))
    write_report(read_table([study]), tmp_path / "report.html")
    assert "it has not begun" in (tmp_path / "report.html").read_text()


def test_a_damaged_manifest_is_told(study):
    (study / "manifest.json").write_text("{")
    [(_, state, reason)] = left_out(study)
    assert state == "damaged" and "manifest.json is damaged" in reason


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no runs in"):
        read_table([tmp_path])


def test_an_entry_that_could_not_begin_has_failed(study):
    Outcome("failed", 1, 2, "no such mixer 'mixpu'").write(study / "queue" / "a.json")
    assert left_out(study)[0] == ("a", "failed", "no such mixer 'mixpu'")
    Outcome("running", 1).write(study / "queue" / "a.json")
    assert left_out(study)[0] == ("a", "waiting", "it has not begun")


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_run_that_was_killed_has_failed(study, run_of, status):
    run_of(study / "runs" / "a", [50.0], epochs=2, record={"status": status})  # begun on 2026-01-01, 00:00 UTC
    Outcome("failed", 1, 137, "killed by SIGKILL", ended="2026-01-01T01:05:00+0100").write(study / "queue" / "a.json")
    assert left_out(study)[0][1:] == ("failed", "killed by SIGKILL; the last validation is that of epoch 1")


def test_a_run_that_was_started_again_or_is_done_has_not_failed(study, run_of):
    run_of(study / "runs" / "a", [50.0], epochs=2, record={"status": "running"})
    run_of(study / "runs" / "b", [50.0])
    for name in ("a", "b"):
        Outcome("failed", 1, 137, "killed", ended="2025-12-31T23:59:00+0000").write(study / "queue" / f"{name}.json")
    assert [state for _, state, _ in left_out(study)] == ["running"]
