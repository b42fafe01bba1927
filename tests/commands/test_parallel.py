"""Processes of a command, and signals that come at the wrong moment."""

import multiprocessing
import os
import signal

import pytest

from openmix.commands import _parallel
from openmix.commands._parallel import Stopped, in_parallel, stopped_by_signals

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGTERM, Stopped), (signal.SIGUSR1, Stopped), (signal.SIGINT, KeyboardInterrupt)],
)
def test_a_signal_in_the_midst_of_a_fork_is_not_lost(number, expected):
    """Whatever a handler raises in one of Python's hooks around a fork, Python prints and drops."""
    sent = []

    def send() -> None:
        if not sent:
            sent.append(os.getpid())
            os.kill(os.getpid(), number)

    os.register_at_fork(before=send)
    try:
        with pytest.raises(expected), stopped_by_signals(), in_parallel(len, ["a"] * 40, 4) as outcomes:
            list(outcomes)
    finally:
        sent.append(0)
    assert sent[0] == os.getpid() and multiprocessing.active_children() == []


def test_one_that_comes_to_a_child_before_it_has_begun_does_not_end_it(monkeypatch):
    original = _parallel._work

    def work(*arguments) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        original(*arguments)

    monkeypatch.setattr(_parallel, "_work", work)
    with stopped_by_signals(), in_parallel(len, ["a", "bb", "ccc"], 2) as outcomes:
        assert sorted(outcome.result for outcome in outcomes) == [1, 2, 3]
