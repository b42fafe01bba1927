"""What every benchmark does alike: alternate the candidates, take medians, say where it ran."""

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from openmix.engine.distributed import World
from openmix.engine.records import describe_run

__all__ = ["device_facts", "interleaved", "write_report"]


def device_facts() -> dict[str, Any]:
    """Return the machine, the versions and the commit."""
    run = describe_run("", "", 0, World())
    facts = {key: run[key] for key in ("device", "threads", "versions", "git_commit")}
    return {**facts, "cores": torch.multiprocessing.cpu_count(), "machine": platform.machine()}


def interleaved(candidates: Mapping[str, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """Time each candidate once a round, in turn, after a round that does not count; return medians and quartiles."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for i in range(rounds + 1):
        for name, run in candidates.items():
            began = time.perf_counter()
            run()
            if i:
                seconds[name].append(time.perf_counter() - began)
    return [
        {
            "name": name,
            "median_s": statistics.median(s),
            "quartiles_s": statistics.quantiles(s, n=4)[::2],
            "rounds": len(s),
        }
        for name, s in seconds.items()
    ]


def write_report(
    out: Path, title: str, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]
) -> None:
    """Write the rows as JSON to ``out`` and as a Markdown table beside it, and print the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"title": title, **facts, "rows": rows}, indent=2) + "\n")
    lines = [tuple(columns), tuple("---" for _ in columns)]
    lines += [tuple(_cell(row, column) for column in columns.values()) for row in rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = "\n".join(f"- {key}: {value}" for key, value in facts.items())
    out.with_suffix(".md").write_text(f"# {title}\n\n{table}\n\n{notes}\n")
    print(f"{table}\n\nwrote {out}")


def _cell(row: Mapping[str, Any], column: Any) -> str:
    if isinstance(column, str):
        return str(row[column])
    key, factor, spec = column
    value = row[key]
    return " .. ".join(f"{v * factor:{spec}}" for v in value) if isinstance(value, list) else f"{value * factor:{spec}}"
