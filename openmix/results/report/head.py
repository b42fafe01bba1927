"""What was compared: data, networks, runs, code and versions, and the runs that are in no mean."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from openmix.results.naming import short_commit
from openmix.results.published.names import DATASETS, NETWORKS
from openmix.results.report.markup import Element, element
from openmix.results.rows import Table
from openmix.results.runs import Run

__all__ = ["head", "troubles"]

MOST_NAMED = 12  # of seeds, commits and so on


def head(table: Table) -> Element:
    """Return the list of what all the runs have in common, and of what they have not."""
    labels = [row.group.label for row in table.rows]
    runs = [member.run for row in table.rows for member in row.group.members]
    facts = {
        "data set": _named(DATASETS.get(label.dataset, label.dataset) for label in labels),
        "network": _named(NETWORKS.get(label.network, label.network) for label in labels),
        "method": _named(label.method for label in labels),
        "epochs": _named("not given in epochs" if label.epochs is None else f"{label.epochs:,}" for label in labels),
        "figure": f"{table.metric} of the validation set",
        "images validated on": _named(_images(runs)),
        "runs": _counts(table),
        "seeds": _named(str(run.seed) for run in runs),
        "dates": _dates(runs),
        "commit": _counted(_commit(run.record) for run in runs),
        "device": _counted(_device(run.record) for run in runs),
        **_versions(runs),
    }
    pairs = [(element("dt", None, name), element("dd", None, text)) for name, text in facts.items() if text]
    return element("dl", {"class": "facts"}, *(element("div", None, *pair) for pair in pairs))


def troubles(table: Table) -> Element | None:
    """Return the list of runs that are in no mean or diverged, each with its reason; None without any."""
    items = [_item(str(run.folder), run.state, run.reason) for run in table.left_out]
    for row in table.rows:
        for member in row.group.members:
            if member.summary.diverged:
                items.append(_item(str(member.run.folder), "diverged", f"counted in {row.group.name}"))
    if not items:
        return None
    count = Counter([run.state for run in table.left_out] + ["diverged"] * sum(row.diverged for row in table.rows))
    summary = ", ".join(f"{number} {state}" for state, number in sorted(count.items()) if number)
    title = element("summary", None, element("b", None, "Unfinished, failed and diverged runs"), f": {summary}")
    opened = True if len(items) <= MOST_NAMED else None
    return element("details", {"class": "troubles", "open": opened}, title, element("ul", None, *items))


def _item(folder: str, state: str, reason: str) -> Element:
    return element(
        "li", None, element("b", {"class": "state"}, state), " ", element("code", None, folder), f": {reason}"
    )


def _named(texts: Iterable[str]) -> str:
    names = list(dict.fromkeys(texts))
    names = sorted(names, key=lambda name: int(name.replace(",", ""))) if all(map(_is_number, names)) else names
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _is_number(text: str) -> bool:
    return text.replace(",", "").isascii() and text.replace(",", "").isdecimal() and len(text) < 20


def _counted(texts: Iterable[str]) -> str:
    """Name each with its number of runs, or the only one without."""
    count = Counter(texts)
    if len(count) == 1:
        return next(iter(count))
    return _named(f"{text} ({n} run{'s' * (n > 1)})" for text, n in count.most_common())


def _images(runs: Sequence[Run]) -> Iterable[str]:
    return (
        f"{run.validations[-1]['n']:,}" for run in runs if run.validations and _is_int(run.validations[-1].get("n"))
    )


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _counts(table: Table) -> str:
    counted = sum(len(row.group.members) for row in table.rows)
    left = f"; {len(table.left_out):,} more in no mean" if table.left_out else ""
    return f"{counted:,} in {len(table.rows):,} group{'' if len(table.rows) == 1 else 's'}{left}"


def _dates(runs: Sequence[Run]) -> str:
    """Return the first and the last day on which a run began or ended."""
    moments = (run.record.get(key) for run in runs for key in ("start_time", "end_time"))
    days = sorted({moment[:10] for moment in moments if isinstance(moment, str) and moment})
    return "" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _commit(record: Mapping[str, Any]) -> str:
    return short_commit(record.get("git_commit") or "unknown")


def _device(record: Mapping[str, Any]) -> str:
    return f"{record.get('world_size', '?')} x {record.get('device', 'unknown')}, threads: {record.get('threads', '?')}"


def _versions(runs: Sequence[Run]) -> dict[str, str]:
    """Return the versions of what every run needs, and of what differs between runs."""
    records = [run.record.get("versions") for run in runs]
    known = [record for record in records if isinstance(record, Mapping)]
    found = {name: list(dict.fromkeys(str(r.get(name, "none")) for r in known)) for r in known for name in r}
    shown = {name: _named(v) for name, v in found.items() if name in ("openmix", "python", "torch") or len(v) > 1}
    return {"versions": ", ".join(f"{name} {text}" for name, text in shown.items())} if shown else {}
