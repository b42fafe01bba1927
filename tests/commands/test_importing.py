"""Imports without a search for garbage: what it is afterwards."""

import gc
from typing import Any

import pytest

from openmix.commands import process
from openmix.commands._importing import Importing


@pytest.fixture
def frozen(monkeypatch) -> list[Any]:
    """Note calls of ``gc.freeze``, which would be for good."""
    calls: list[Any] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(gc.isenabled()))
    return calls


def test_nothing_is_collected_meanwhile(frozen):
    assert gc.isenabled()
    with Importing():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_import_that_fails_leaves_the_collector_on(frozen):
    with pytest.raises(ImportError), Importing():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off(frozen):
    gc.disable()
    try:
        with Importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("alone", [True, False])
def test_what_was_there_is_kept_for_good_only_in_a_process_of_the_command(alone, frozen, monkeypatch):
    """Before the collector is on again; a process that goes on may have garbage of its own."""
    monkeypatch.setattr(process, "ends_with_command", alone)
    with Importing():
        pass
    assert frozen == ([False] if alone else [])
