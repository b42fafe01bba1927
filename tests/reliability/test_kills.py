"""SIGKILL at random moments, resumed each time: little is lost, and the run ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openmix.engine.checkpoint import load_checkpoint
from openmix.engine.checkpoint_folder import CheckpointFolder

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / "tools"
INTERVAL = 2  # steps between checkpoints
SET = {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 104}
LOADERS: dict[str, dict[str, Any]] = {
    "torch": {"type": "TorchLoader", "num_workers": 2, "batch_size": 16, "dataset": SET},
    "resident": {"type": "ResidentLoader", "batch_size": 8, "dataset": SET},
}


def write_config(lab: Any, folder: Path, loader: str, max_iters: int) -> str:
    """Write a config whose steps and saves take long enough to be hit; its hook notes phases in its folder."""
    hooks = [{"type": "EMAHook", "momentum": 0.1}, {"type": "NotePhases", "folder": str(folder)}]
    return lab.write(
        folder,
        train_dataloader=LOADERS[loader],
        model={"backbone": {"type": "ConvNet", "widths": [48, 96], "in_channels": 1}},
        train_cfg={"max_epochs": None, "max_iters": max_iters, "val_interval": 7},
        default_hooks={"checkpoint": {"interval": INTERVAL, "by_epoch": False}, "logger": {"interval": 3}},
        custom_hooks=hooks,
        custom_imports={"imports": ["phases"], "allow_failed_imports": False},
    )


def note(folder: Path, rank: int = 0) -> tuple[int, str, int] | None:
    """Return which process noted last, what it is doing, and how many steps it has finished; None before the first."""
    try:
        pid, phase, step = (folder / f"phase{rank}").read_text().split()
        return int(pid), phase, int(step)
    except (FileNotFoundError, ValueError):  # not there, or being written
        return None


def children(pid: int) -> list[int]:
    """Return the processes that this one has started and that live."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], alive: Callable[[], bool] = lambda: True, within: float = 60) -> None:
    """Wait for something, and fail if it does not come while the process lives."""
    deadline = time.monotonic() + within
    while not condition():
        assert alive(), "the process ended by itself"
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)


class Killed:
    """A run that is killed again and again.

    Args:
        folder: of the config; the work dir is ``run`` in it.
        ranks: processes.
        seed: of the moments.
    """

    def __init__(self, folder: Path, ranks: int, seed: int = 0) -> None:
        self.folder, self.ranks, self.draw = folder, ranks, random.Random(seed)
        self.step = 0
        self.hits: list[str] = []
        self.orphans: list[int] = []

    def kill_once(self, aim: str, alive: Callable[[], bool], kill: Callable[[list[int]], Any]) -> None:
        """Wait for a random moment of the process that was started, kill it, and look at what it leaves.

        Args:
            aim: 'step' and 'save' wait for that phase after some steps; 'any' takes whatever comes.
            alive: whether it runs.
            kill: ends it, given the process ids of the ranks.
        """
        for_steps, delay = self.draw.randint(1, 4), self.draw.uniform(0, 0.3 if aim == "any" else 0.01)

        def due() -> bool:
            now = note(self.folder)
            return now is not None and now[1] != "start" and (
                aim == "any" or (now[1] == aim and now[2] >= self.step + for_steps)
            )  # fmt: skip

        wait_until(due, alive)
        time.sleep(delay)
        pids = [noted[0] for rank in range(self.ranks) if (noted := note(self.folder, rank))]
        self.orphans += [child for pid in pids for child in children(pid)]
        kill(pids)
        last = note(self.folder)
        assert last is not None
        self.hits.append(last[1])
        self.look(done=last[2])
        for rank in range(self.ranks):
            (self.folder / f"phase{rank}").unlink()

    def look(self, done: int) -> None:
        """Assert that what is left can be resumed, and has lost one interval of ``done`` steps at most."""
        checkpoints, warnings = CheckpointFolder(self.folder / "run" / "checkpoints"), list[str]()
        found = checkpoints.newest_good(warnings.append)
        assert warnings == []
        step = 0 if found is None else found[1]["step"]
        assert max(self.step, done - INTERVAL) <= step <= done
        if found is not None:
            assert step - INTERVAL <= load_checkpoint(checkpoints.folder / "last.pth")["step"] <= step
        self.step = step

    def no_worker_is_left(self) -> None:
        """Assert that the loaders' workers have ended after the processes that started them."""
        wait_until(lambda: not any(map(lives, self.orphans)), within=30)


def aims(kills: int) -> list[str]:
    """Return what the kills wait for: 2 in 5 for a step, 2 in 5 for a save, 1 in 5 for nothing."""
    return (["save", "step", "any", "step", "save"] * kills)[:kills]


@pytest.mark.parametrize(("loader", "ranks"), [("torch", 1), ("resident", 2)])
def test_three_kills(forks, lab, tmp_path, loader, ranks):
    """The quick version of the next one: processes are forked; every rank is killed, but not the loaders' workers."""
    path = write_config(lab, tmp_path, loader, max_iters=40)
    run = Killed(tmp_path, ranks)
    for aim in ("save", "step", "any"):
        started = forks.start_training([path, "--work-dir", tmp_path / "run", "--resume"], ranks)

        def kill(_: list[int], started: Any = started) -> None:
            for pid in started.pids:
                os.kill(pid, signal.SIGKILL)
            forks.wait(started)

        run.kill_once(aim, lambda started=started: all(map(lives, started.pids)), kill)
    assert forks.train(path, "--work-dir", tmp_path / "run", "--resume", ranks=ranks)[0] == 0
    assert forks.train(path, "--work-dir", tmp_path / "whole", ranks=ranks)[0] == 0
    lab.assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert run.step > 0
    run.no_worker_is_left()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("loader", "ranks"), [("torch", 1), ("resident", 2)])
def test_twenty_kills_of_the_scripts(lab, tmp_path, record_property, loader, ranks):
    """``train.py`` itself, or ``dist_train.sh``'s launcher with all that it started, or one of its workers."""
    path = write_config(lab, tmp_path, loader, max_iters=150)
    script = [sys.executable, str(TOOLS / "train.py")] if ranks == 1 else ["bash", str(TOOLS / "dist_train.sh")]
    command = [*script, path, *([str(ranks)] if ranks > 1 else [])]
    paths = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}

    def start(work_dir: str, *options: str) -> subprocess.Popen[bytes]:
        output = open(tmp_path / "output", "ab")  # noqa: SIM115  the process keeps it
        arguments = [*command, "--work-dir", str(tmp_path / work_dir), *options]
        with output:
            return subprocess.Popen(arguments, stdout=output, stderr=output, env=environment, start_new_session=True)

    run = Killed(tmp_path, ranks)
    for aim in aims(20):
        process = start("run", "--resume")
        whole_group = run.draw.random() < 0.5

        def kill(pids: list[int], process: Any = process, whole_group: bool = whole_group) -> None:
            if ranks == 1:
                process.kill()
            elif whole_group:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                os.kill(run.draw.choice(pids), signal.SIGKILL)
            assert process.wait(60) == (-signal.SIGKILL if ranks == 1 or whole_group else 128 + signal.SIGKILL)

        run.kill_once(aim, lambda process=process: process.poll() is None, kill)
    assert start("run", "--resume").wait(120) == 0, (tmp_path / "output").read_text()[-2000:]
    assert start("whole").wait(120) == 0
    lab.assert_same_run(tmp_path / "whole", tmp_path / "run")
    run.no_worker_is_left()
    hits = Counter(run.hits)
    record_property("phases hit", str(dict(hits)))
    print(f"phases hit with {ranks} process(es): {dict(hits)}")  # shown by -rP
    assert hits["step"] + hits["save"] >= 15, hits
    assert min(hits["step"], hits["save"]) >= 4, hits
