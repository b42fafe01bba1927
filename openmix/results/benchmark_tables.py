"""Tables in Markdown pages, made of the records in ``docs/benchmarks``: what stands between two marks is replaced.

A mark, on a line of its own, names a file of records, and what of it is shown::

    <!-- table: digits split=test baseline=vanilla -->
    <!-- end -->

``split=test`` keeps the rows that have this in their column, for any column; ``statistic`` is ``last`` (default),
``median_last10`` or ``best``; ``baseline`` is the method that others are compared with, none by default.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from openmix.errors import UserError
from openmix.results.benchmarks import COLUMNS, read_rows
from openmix.results.published.names import METHODS
from openmix.results.statistics import Interval, mean_interval, welch_interval
from openmix.results.summaries import STATISTICS

__all__ = ["fill", "table_of"]

MARK = re.compile(r"^<!-- table: (?P<spec>[^\n]*?) -->\n(?P<table>.*?)^<!-- end -->$", re.DOTALL | re.MULTILINE)
WORD = re.compile(r"(?P<key>\w+)=(?P<value>'[^']*'|\S+)")
# what the runs of one row have in common; a study's configs may be a file a seed, so that their hash comes first
SAME = ("dataset", "network", "method", "alpha", "mix_prob", "epochs", "world_size", "split", "study")


def fill(text: str, folder: Path) -> str:
    """Return a page with its tables made anew.

    Args:
        text: the page.
        folder: where the records are.

    Raises:
        UserError: a mark names no file of records, no column, or nothing that is there.
    """

    def table(match: re.Match[str]) -> str:
        return f"<!-- table: {match['spec']} -->\n{table_of(match['spec'], folder)}<!-- end -->"

    if len(re.findall("^<!-- table: ", text, re.MULTILINE)) != len(MARK.findall(text)):
        raise UserError("a mark '<!-- table: ... -->' without its '<!-- end -->'")
    return MARK.sub(table, text)


def table_of(spec: str, folder: Path) -> str:
    """Return the table that a mark asks for, with a sentence that says what its figures are; see :func:`fill`."""
    name, _, rest = spec.strip().partition(" ")
    wanted = {m["key"]: m["value"].strip("'") for m in WORD.finditer(rest)}
    statistic, baseline = wanted.pop("statistic", "last"), wanted.pop("baseline", None)
    path = folder / f"{name}.csv"
    if not path.is_file() or statistic not in STATISTICS or wanted.keys() - set(COLUMNS):
        raise UserError(f"the mark '<!-- table: {spec} -->' names no file, statistic or column that is there")
    rows = [row for row in read_rows(path) if all(row[key] == value for key, value in wanted.items())]
    groups = _groups(rows, statistic)
    if not groups:
        raise UserError(f"the mark '<!-- table: {spec} -->' asks for rows that {path} does not have")
    names = _names(groups, rows)
    first = next((values for key, values in groups.items() if names[key].split(",")[0] == baseline), None)
    head = [f"| method | n | top-1 (%) |{f' difference to {baseline} |' if first else ''}"]
    head.append(f"|---|---:|---:|{'---:|' if first else ''}")
    lines = [_line(names[key], values, first) for key, values in groups.items()]
    return "\n".join([*head, *lines, "", _sentence(rows, groups, statistic, first), ""])


def _same(row: Mapping[str, str]) -> tuple[str, ...]:
    return (*(row[key] for key in SAME[:-1]), row["study_hash"] or row["config"])


def _groups(rows: Sequence[Mapping[str, str]], statistic: str) -> dict[tuple[str, ...], dict[int, float]]:
    """Return figures by what runs have in common, by seed; of runs of the same seed the last one counts."""
    groups: dict[tuple[str, ...], dict[int, float]] = {}
    for row in sorted(rows, key=lambda row: row["date"]):
        if row[statistic]:
            groups.setdefault(_same(row), {})[int(row["seed"])] = float(row[statistic])
    methods = [*METHODS]
    order = {key: (methods.index(key[2]) if key[2] in methods else len(methods), key) for key in groups}
    return {key: dict(sorted(groups[key].items())) for key in sorted(groups, key=order.__getitem__)}


def _names(groups: Mapping[tuple[str, ...], object], rows: Sequence[Mapping[str, str]]) -> dict[tuple[str, ...], str]:
    """Return the method of each group, and behind it what else sets it apart, or its config's name if nothing does."""
    configs = {_same(row): PurePath(row["config"]).stem for row in reversed(rows)}
    names = {}
    for key in groups:
        like = [other for other in groups if other[2] == key[2]]
        varying = [i for i in range(len(SAME) - 1) if i != 2 and len({other[i] for other in like}) > 1]
        told = len({tuple(other[i] for i in varying) for other in like}) == len(like)
        words = [f"{SAME[i]} {key[i] or '-'}" for i in varying] if told else [configs[key]]
        names[key] = ", ".join([key[2], *words])
    return names


def _line(name: str, values: Mapping[int, float], baseline: Mapping[int, float] | None) -> str:
    known = list(values.values())
    spread = f" ± {statistics.stdev(known):.2f}" if len(known) > 1 else ""
    cells = [name, f"{len(known)}", f"{statistics.fmean(known):.2f}{spread}"]
    if baseline is not None:
        cells.append("" if values is baseline else _difference(values, baseline))
    return f"| {' | '.join(cells)} |"


def _difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> str:
    if values.keys() == baseline.keys():
        interval = mean_interval([value - baseline[seed] for seed, value in values.items()])
    else:
        interval = welch_interval(list(values.values()), list(baseline.values()))
    return _spelt(interval) + ("" if values.keys() == baseline.keys() else " w")


def _spelt(interval: Interval) -> str:
    if interval.half_width != interval.half_width:  # NaN: a single value
        return f"{interval.mean:+.2f}"
    low, high = interval.mean - interval.half_width, interval.mean + interval.half_width
    return f"{interval.mean:+.2f} ({low:+.2f} .. {high:+.2f})"


def _sentence(
    rows: Sequence[Mapping[str, str]],
    groups: Mapping[tuple[str, ...], Mapping[int, float]],
    statistic: str,
    baseline: object,
) -> str:
    """Say what the figures are, and of which code and machine."""
    seeds = sorted({seed for values in groups.values() for seed in values})
    facts = {key: ", ".join(sorted({row[key] for row in rows if row[key]})) for key in COLUMNS}
    images = ", ".join(f"{int(n):,}" if n.isdigit() else n for n in facts["n_images"].split(", "))
    said = f"Top-1 of the {STATISTICS[statistic]} on {images} images of the {facts['split']} split"
    said += f", epochs: {facts['epochs']}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    if len(seeds) > 1:
        said += "; mean ± sample standard deviation"
        said += ", differences seed by seed with the 95 % interval of Student's t" if baseline is not None else ""
    if baseline is not None and any(values.keys() != baseline.keys() for values in groups.values()):
        said += "; w: the seeds are not the same, difference of the means with Welch's interval"
    where = f"{facts['device']}, torch {facts['torch']}, threads: {facts['threads']}"
    commits = ", ".join(sorted({row["git_commit"][:10] for row in rows if row["git_commit"]}))
    return f"{said} ({where}; commit {commits})."
