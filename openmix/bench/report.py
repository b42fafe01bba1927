"""What a benchmark leaves behind: JSON for programs, a Markdown table a part for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from openmix.engine.distributed import World
from openmix.engine.files import write_atomically, writing
from openmix.engine.records import describe_run, finite

__all__ = ["Bar", "Options", "Section", "facts", "write_report"]


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        device: where.
        data: the folder that holds ``cifar-10-batches-py``; None has the parts that want it measure synthetic images.
        quick: few rounds of little, to see that all works; such figures say nothing.
        say: called with a line for people before anything that takes long.
    """

    device: torch.device
    data: Path | None = None
    quick: bool = False
    say: Any = print


@dataclass(frozen=True)
class Bar:
    """What was to be shown, and whether it was.

    Attributes:
        text: what is bounded, and by what.
        value: what was measured.
        met: whether that is within the bound.
    """

    text: str
    value: str
    met: bool


@dataclass(frozen=True)
class Section:
    """One part's outcome.

    Attributes:
        name: the part's name on the command line.
        title: for people.
        how: what was measured against what, in sentences.
        columns: the Markdown table's headings, and which key of a row is below each; a number is shown by the format
            that may follow it, ``("ratio", ".3f")``.
        rows: one dict each; all of it goes into the JSON file.
        bars: what was to be shown.
    """

    name: str
    title: str
    how: str
    columns: Mapping[str, str | tuple[str, str]]
    rows: Sequence[Mapping[str, Any]]
    bars: Sequence[Bar] = field(default_factory=tuple)


def facts(device: torch.device) -> dict[str, Any]:
    """Return the machine, the versions, the commit and the date."""
    run = describe_run("", "", 0, World(device=device))
    return {key: run[key] for key in ("device", "threads", "versions", "git_commit")} | {
        "cores": torch.multiprocessing.cpu_count(),
        "date": run["start_time"],
    }


def markdown(section: Section) -> str:
    """Return a part as Markdown, bars first."""
    lines = [f"## {section.title}", "", section.how, ""]
    lines += [f"- {'met' if bar.met else '**missed**'}: {bar.text}: {bar.value}" for bar in section.bars]
    lines += [""] if section.bars else []
    lines += ["| " + " | ".join(section.columns) + " |", "|" + "---|" * len(section.columns)]
    lines += [
        "| " + " | ".join(_cell(row, column) for column in section.columns.values()) + " |" for row in section.rows
    ]
    return "\n".join(lines) + "\n"


def _cell(row: Mapping[str, Any], column: str | tuple[str, str]) -> str:
    key, spec = (column, "") if isinstance(column, str) else column
    value = row.get(key)
    return "" if value is None else f"{value:{spec}}"


def _note(value: Any) -> Any:
    return ", ".join(f"{name} {each}" for name, each in value.items()) if isinstance(value, Mapping) else value


def write_report(out: Path, sections: Sequence[Section], about: Mapping[str, Any]) -> None:
    """Write ``out`` as JSON and a Markdown page beside it, each in one step; ``about["warning"]`` heads the page.

    Raises:
        WriteError: they cannot be written.
    """
    content = finite({**about, "sections": [asdict(section) for section in sections]})
    warning = f"**{about['warning']}**\n\n" if "warning" in about else ""
    notes = "\n".join(f"- {key}: {_note(value)}" for key, value in about.items() if key != "warning")
    page = "# openmix bench\n\n" + warning + "\n".join(markdown(section) for section in sections) + f"\n{notes}\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in ((out, json.dumps(content, indent=1) + "\n"), (out.with_suffix(".md"), page)):
        with writing(path):
            write_atomically(path, lambda beside, text=text: beside.write_text(text))
