"""What a run reports: averages over the log interval, to ``metrics.jsonl``, the visualizer and the terminal."""

import contextlib
import logging
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.visualization import Visualizer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from openmix.engine.distributed import World, sum_over_ranks
from openmix.engine.files import writing
from openmix.engine.records import MetricsFile
from openmix.errors import UserError

__all__ = ["Averages", "Reporter", "open_logger"]


# what mmengine's visualizer backends import when they are first written to
PACKAGES = {
    "AimVisBackend": "aim",
    "ClearMLVisBackend": "clearml",
    "DVCLiveVisBackend": "dvclive",
    "MLflowVisBackend": "mlflow",
    "NeptuneVisBackend": "neptune",
    "TensorboardVisBackend": "tensorboard",
    "WandbVisBackend": "wandb",
}


class Averages:
    """Means of the tasks' reports since the last record, kept on the device until they are read.

    Args:
        world: the processes whose reports are averaged.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.count = 0
        self.on_cpu = world.device.type == "cpu"
        self.totals: list[Any] = []  # numbers on a CPU, which has them at hand, else 0-d tensors

    def add(self, report: Sequence[Tensor]) -> None:
        """Take in one step's report, 0-d tensors."""
        values = [value.item() if self.on_cpu else value.float() for value in report]
        if len(self.totals) != len(values):  # a resumed task may report more than before
            self.totals, self.count = values if self.on_cpu else [value.clone() for value in values], 0
        elif self.on_cpu:
            self.totals = [total + value for total, value in zip(self.totals, values, strict=True)]
        else:
            torch._foreach_add_(self.totals, values)
        self.count += 1

    def pop(self) -> list[float]:
        """Return the means over steps and processes, and begin anew. Waits for the device."""
        means = sum_over_ranks(self._sums()) / (self.count * self.world.size)
        self.totals, self.count = [], 0
        return means.tolist()

    def _sums(self) -> Tensor:
        return torch.tensor(self.totals, dtype=torch.float64) if self.on_cpu else torch.stack(self.totals)

    def state_dict(self) -> dict[str, Any]:
        """Return every process's running total, so that an interval that was cut in two is averaged as a whole."""
        if not self.totals:
            return {"count": 0, "totals": None}
        own = self._sums()
        totals = own.new_zeros(self.world.size, len(own))
        totals[self.world.rank] = own
        return {"count": self.count, "totals": sum_over_ranks(totals).cpu()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore this process's total; with another number of processes, its share of the whole."""
        totals, self.count = state["totals"], state["count"]
        if totals is None:
            self.totals = []
            return
        own = totals[self.world.rank] if len(totals) == self.world.size else totals.mean(0)
        self.totals = own.tolist() if self.on_cpu else list(own.float().to(self.world.device).unbind())


class Reporter:
    """Writes records on rank 0 and shows progress: a bar on a terminal, plain lines elsewhere.

    Args:
        work_dir: where ``metrics.jsonl`` and the visualizer's files go.
        vis_backends: mmengine's visualizer backends, as dicts.
        world: only its rank 0 reports.
        logger: for lines.
        console: the terminal.
    """

    def __init__(
        self, work_dir: Path, vis_backends: Sequence[Any], world: World, logger: logging.Logger, console: Console
    ) -> None:
        for backend in vis_backends:
            package = PACKAGES.get(backend["type"])
            if package is not None and find_spec(package) is None:
                raise UserError(f"vis_backends: {backend['type']} needs the package {package}; install it with pip")
        self.logger = logger
        self.enabled = world.is_main
        self.metrics = MetricsFile(work_dir / "metrics.jsonl")
        self.visualizer = (
            Visualizer(name=str(work_dir), vis_backends=[dict(b) for b in vis_backends], save_dir=str(work_dir))
            if vis_backends and world.is_main
            else None
        )
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(
            *columns, TextColumn("{task.fields[rate]}"), console=console, disable=not console.is_terminal
        )
        self._event_writers: list[Any] = []  # TensorBoard's, which write every two minutes of themselves
        self._bar = self.progress.add_task("training", total=None, rate="", visible=False)

    def start(self, step: int, max_iters: int) -> None:
        """Begin to show progress."""
        if self.enabled:
            self._began, self._first = time.perf_counter(), step
            self._open_visualizer()
            self.progress.reset(self._bar, total=max_iters, completed=step, visible=True)
            self.progress.start()

    def _open_visualizer(self) -> None:
        """Begin the backends' files and connections now, not at the first record."""
        for backend in [] if self.visualizer is None else self.visualizer._vis_backends.values():
            try:
                with writing(self.metrics.path.parent / "vis_data"):
                    experiment = backend.experiment
            except ImportError as error:
                raise UserError(f"vis_backends: {type(backend).__name__} cannot be used: {error}") from error
            if hasattr(experiment, "flush"):
                self._event_writers.append(experiment)

    def stop(self) -> None:
        """Take the bar away and close the visualizer's files."""
        self.progress.stop()
        if self.visualizer is not None:
            with contextlib.suppress(OSError):  # a full disk has been reported by now, and ends the run
                self.visualizer.close()

    def close(self) -> None:
        """Close the log file."""
        for handler in self.logger.handlers:
            with contextlib.suppress(OSError):
                handler.close()

    def advance(self) -> None:
        """Count a step on the bar."""
        if not self.progress.disable:
            self.progress.advance(self._bar)

    def train(self, record: dict[str, Any], max_epochs: int, max_iters: int, aloud: bool) -> None:
        """Write a training record, move the bar's figures on and, if ``aloud``, print a line."""
        if not self.enabled:
            return
        self._write(record)
        rate, step = record["images_per_s"], record["step"]
        seconds = (time.perf_counter() - self._began) / max(step - self._first, 1) * (max_iters - step)
        where, speed = f"epoch {record['epoch']}/{max_epochs}", f"{rate:,.0f} images/s"
        self.progress.update(self._bar, description=where, rate=speed)
        if not aloud:
            return
        shown = ", ".join(f"{k} {v:.4g}" for k, v in record.items() if k not in SHOWN_ELSEWHERE)
        self.logger.info("%s, step %s/%s: %s, %s, ETA %s", where, step, max_iters, shown, speed, _duration(seconds))

    def val(self, record: dict[str, Any], best: bool) -> None:
        """Write a validation record."""
        if not self.enabled:
            return
        self._write(record)
        self.logger.info("epoch %s: %s%s", record["epoch"], spell_metrics(record), " (best so far)" if best else "")

    def _write(self, record: dict[str, Any]) -> None:
        self.metrics.append(record)
        if self.visualizer is not None:
            scalars = {f"{record['split']}/{k}": v for k, v in record.items() if k not in ("split", "epoch", "step")}
            with writing(self.metrics.path.parent / "vis_data"):
                self.visualizer.add_scalars(scalars, step=record["step"])
                for writer in self._event_writers:
                    writer.flush()  # else the last two minutes would be lost in a crash


SHOWN_ELSEWHERE = ("split", "epoch", "step", "images_per_s", "time_s")


def spell_metrics(metrics: Mapping[str, Any]) -> str:
    """Return an evaluation's figures as a line for people."""
    damaged = f", {metrics['damaged']} of them damaged and replaced" if metrics.get("damaged") else ""
    others = "".join(f"{name} {value:.2f} %, " for name, value in metrics.items() if name.startswith("top1_"))
    return (
        f"top1 {metrics['top1']:.2f} %, {others}top5 {metrics['top5']:.2f} %, nll {metrics['nll']:.4f}, "
        f"ece {metrics['ece']:.4f} over {metrics['n']:,} images{damaged}"
    )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


class _AboveTheBar(logging.Handler):
    """Prints lines where a progress bar is shown, without tearing it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.print(self.format(record), markup=False)


class _LogFile(logging.FileHandler):
    """A log file that is handed to the system line by line, and says once if it cannot be written to."""

    _failed = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._failed:
            try:
                super().emit(record)  # opens the file at the first line
            except OSError:
                self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        self._failed = True
        error = sys.exc_info()[1]
        reason = error.strerror if isinstance(error, OSError) else error
        print(f"cannot write {self.baseFilename}: {reason}; no more lines go there", file=sys.stderr)


def open_logger(work_dir: Path | None, world: World, quiet: bool = False) -> tuple[logging.Logger, Console]:
    """Return a logger to the terminal and, with a work dir, to ``train.log``; and the console that it shares.

    Rank 0 speaks for all, and ``quiet`` keeps it from the terminal. Of the others the terminal has errors alone, each
    with its process and machine, and ``train_rank1.log`` warnings too. A file is opened at its first line.
    """
    console = Console(file=sys.stdout, soft_wrap=True, highlight=False, quiet=quiet)
    logger = logging.Logger("openmix", logging.INFO)
    if not world.is_main:
        errors = logging.StreamHandler()
        errors.setLevel(logging.ERROR)
        errors.setFormatter(logging.Formatter(f"process {world.rank} of {world.size} on {HOST}: %(message)s"))
        logger.addHandler(errors)
        logger.setLevel(logging.WARNING)
        if work_dir is not None:
            logger.addHandler(_log_file(work_dir / f"train_rank{world.rank}.log", f"{HOST} "))
        return logger, Console(quiet=True, file=sys.stdout, force_terminal=False)
    if not quiet:
        handler = _AboveTheBar(console) if console.is_terminal else logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
    if work_dir is not None:
        logger.addHandler(_log_file(work_dir / "train.log"))
    return logger, console


HOST = socket.gethostname()


def _log_file(path: Path, where: str = "") -> logging.Handler:
    file = _LogFile(path, delay=True)
    file.setFormatter(logging.Formatter(f"%(asctime)s {where}%(levelname)s %(message)s"))
    return file
