"""Runs the queue over a study of stubs, as ``openmix grid run`` does over one of runs: STUDY SLOTS DIARY.

It needs nothing of torch, whose import takes seconds: an empty module stands in for it.
"""

import sys
import types
from pathlib import Path

if __name__ == "__main__":
    sys.modules["torch"] = types.ModuleType("torch")

from openmix.results.grids.board import board
from openmix.results.grids.manifest import Manifest
from openmix.results.grids.queue import Queue
from openmix.results.grids.slots import cpu_slots

STUB = Path(__file__).with_name("stub_run.py")


def stub_command(manifest, diary):
    """Return what makes the command lines of stubs."""

    def command(entry, resume):
        places = [str(manifest.config(entry)), str(manifest.work_dir(entry)), entry.config_hash, str(diary)]
        return [sys.executable, "-S", str(STUB), *places, *(["--resume"] if resume else [])]

    return command


if __name__ == "__main__":
    study, slots, diary = sys.argv[1:]
    manifest = Manifest.read(Path(study))
    with board() as shown:
        queue = Queue(manifest, manifest.entries, cpu_slots(int(slots), 1, 2), stub_command(manifest, diary), shown)
        stop = queue.run()
    ended = {name: outcome.status for name, outcome in queue.ended.items()}
    print(f"ended: {ended}", flush=True)
    sys.exit(stop.exit_code if len(ended) < len(manifest.entries) else int("failed" in ended.values()))
