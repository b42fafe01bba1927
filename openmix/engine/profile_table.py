"""What was seen of some steps as a table: phases, kernels, operators, memory."""

import bisect
import io
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console, Group
from rich.table import Table

from openmix.engine.phases import LOOP, OCCASIONAL, PHASES

__all__ = ["ProfiledSteps", "as_table", "as_text", "describe", "kernel_seconds"]

KERNELS = ("kernel", "gpu_memcpy", "gpu_memset")  # the categories of a trace's events that keep a GPU busy
LAUNCHES = ("cuda_runtime", "cuda_driver")
OPERATORS = 30  # as many are kept, the longest first


@dataclass
class ProfiledSteps:
    """What was seen of some steps.

    Attributes:
        device: what computed them, by name.
        on_gpu: whether that is a GPU, which the host does not wait for.
        images: of one step, over all processes.
        seconds: of each step that was timed.
        phases: seconds and calls of these steps by phase.
        traced: how many steps torch's profiler recorded.
        trace: their events as Chrome has them; needed of a GPU.
        memory: the most that has been taken so far, in bytes, by ``process`` and, on it, ``gpu``.
    """

    device: str
    on_gpu: bool
    images: int
    seconds: list[float] = field(default_factory=list)
    phases: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    traced: int = 0
    trace: Sequence[Mapping[str, Any]] = ()
    memory: Mapping[str, float] = field(default_factory=dict)


def describe(seen: ProfiledSteps, operators: Iterable[Any], last: int) -> dict[str, Any]:
    """Return plain data for a file or a table.

    Args:
        seen: the steps.
        operators: torch.profiler's ``key_averages()``.
        last: the last step that was recorded, counted from 1.

    Returns:
        All times are in milliseconds and for one step, but for those of ``besides``, which are for one time. ``ms`` of
        ``phases`` is the host's time and sums to ``step_ms``; ``kernel_ms`` is how long a GPU computed what the host
        asked for meanwhile.
    """
    timed, on_gpu = len(seen.seconds), seen.on_gpu
    step = sum(seconds for phase, (seconds, _) in seen.phases.items() if phase not in OCCASIONAL) / timed
    kernels = kernel_seconds(seen.trace)
    phases = []
    for phase in PHASES:
        seconds, calls = seen.phases.get(phase, (0.0, 0))
        if phase in OCCASIONAL or not (seconds or phase in kernels):
            continue
        row = {"phase": phase, "ms": 1000 * seconds / timed, "share": seconds / timed / step, "calls": calls / timed}
        phases.append({**row, "kernel_ms": 1000 * kernels[phase] / seen.traced} if on_gpu else row)
    besides = [
        {"what": phase, "times": times, "ms": 1000 * seconds / times}
        for phase in OCCASIONAL
        for seconds, times in [seen.phases.get(phase, (0.0, 0))]
        if times
    ]
    return {
        "device": seen.device,
        "timed_steps": timed,
        "traced_steps": [last - seen.traced + 1, last],
        "images": seen.images,
        "step_ms": 1000 * step,
        "step_ms_median": 1000 * statistics.median(seen.seconds),
        "images_per_s": seen.images / step,
        "phases": phases,
        "besides": besides,
        "operators": _operators(operators, seen.traced, on_gpu),
        "memory_mb": {what: taken / 1e6 for what, taken in seen.memory.items()},
    }


def kernel_seconds(trace: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Return for how long a GPU computed by phase: a kernel belongs to the phase in which the host asked for it.

    Whichever thread asked: the backward pass of a GPU is a thread's of its own, while the loop waits for that. Kernels
    that ran at the same time count each.

    Args:
        trace: events as torch.profiler writes them: phases are user annotations, kernels and their launches are
            connected by a correlation number, times are in microseconds.
    """
    found: Counter[str] = Counter()
    begun = sorted(
        (e["ts"], -e["dur"], e["name"]) for e in trace if e.get("cat") == "user_annotation" and e["name"] in PHASES
    )
    changes: list[tuple[float, str]] = []
    open_phases: list[tuple[float, str]] = []
    for start, minus_duration, phase in [*begun, (float("inf"), 0.0, LOOP)]:
        while open_phases and open_phases[-1][0] <= start:
            end, _ = open_phases.pop()
            changes.append((end, open_phases[-1][1] if open_phases else LOOP))
        open_phases.append((start - minus_duration, phase))
        changes.append((start, phase))
    moments = [moment for moment, _ in changes]
    launched = {e["args"]["correlation"]: e["ts"] for e in trace if e.get("cat") in LAUNCHES}
    for event in trace:
        moment = launched.get(event.get("args", {}).get("correlation")) if event.get("cat") in KERNELS else None
        if moment is not None:
            place = bisect.bisect_right(moments, moment)
            found[changes[place - 1][1] if place else LOOP] += event["dur"] / 1e6
    return found


def _operators(operators: Iterable[Any], steps: int, on_gpu: bool) -> list[dict[str, Any]]:
    """Return the operators that take longest by themselves, without what they call."""
    rows = []
    for operator in operators:
        marks = operator.key in PHASES or operator.key.startswith("ProfilerStep")
        if marks or operator.device_type != torch.autograd.DeviceType.CPU:
            continue
        row = {
            "name": operator.key,
            "calls": operator.count / steps,
            "self_ms": operator.self_cpu_time_total / 1000 / steps,
        }
        rows.append({**row, "kernel_ms": operator.self_device_time_total / 1000 / steps} if on_gpu else row)
    return sorted(rows, key=lambda row: row["kernel_ms" if on_gpu else "self_ms"], reverse=True)[:OPERATORS]


def as_table(table: Mapping[str, Any], top: int = 10) -> Group:
    """Return what :func:`describe` says for a terminal.

    Args:
        table: as described.
        top: how many operators to show.
    """
    on_gpu = "kernel_ms" in table["phases"][0]
    phases = Table()
    phases.add_column("phase")
    headings = ("ms", "% of the step", "calls", *(["kernels, ms"] if on_gpu else []))
    for heading in headings:
        phases.add_column(heading, justify="right")
    for row in table["phases"]:
        kernels = [f"{row['kernel_ms']:.3f}"] if on_gpu else []
        calls = f"{row['calls']:.4g}" if row["calls"] else ""
        phases.add_row(row["phase"], f"{row['ms']:.3f}", f"{100 * row['share']:.1f}", calls, *kernels)
    kernels = [f"{sum(row['kernel_ms'] for row in table['phases']):.3f}"] if on_gpu else []
    phases.add_section()
    phases.add_row("a step", f"{table['step_ms']:.3f}", "100.0", "", *kernels, style="bold")
    lines = [
        f"{table['images_per_s']:,.0f} images/s, {table['images']:,} a step; the median step takes "
        f"{table['step_ms_median']:.3f} ms",
        "at most " + ", ".join(f"{mb:,.0f} MB of {_OF[name]}" for name, mb in table["memory_mb"].items()),
    ]
    lines += [f"besides: {row['what']}, {row['times']} x {row['ms']:.3f} ms" for row in table["besides"]]
    first, last = table["traced_steps"]
    what = "kernels, ms" if on_gpu else "self, ms"
    operators = Table()
    operators.add_column("operator", overflow="fold")
    for heading in (what, *(["self, ms"] if on_gpu else []), "calls"):
        operators.add_column(heading, justify="right")
    for row in table["operators"][:top]:
        times = [row["kernel_ms"], row["self_ms"]] if on_gpu else [row["self_ms"]]
        operators.add_row(row["name"], *(f"{ms:.3f}" for ms in times), f"{row['calls']:.4g}")
    return Group(
        f"{table['timed_steps']} steps on {table['device']}", phases, *lines,
        "", f"operators of steps {first} to {last} by torch's profiler, which slows short ones", operators,
    )  # fmt: skip


_OF = {"process": "the process's memory", "gpu": "the GPU's memory"}


def as_text(table: Mapping[str, Any]) -> str:
    """Return :func:`as_table` as plain text, with all operators that were kept."""
    console = Console(file=io.StringIO(), width=100, no_color=True, force_terminal=False, highlight=False)
    console.print(as_table(table, OPERATORS))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
