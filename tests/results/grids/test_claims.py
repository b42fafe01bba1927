"""A claim is one process's, or that of the one that it started; and filelock's locks are seen."""

import errno
import fcntl
import os
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from openmix.errors import UserError
from openmix.results.grids.claims import Claim, is_locked, owner_of

SLEEPER = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]


def test_a_claim_is_taken_once_and_can_be_given_back(tmp_path):
    claim = Claim.take(tmp_path / "lock")
    assert Claim.take(tmp_path / "lock") is None
    assert is_locked(tmp_path / "lock")
    claim.release()
    assert not is_locked(tmp_path / "lock")
    Claim.take(tmp_path / "lock").release()


def test_a_process_that_inherits_it_keeps_it(tmp_path):
    claim = Claim.take(tmp_path / "lock")
    with subprocess.Popen(SLEEPER, stdin=subprocess.PIPE, pass_fds=(claim.descriptor,)) as child:
        os.close(claim.descriptor)  # as when this process is killed
        assert is_locked(tmp_path / "lock")
        assert Claim.take(tmp_path / "lock") is None
        child.communicate()
    assert not is_locked(tmp_path / "lock")


def test_giving_back_does_not_wait_for_those_who_inherited_it(tmp_path):
    claim = Claim.take(tmp_path / "lock")
    with subprocess.Popen(SLEEPER, stdin=subprocess.PIPE, pass_fds=(claim.descriptor,)) as child:
        claim.release()
        assert not is_locked(tmp_path / "lock")
        child.communicate()


def test_another_process_does_not_inherit_it_by_chance(tmp_path):
    claim = Claim.take(tmp_path / "lock")
    with subprocess.Popen(SLEEPER, stdin=subprocess.PIPE, close_fds=False) as child:
        os.close(claim.descriptor)
        deadline = time.monotonic() + 10  # a child may be seen a moment before the system has closed its files
        while is_locked(tmp_path / "lock") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_locked(tmp_path / "lock")
        child.communicate()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match="has no file locks, and a queue needs them"):
        Claim.take(tmp_path / "lock")


def test_a_lock_file_that_cannot_be_made_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*lock: No such file or directory"):
        Claim.take(tmp_path / "gone" / "lock")


def test_the_owner_of_a_work_dir_is_whoever_trains_there(tmp_path):
    """The engine locks with filelock, and leaves its name behind when it is killed."""
    assert owner_of(tmp_path / "none") == ""
    lock = FileLock(tmp_path / ".lock")
    with lock:
        (tmp_path / ".owner").write_text("process 7 on node1\n")
        assert owner_of(tmp_path) == "process 7 on node1"
    assert owner_of(tmp_path) == ""
    assert not is_locked(tmp_path / "no such file")
    assert not (tmp_path / "no such file").exists()
