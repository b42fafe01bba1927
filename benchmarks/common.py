"""What every benchmark does alike: alternate the candidates, take medians, say where it ran."""

import json
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from openmix.bench.measure import take_turns
from openmix.bench.report import facts

__all__ = ["device_facts", "interleaved", "write_report"]


def device_facts() -> dict[str, Any]:
    """Return the machine, the versions and the commit."""
    return {**facts(torch.device("cpu")), "machine": platform.machine()}


def interleaved(candidates: Mapping[str, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """Time each candidate once a round, in turn, after a round that does not count; return medians and quartiles."""
    return [
        {
            "name": name,
            "median_s": statistics.median(s),
            "quartiles_s": statistics.quantiles(s, n=4)[::2],
            "rounds": len(s),
        }
        for name, s in take_turns(candidates, rounds).items()
    ]


def write_report(
    out: Path, title: str, about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]
) -> None:
    """Write the rows as JSON to ``out`` and as a Markdown table beside it, and print the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"title": title, **about, "rows": rows}, indent=2) + "\n")
    lines = [tuple(columns), tuple("---" for _ in columns)]
    lines += [tuple(_cell(row, column) for column in columns.values()) for row in rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = "\n".join(f"- {key}: {value}" for key, value in about.items())
    out.with_suffix(".md").write_text(f"# {title}\n\n{table}\n\n{notes}\n")
    print(f"{table}\n\nwrote {out}")


def _cell(row: Mapping[str, Any], column: Any) -> str:
    if isinstance(column, str):
        return str(row[column])
    key, factor, spec = column
    value = row[key]
    return " .. ".join(f"{v * factor:{spec}}" for v in value) if isinstance(value, list) else f"{value * factor:{spec}}"
