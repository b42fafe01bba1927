"""Plays ``openmix train`` for the queue's tests: leaves what a run leaves, in a fraction of a second, without torch.

    python stub_run.py CONFIG WORK_DIR HASH DIARY [--resume]

CONFIG is JSON: ``epochs``, ``seconds`` an epoch, and ``fault``, what is to go wrong. DIARY gets a line as it begins and
one as it ends. Like a run it saves and leaves with 75 on SIGTERM, and holds its work dir's lock.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path


def main(config, work_dir, config_hash, diary, resume=""):
    """Play a run."""
    recipe, work_dir = json.loads(Path(config).read_text()), Path(work_dir)
    fault = recipe.get("fault", "")
    signal.signal(signal.SIGTERM, (lambda *_: None) if fault == "deaf" else lambda *_: leave(75))
    work_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(work_dir / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        leave_saying(2, f"error: another run is writing to {work_dir}")
    (work_dir / ".owner").write_text(f"process {os.getpid()} on here\n")
    note = f"{os.getpid()} {Path(config).stem}"
    write(diary, f"{time.monotonic()} start {note} {resume}")
    first = epochs_in(work_dir) if resume else 0
    record(work_dir, config_hash, "running")
    (work_dir / "config.py").write_text(f"train_cfg = {{'max_epochs': {recipe['epochs']}}}\n")
    try:
        if first == 0:
            (work_dir / "metrics.jsonl").write_text("")
        for epoch in range(first + 1, recipe["epochs"] + 1):
            time.sleep(recipe["seconds"])
            write(work_dir / "metrics.jsonl", json.dumps({"split": "val", "epoch": epoch, "step": epoch, "top1": 90.0}))
            go_wrong(fault, work_dir)
        record(work_dir, config_hash, "done")
    except SystemExit as leaving:
        record(work_dir, config_hash, "stopped" if leaving.code == 75 else "failed")
        raise
    finally:
        (work_dir / ".owner").unlink()
        write(diary, f"{time.monotonic()} end {note}")


def go_wrong(fault, work_dir):
    """Do what the recipe says, after an epoch."""
    once = work_dir / "crashed"
    if fault == "crash" or (fault == "crash once" and not once.exists()):
        once.touch()
        print("Traceback (most recent call last):\n  ...\nRuntimeError: boom\nlast words", file=sys.stderr, flush=True)
        leave(1)
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "wrong":
        leave_saying(2, "error: config.py: model.alhpa: unknown; did you mean 'alpha'?")
    if fault == "stop once" and not once.exists():
        once.touch()
        leave(75)


def leave(code):
    """Leave through the handlers of exceptions."""
    raise SystemExit(code)


def leave_saying(code, text):
    """Say why, and leave."""
    print(text, file=sys.stderr, flush=True)
    leave(code)


def epochs_in(work_dir):
    """Return how many epochs lie there."""
    try:
        return len((work_dir / "metrics.jsonl").read_text().splitlines())
    except FileNotFoundError:
        return 0


def record(work_dir, config_hash, status):
    """Write ``run.json`` in one step."""
    beside = work_dir / f".run.json.{os.getpid()}.tmp"
    beside.write_text(json.dumps({"config_hash": config_hash, "status": status, "start_time": time.monotonic()}))
    beside.replace(work_dir / "run.json")


def write(path, line):
    """Add a line in one step."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
