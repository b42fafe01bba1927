"""A study whose runs are stubs, and the queue over it: in this process, or in others."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openmix.results.grids.manifest import Entry, Manifest
from openmix.results.grids.queue import Queue
from openmix.results.grids.slots import cpu_slots

HERE = Path(__file__).parent
HASH = "a" * 16


def load(name):
    """Import a file of this folder, which no import path leads to."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Told:
    """A board that remembers."""

    def __init__(self):
        self.said, self.views = [], []

    def say(self, text):
        self.said.append(text)

    def show(self, view):
        self.views.append(view)


class StubStudy:
    """A study of stubs in a folder: by name, what goes wrong with each."""

    def __init__(self, folder, faults, epochs=2, seconds=0.05):
        self.folder, self.diary = folder, folder / "diary"
        (folder / "configs").mkdir(parents=True)
        for name, fault in faults.items():
            recipe = {"epochs": epochs, "seconds": seconds, "fault": fault}
            (folder / "configs" / f"{name}.py").write_text(json.dumps(recipe))
        entries = tuple(Entry(name, f"configs/{name}.py", f"runs/{name}", {"seed": 0}, HASH) for name in faults)
        self.manifest = Manifest(folder, "base.py", entries)
        (folder / "manifest.json").write_text(self.manifest.text())
        self.board = Told()

    def queue(self, slots=2, command=None):
        """Make a queue in this process."""
        command = command or load("queue_program").stub_command(self.manifest, self.diary)
        return Queue(self.manifest, self.manifest.entries, cpu_slots(slots, 1, 2), command, self.board)

    def start(self, slots=1):
        """Start a queue as a process."""
        program = [sys.executable, str(HERE / "queue_program.py"), str(self.folder), str(slots), str(self.diary)]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
        return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    def starts(self):
        """Return the names of the runs that began, in order, each with whether it was to resume."""
        return [(words[3], words[4:] == ["--resume"]) for words in self.words() if words[1] == "start"]

    def words(self):
        """Return the diary."""
        return [line.split() for line in self.diary.read_text().splitlines()] if self.diary.exists() else []

    def outcome(self, name):
        """Return what the queue's folder says of an entry."""
        return json.loads((self.folder / "queue" / f"{name}.json").read_text())

    def log(self, name):
        """Return what an entry's processes have printed."""
        return (self.folder / "queue" / f"{name}.log").read_text()

    def record(self, name):
        """Return an entry's ``run.json``."""
        return json.loads((self.folder / "runs" / name / "run.json").read_text())


@pytest.fixture
def stubs(tmp_path):
    """See :class:`StubStudy`."""
    return lambda faults, **options: StubStudy(tmp_path / "study", faults, **options)
