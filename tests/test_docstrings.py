"""Every example in a docstring prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import openmix

MODULES = sorted(m.name for m in pkgutil.walk_packages(openmix.__path__, "openmix."))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    count = sum(bool(t.examples) for name in MODULES for t in finder.find(importlib.import_module(name)))
    assert count > 30
