"""What a queue does about each way in which a run can end, with stubs for runs."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from openmix.errors import UserError
from openmix.results.grids.claims import Claim


def after(condition, action, within=20):
    """Do something in a thread once a condition holds."""

    def wait():
        deadline = time.monotonic() + within
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def read(path):
    return path.read_bytes() if path.exists() else b""


def kinds(queue):
    return {name: outcome.status for name, outcome in queue.ended.items()}


def test_all_are_run_once_and_found_done_afterwards(stubs):
    study = stubs(dict.fromkeys("abcde", ""))
    queue = study.queue()
    assert queue.run().name == ""
    assert kinds(queue) == dict.fromkeys("abcde", "done")
    assert sorted(name for name, _ in study.starts()) == list("abcde")
    outcome = study.outcome("a")
    assert (outcome["status"], outcome["exit_code"], outcome["attempts"]) == ("done", 0, 1)
    assert "attempt 1: " in study.log("a")
    assert study.board.said[-1].startswith("5/5 done ")
    assert "top1 90.00" in study.board.said[-1]
    again = study.queue()
    again.run()
    assert kinds(again) == dict.fromkeys("abcde", "done")
    assert len(study.starts()) == 5
    assert study.board.said[-1] == "5/5 5 done before"


def test_no_more_run_at_a_time_than_there_are_slots(stubs):
    study = stubs(dict.fromkeys("abcdef", ""))
    queue, beside = study.queue(slots=2), []
    command = queue.command

    def counted(entry, resume):
        beside.append(len(queue.jobs))
        return command(entry, resume)

    queue.command = counted
    queue.run()
    assert (beside[:2], max(beside)) == ([0, 1], 1)
    running, most = 0, 0
    for words in sorted(study.words(), key=lambda words: float(words[0])):
        running += 1 if words[1] == "start" else -1
        most = max(most, running)
    assert most <= 2


def test_each_end_has_its_answer_and_none_stops_the_rest(stubs):
    faults = {"once": "crash once", "crash": "crash", "killed": "killed", "wrong": "wrong", "stopped": "stop once"}
    study = stubs({**faults, "good": ""})
    queue = study.queue()
    queue.run()
    assert kinds(queue) == {
        "once": "done", "crash": "failed", "killed": "failed", "wrong": "failed", "stopped": "done", "good": "done"
    }  # fmt: skip
    began = [name for name, _ in study.starts()]
    assert [began.count(name) for name in ("once", "crash", "killed", "wrong", "stopped", "good")] == [2, 2, 2, 1, 2, 1]
    assert [resumed for name, resumed in study.starts() if name == "once"] == [False, True]
    messages = {name: queue.ended[name].message for name in ("crash", "killed", "wrong")}
    assert messages["crash"] == "RuntimeError: boom"
    assert messages["killed"] == "ended by SIGKILL"  # it has printed nothing
    assert messages["wrong"].startswith("config.py: model.alhpa: unknown")
    assert [study.outcome(name)["exit_code"] for name in messages] == [1, 137, 2]
    assert study.outcome("crash")["attempts"] == 2
    assert sum("crashed (exit code 1: RuntimeError: boom)" in line for line in study.board.said) == 2
    assert {name for name, _ in study.board.views[-1].failed} == {"crash", "killed", "wrong"}


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("echo epoch 3; exit 3", "exit code 3: it told of no error; its last line: epoch 3"),
        ("echo epoch 3; kill -9 $$", "exit code 137: ended by SIGKILL; its last line: epoch 3"),
        ("echo ValueError: no; echo epoch 3; kill -9 $$", "exit code 137: ended by SIGKILL; ValueError: no"),
        ("echo error: no; echo epoch 3; exit 2", "exit code 2: no"),
        ("exit 3", "exit code 3: it told of no error"),
    ],
)
def test_a_line_of_the_log_is_no_reason_unless_it_tells_of_an_error(stubs, program, reason):
    study = stubs({"a": ""})
    queue = study.queue(command=lambda entry, resume: ["bash", "-c", program])
    queue.run()
    assert queue.ended["a"].reason == reason
    assert queue.board.views[-1].failed == [("a", reason)]


def test_the_last_accuracy_is_shown_when_it_is_far_back(stubs, monkeypatch):
    study = stubs({"a": ""}, epochs=200)
    queue = study.queue()

    def look():
        job, records = queue.jobs[0], study.folder / "runs" / "a" / "metrics.jsonl"
        seen.append(job.row().progress.top1)
        with open(records, "a") as file:
            file.write('{"split": "train", "epoch": 1, "step": 1}\n' * 2000)
        monkeypatch.setattr("openmix.results.grids.states.TAIL", 2000)
        seen.append(job.row().progress.top1)
        os.kill(os.getpid(), signal.SIGTERM)

    seen = []
    thread = after(lambda: queue.jobs and b"top1" in read(study.folder / "runs" / "a" / "metrics.jsonl"), look)
    queue.run()
    thread.join()
    assert seen == [90.0, 90.0]


def test_a_later_queue_tries_what_failed_again(stubs):
    study = stubs({"a": "wrong"})
    first = study.queue()
    first.run()
    assert kinds(first) == {"a": "failed"}
    (study.folder / "configs" / "a.py").write_text(json.dumps({"epochs": 1, "seconds": 0}))
    queue = study.queue()
    queue.run()
    assert kinds(queue) == {"a": "done"}
    assert study.outcome("a")["attempts"] == 2


def test_what_is_of_another_config_is_not_resumed(stubs):
    study = stubs({"a": "", "b": ""})
    for name, record in (("a", {"config_hash": "b" * 16, "status": "done"}), ("b", {"config_hash": "a" * 16})):
        (study.folder / "runs" / name).mkdir(parents=True)
        (study.folder / "runs" / name / "run.json").write_text(json.dumps(record))
    study.queue().run()
    assert sorted(study.starts()) == [("a", False), ("b", True)]


def test_a_program_that_ends_well_without_a_record_has_failed(stubs):
    study = stubs({"a": ""})
    queue = study.queue(command=lambda entry, resume: ["true"])
    queue.run()
    assert kinds(queue) == {"a": "failed"}
    assert "holds no finished run" in queue.ended["a"].message


def test_a_log_that_cannot_be_written_or_a_program_that_is_none_fails_its_entry_alone(stubs):
    study = stubs({"a": "", "b": ""})
    queue = study.queue()
    (study.folder / "queue" / "a.log").mkdir()
    queue.run()
    assert kinds(queue) == {"a": "failed", "b": "done"}
    assert "Is a directory" in queue.ended["a"].message
    other = study.queue(command=lambda entry, resume: ["/no/such/program"])
    (study.folder / "queue" / "a.log").rmdir()
    other.run()
    assert kinds(other) == {"a": "failed", "b": "done"}
    assert other.ended["a"].message == "cannot start it: No such file or directory: /no/such/program"
    assert "2/2 failed a: cannot start it: No such file or directory: /no/such/program" in study.board.said


def test_an_outcome_that_cannot_be_written_or_read_stops_nothing(stubs):
    study = stubs({"a": "", "b": "", "c": ""})
    (study.folder / "queue").mkdir()
    (study.folder / "queue" / "a.json").mkdir()
    (study.folder / "queue" / "b.json").write_text('{"status": "failed", "attempts": "many"}')
    (study.folder / "queue" / "c.json").write_bytes(b"\xff{")
    queue = study.queue()
    queue.run()
    assert kinds(queue) == dict.fromkeys("abc", "done")
    assert any("cannot write" in line for line in study.board.said)
    assert study.outcome("b")["attempts"] == 1


def test_a_study_that_cannot_be_written_to_is_refused(stubs):
    study = stubs({"a": ""})
    (study.folder / "queue").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*queue"):
        study.queue()


def test_an_entry_that_others_hold_is_waited_for_and_taken_over(stubs, monkeypatch):
    monkeypatch.setattr("openmix.results.grids.queue.AGAIN", 0.05)
    study = stubs({"a": "", "b": ""})
    (study.folder / "queue").mkdir()
    claim = Claim.take(study.folder / "queue" / "a.lock")
    queue = study.queue()
    thread = after(lambda: "b" in queue.ended, lambda: (time.sleep(0.3), claim.release()))
    queue.run()
    thread.join()
    assert kinds(queue) == {"a": "done", "b": "done"}
    assert [name for name, _ in study.starts()] == ["b", "a"]
    assert "0/2 a is held by another queue" in study.board.said


def test_what_others_did_meanwhile_is_not_done_again(stubs, monkeypatch):
    """Done and failed alike: the failure counts, as this queue was there when it happened."""
    monkeypatch.setattr("openmix.results.grids.queue.AGAIN", 0.05)
    study = stubs({"a": "", "b": ""})
    (study.folder / "queue").mkdir()
    claims = [Claim.take(study.folder / "queue" / f"{name}.lock") for name in "ab"]
    old = {"status": "failed", "attempts": 1, "message": "once upon a time"}
    (study.folder / "queue" / "b.json").write_text(json.dumps(old))

    def end():
        (study.folder / "runs" / "a").mkdir(parents=True)
        (study.folder / "runs" / "a" / "run.json").write_text(json.dumps({"config_hash": "a" * 16, "status": "done"}))
        (study.folder / "queue" / "b.json").write_text(json.dumps({**old, "attempts": 3, "exit_code": 1}))
        for claim in claims:
            claim.release()

    queue = study.queue()
    thread = after(lambda: len(study.board.said) >= 2, end)
    queue.run()
    thread.join()
    assert kinds(queue) == {"a": "done", "b": "failed"}
    assert study.starts() == []


def test_a_work_dir_that_is_being_trained_in_is_left_alone(stubs, monkeypatch):
    """By a run that somebody started by hand: seen before a process is started, or told by its exit code."""
    monkeypatch.setattr("openmix.results.grids.queue.AGAIN", 0.05)
    study = stubs({"seen": "", "told": ""})
    by_hand = []
    for name in ("seen", "told"):
        work_dir = study.folder / "runs" / name
        work_dir.mkdir(parents=True)
        by_hand.append(Claim.take(work_dir / ".lock"))
    (study.folder / "runs" / "seen" / ".owner").write_text("process 7 on there\n")
    queue = study.queue()
    # the other one has locked its work dir, and comes to say so only when the queue has started a process of its own
    command = queue.command

    def late(entry, resume):
        (study.folder / "runs" / "told" / ".owner").write_text("process 8 on there\n")
        return command(entry, resume)

    queue.command = late
    thread = after(lambda: len(queue.said) == 2, lambda: [claim.release() for claim in by_hand])
    queue.run()
    thread.join()
    assert kinds(queue) == {"seen": "done", "told": "done"}
    assert {"0/2 seen is held by process 7 on there", "0/2 told is held by process 8 on there"} <= {*study.board.said}
    assert len(study.starts()) == 2
    assert (study.log("seen").count("another run"), study.log("told").count("another run")) == (0, 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_lets_runs_save_and_starts_no_more(stubs, number, code):
    study = stubs(dict.fromkeys("abc", ""), epochs=200)
    queue = study.queue()
    thread = after(lambda: len(study.starts()) == 2, lambda: os.kill(os.getpid(), number))
    stop = queue.run()
    thread.join()
    assert (stop.exit_code, stop.at_once, kinds(queue)) == (code, False, {})
    assert [study.outcome(name)["status"] for name in "ab"] == ["stopped", "stopped"]
    assert [study.record(name)["status"] for name in "ab"] == ["stopped", "stopped"]
    assert len(study.starts()) == 2
    for name in "abc":
        (study.folder / "configs" / f"{name}.py").write_text(json.dumps({"epochs": 3, "seconds": 0}))
    again = study.queue()
    again.run()
    assert kinds(again) == dict.fromkeys("abc", "done")
    assert dict(study.starts()[2:]) == {"a": True, "b": True, "c": False}


def test_a_second_sigterm_changes_nothing_and_a_second_interrupt_kills(stubs):
    study = stubs({"a": "deaf"}, epochs=200)
    queue = study.queue()
    said = study.board.said
    began = time.monotonic()

    def insist():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.6)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.6)
        assert not any("killed" in line for line in said)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = after(lambda: study.starts() != [], insist)
    stop = queue.run()
    thread.join()
    assert time.monotonic() - began < 8
    assert (stop.at_once, stop.exit_code, kinds(queue)) == (True, 75, {})
    assert study.outcome("a")["status"] == "stopped"
    assert any("waiting for 1 run to save" in line for line in said)
    assert any("runs are killed" in line for line in said)
    assert not Path(f"/proc/{study.words()[0][2]}").exists()


def test_the_processes_of_a_run_know_their_slot_and_nothing_of_others(stubs, monkeypatch):
    monkeypatch.setenv("PORT", "29500")
    monkeypatch.delenv("OMP_NUM_THREADS")
    study = stubs({"a": ""})
    shown = "echo [$CUDA_VISIBLE_DEVICES] [$OMP_NUM_THREADS] [$PORT]; [ -t 0 ] || echo no terminal"
    study.queue(slots=1, command=lambda entry, resume: ["bash", "-c", shown]).run()
    assert study.log("a").splitlines()[2:] == ["[] [2] []", "no terminal"]
