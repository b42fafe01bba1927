"""A hook that looks at a few steps of a run with torch's profiler, and says where their time goes."""

import gzip
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from openmix.engine.files import write_atomically, writing
from openmix.engine.records import device_name, write_json
from openmix.registry import HOOKS

__all__ = ["FOLDER", "ProfilerHook"]

FOLDER = "profile"  # in the work dir


@HOOKS.register_module()
class ProfilerHook(Hook):
    """Profiles some steps: a trace for Perfetto or Chrome, and a table of phases and operators, in ``profile/``.

    After ``wait`` steps it times ``timed`` of them by their phases alone, as torch's profiler slows short operations;
    then that profiler warms up for ``warmup`` steps and records ``active`` more. ``trace_step_N.json.gz``,
    ``table_step_N.txt`` and ``table_step_N.json`` are of the steps up to N. The run's numbers do not depend on it, and
    outside of these steps it costs nothing. A run that is resumed counts from where it goes on.

    Args:
        wait: steps to let pass first, at least 1, in which networks are compiled and kernels chosen. Default 10.
        timed: steps to time, at least 1. Default 20.
        warmup: steps for the profiler to warm up in, at least 1. Default 3.
        active: steps to record, at least 1. Each takes a megabyte or more of memory. Default 5.
        repeat: how often all of this is done. Default once.
        all_ranks: have every process write what it did, with its rank in the files' names. Default rank 0 alone.

    Raises:
        ValueError: a number below 1.
    """

    priority = "LOWEST"

    def __init__(
        self,
        wait: int = 10,
        timed: int = 20,
        warmup: int = 3,
        active: int = 5,
        repeat: int = 1,
        all_ranks: bool = False,
    ) -> None:
        numbers = {"wait": wait, "timed": timed, "warmup": warmup, "active": active, "repeat": repeat}
        for name, value in numbers.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        self.wait, self.timed, self.warmup, self.active, self.repeat = numbers.values()
        self.all_ranks = all_ranks
        self._left = 0  # cycles still to be done
        self._position = 0  # in a cycle: steps of it that have begun
        self._run, self._cycle = ExitStack(), ExitStack()  # what is to be undone after the run, and after a cycle

    @property
    def steps(self) -> int:
        """How many steps one cycle takes."""
        return self.wait + self.timed + self.warmup + self.active

    def before_train(self, runner: Any) -> None:
        """Begin to watch the loader, whose epochs cannot be watched once they have begun."""
        self._left = self.repeat if self.all_ranks or runner.rank == 0 else 0
        self._position = 0
        if self._left:
            from openmix.engine.marks import replaced, watched_loader  # here, as few runs have need of them
            from openmix.engine.phases import PhaseClock

            self._clock = PhaseClock(runner.world.device)
            self._run.enter_context(watched_loader(runner.train_dataloader, self._clock))
            self._run.enter_context(replaced(runner, "_train_epoch", self._undone_by_errors(runner._train_epoch)))

    def _undone_by_errors(self, train_epoch: Callable[[], None]) -> Callable[[], None]:
        """Return what trains an epoch and takes back what was put around the loop where that ends early."""

        def guarded() -> None:
            try:
                train_epoch()
            except BaseException:
                self._undo()
                raise

        return guarded

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Take notice of the step that has ended, and begin what is to begin with the next one."""
        if not self._left:
            return
        self._after_step()
        if self._position == self.steps:
            self._write(runner)
            self._left -= 1
            self._position = 0
            if not self._left:
                self._undo()
                return
        elif self._position > self.wait + self.timed:
            self._profile.step()
        self._begin_part(runner, data_batch)
        self._position += 1

    def _begin_part(self, runner: Any, data_batch: Any) -> None:
        """Begin what is to begin with the next step, if anything is."""
        if self._position == self.wait - 1:  # a step early: what is compiled may take notice of the marks
            from openmix.engine.marks import marked

            self._cycle.enter_context(marked(runner, self._clock))
        elif self._position == self.wait:
            from openmix.engine.profile_table import ProfiledSteps

            images = len(data_batch) * runner.accumulate * runner.world_size
            self._seen = ProfiledSteps(device_name(runner.world), runner.world.device.type == "cuda", images)
            self._clock.reset()
            self._total = 0.0
        elif self._position == self.wait + self.timed:
            self._seen.phases = self._clock.read()
            self._profile = self._cycle.enter_context(self._profiler(runner.world.device))
            self._clock.tracing = True

    def _after_step(self) -> None:
        """Count the step that has ended, if one has."""
        timed, traced = self._position - self.wait, self._position - self.wait - self.timed
        if 0 < timed <= self.timed:
            total = self._clock.total()
            self._seen.seconds.append(total - self._total)
            self._total = total
        if traced > self.warmup:
            self._seen.traced = traced - self.warmup

    def _profiler(self, device: torch.device) -> Any:
        from torch.profiler import ProfilerActivity, profile, schedule

        # else torch says on stderr what it begins and ends, and that a machine has no GPU
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        plan = schedule(wait=0, warmup=self.warmup, active=self.active, repeat=1)
        return profile(activities=activities, schedule=plan)

    def after_train(self, runner: Any) -> None:
        """Write what there is of a cycle that the run's end cut short, and leave nothing behind."""
        if self._left:
            self._after_step()
            if self._position > self.wait + self.timed + self.warmup:
                self._write(runner)
            else:
                runner.logger.warning(
                    "ProfilerHook: the run ended %s steps after it began to count, and wait, timed, warmup and a step "
                    "to record take %s: nothing more was written",
                    self._position, self.wait + self.timed + self.warmup + 1,
                )  # fmt: skip
        self._undo()

    def _undo(self) -> None:
        self._left = 0
        self._cycle.close()
        self._run.close()

    def _write(self, runner: Any) -> None:
        """End a cycle and write its files."""
        from openmix.engine.profile_table import as_text, describe

        self._clock.tracing = False
        self._cycle.close()
        folder = Path(runner.work_dir) / FOLDER
        name = f"step_{runner.iter}" + (f"_rank_{runner.rank}" if self.all_ranks and runner.world_size > 1 else "")
        seen = self._seen
        seen.memory = _most_memory(runner.world.device)
        with writing(folder), tempfile.TemporaryDirectory() as scratch:
            folder.mkdir(exist_ok=True)
            plain = Path(scratch) / "trace.json"
            self._profile.export_chrome_trace(str(plain))
            if seen.on_gpu:
                seen.trace = json.loads(plain.read_bytes())["traceEvents"]
            write_atomically(folder / f"trace_{name}.json.gz", lambda beside: _compress(plain, beside))
            table = describe(seen, self._profile.key_averages(), runner.iter)
            write_json(folder / f"table_{name}.json", table)
            write_atomically(folder / f"table_{name}.txt", lambda beside: beside.write_text(as_text(table)))
        runner.logger.info(
            "ProfilerHook: a step takes %.4g ms; where they go: %s/table_%s.txt in the work dir, and a trace beside it",
            1000 * statistics.fmean(seen.seconds), FOLDER, name,
        )  # fmt: skip


def _most_memory(device: torch.device) -> dict[str, float]:
    """Return the most bytes that the process, and its tensors on a GPU, have taken so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    memory = {"process": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)}
    return {**memory, "gpu": float(torch.cuda.max_memory_allocated(device))} if device.type == "cuda" else memory


def _compress(plain: Path, path: Path) -> None:
    with open(plain, "rb") as source, gzip.open(path, "wb", compresslevel=5) as target:
        shutil.copyfileobj(source, target)
