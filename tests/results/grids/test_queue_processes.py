"""Queues as processes: two at once, killed ones, and what they leave; with stubs for runs."""

import itertools
import json
import os
import signal
import time
from collections import Counter

from openmix.results.grids.claims import is_locked


def wait_until(condition, within=30):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def spans(study):
    """Return by name when each of its runs began and ended."""
    found = {}
    for when, what, pid, name, *_ in study.words():
        found.setdefault(name, {}).setdefault(pid, {})[what] = float(when)
    return found


def test_two_queues_share_a_study_and_run_nothing_twice(stubs):
    names = [f"run{i}" for i in range(16)]
    study = stubs(dict.fromkeys(names, ""), seconds=0.15)
    queues = [study.start(slots=2), study.start(slots=2)]
    printed = [queue.communicate(timeout=60)[0] for queue in queues]
    assert [queue.returncode for queue in queues] == [0, 0], printed
    assert Counter(name for name, _ in study.starts()) == dict.fromkeys(names, 1)
    assert all(study.record(name)["status"] == "done" for name in names)
    shares = [text.count(" started ") for text in printed]
    assert sum(shares) == 16
    assert min(shares) > 0, printed  # both worked
    for text in printed:
        assert text.count("'done'") == 16, text


def test_a_killed_queues_runs_save_and_another_queue_goes_on(stubs):
    """It has three runs left to start; those that it has started stay claimed until they have saved."""
    study = stubs(dict.fromkeys("abcd", ""), epochs=25, seconds=0.05)
    killed = study.start(slots=2)
    wait_until(lambda: len(study.starts()) == 2)
    other = study.start(slots=1)
    wait_until(lambda: len(study.starts()) == 3)
    killed.kill()
    killed.communicate()
    assert other.communicate(timeout=60) and other.returncode == 0
    assert all(study.record(name)["status"] == "done" for name in "abcd")
    assert Counter(name for name, _ in study.starts()) == {"a": 2, "b": 2, "c": 1, "d": 1}
    for name, runs in spans(study).items():
        times = sorted((run["start"], run["end"]) for run in runs.values())
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times)), name
    assert not any(lives(words[2]) for words in study.words())


def test_a_run_that_outlives_its_queue_stays_claimed(stubs):
    """A deaf one does not heed the system's SIGTERM: the next queue waits for it, and finds it done."""
    study = stubs({"a": "deaf"}, epochs=60, seconds=0.05)
    killed = study.start()
    wait_until(lambda: study.starts() != [])
    killed.kill()
    killed.communicate()
    assert is_locked(study.folder / "queue" / "a.lock")
    other = study.start()
    printed = other.communicate(timeout=60)[0]
    assert other.returncode == 0
    assert "0/1 a is held by process" in printed
    assert "1/1 done a, by another queue" in printed
    assert len(study.starts()) == 1


def test_a_failure_counts_for_a_queue_that_was_there(stubs):
    study = stubs({"a": "crash", "b": ""}, epochs=3, seconds=0.3)
    queues = [study.start(), study.start()]
    printed = [queue.communicate(timeout=60)[0] for queue in queues]
    assert [queue.returncode for queue in queues] == [1, 1], printed
    assert Counter(name for name, _ in study.starts()) == {"a": 2, "b": 1}


def test_ctrl_c_of_a_terminal_reaches_the_queue_alone(stubs):
    """It goes to the whole group of the foreground, which the runs are not in."""
    study = stubs({"a": ""}, epochs=200)
    queue = study.start()
    wait_until(lambda: study.starts() != [])
    run = int(study.words()[0][2])
    assert os.getsid(run) == run != os.getsid(queue.pid)
    queue.send_signal(signal.SIGINT)
    printed = queue.communicate(timeout=30)[0]
    assert queue.returncode == 130, printed
    assert study.record("a")["status"] == "stopped"
    assert not lives(run)


def test_a_queue_goes_on_when_nobody_reads_what_it_prints(stubs):
    study = stubs(dict.fromkeys("abc", ""))
    queue = study.start()
    queue.stdout.close()
    queue.wait(timeout=60)
    assert all(study.record(name)["status"] == "done" for name in "abc")


def test_what_a_crashed_run_has_started_is_ended(stubs, tmp_path):
    study = stubs({"a": ""})
    script = f"sleep 300 & echo $! >> {tmp_path}/left; exit 1"
    study.queue(slots=1, command=lambda entry, resume: ["bash", "-c", script]).run()
    left = (tmp_path / "left").read_text().split()
    assert len(left) == 2
    wait_until(lambda: not any(lives(pid) for pid in left))
    assert json.loads((study.folder / "queue" / "a.json").read_text())["attempts"] == 2
