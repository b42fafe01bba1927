"""Stop signals are remembered, and what handled them before does so again."""

import os
import signal
import time

import pytest

from openmix.engine.signals import STOP_SIGNALS, StopRequest


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_signal_is_remembered_and_the_handler_restored(number):
    heard = []
    before = signal.signal(number, lambda *a: heard.append(a))
    try:
        with StopRequest() as stop:
            assert not stop.agreed()
            os.kill(os.getpid(), number)
            time.sleep(0)
            assert stop.agreed()
            assert stop.agreed()
            assert heard == []
        os.kill(os.getpid(), number)
        time.sleep(0)
        assert len(heard) == 1
    finally:
        signal.signal(number, before)


def test_handlers_are_restored_after_an_error():
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    with pytest.raises(ZeroDivisionError), StopRequest():
        _ = 1 / 0
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == before
