"""Tables in Markdown pages, made of the records in ``docs/benchmarks``: what stands between two marks is replaced.

A mark, on a line of its own, names a file of records, and what of it is shown::

    <!-- table: digits split=test baseline=vanilla -->
    <!-- end -->

``split=test`` keeps the rows that have this in their column, for any column; ``statistic`` is ``last`` (default),
``median_last10`` or ``best``; ``baseline`` is the method that others are compared with, none by default, each with that
of its own data set, network, epochs, processes and split.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from openmix.errors import UserError, did_you_mean
from openmix.results.benchmarks import COLUMNS, read_rows, when
from openmix.results.differences import Difference, difference, spelt_mean
from openmix.results.naming import short_commit
from openmix.results.published.names import METHODS
from openmix.results.summaries import STATISTICS

__all__ = ["fill", "table_of"]

MARK = re.compile(r"^<!-- table: (?P<spec>[^\n]*?) -->\n(?P<table>.*?)^<!-- end -->$", re.DOTALL | re.MULTILINE)
WORD = re.compile(r"(?P<key>\w+)=(?P<value>'[^']*'|\S+)")
# what runs have in common that are compared; a column each where a table has several, and its head
SETTING = {
    "dataset": "data set", "network": "network", "epochs": "epochs", "world_size": "processes", "split": "split",
}  # fmt: skip
OF_METHOD = {"alpha": "alpha", "mix_prob": "probabilities"}  # what may set groups of one method apart
DIGITS = 2  # records are of top-1, in per cent
Record = Mapping[str, str]


@dataclass(frozen=True)
class _Group:
    """Rows of the same but for the seed: the one that counts for each seed, in order, and those that it repeats."""

    rows: Mapping[int, Record]
    repeated: Sequence[Record]
    statistic: str

    @property
    def first(self) -> Record:
        return next(iter(self.rows.values()))

    @property
    def method(self) -> str:
        return self.first["method"]

    @property
    def setting(self) -> tuple[str, ...]:
        return tuple(self.first[key] for key in SETTING)

    @property
    def values(self) -> dict[int, float]:
        return {seed: float(row[self.statistic]) for seed, row in self.rows.items()}


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
    path, mark = folder / f"{name}.csv", f"the mark '<!-- table: {spec} -->'"
    if not path.is_file() or statistic not in STATISTICS or wanted.keys() - set(COLUMNS):
        raise UserError(f"{mark} names no file, statistic or column that is there")
    rows = [row for row in read_rows(path) if all(row[key] == value for key, value in wanted.items())]
    groups = _groups(rows, statistic)
    if not groups:
        raise UserError(f"{mark} asks for rows that {path} does not have")
    try:
        firsts = _baselines(groups, baseline)
    except UserError as error:
        raise UserError(f"{mark}: {error}") from None
    varying = [key for key in SETTING if len({group.first[key] for group in groups}) > 1]
    names, differences = _names(groups), _differences(groups, firsts)
    columns = {"method": names}
    columns |= {SETTING[key]: [group.first[key] for group in groups] for key in varying}
    columns |= {"n": [f"{len(group.rows)}" for group in groups], "top-1 (%)": [_mean(group) for group in groups]}
    if baseline is not None:
        columns[f"difference to {baseline}"] = ["" if d is None else d.spelt(DIGITS) for d in differences]
    figures = 2 if baseline is None else 3
    rule = f"|{'---|' * (len(columns) - figures)}{'---:|' * figures}"
    head, *lines = [f"| {' | '.join(cells)} |" for cells in (columns, *zip(*columns.values(), strict=True))]
    notes = [_sentence(rows, groups, differences, baseline is not None), *_repeats(groups, names)]
    if baseline is not None and None in firsts:
        notes.append(f"No difference: there is no {baseline} of the same {', '.join(SETTING.values())}.")
    return "\n".join([head, rule, *lines, "", "\n\n".join(notes), ""])


def _groups(rows: Sequence[Record], statistic: str) -> list[_Group]:
    """Return the rows that have the statistic in groups; of rows of the same seed the last one counts."""
    found: dict[tuple[str, ...], tuple[dict[int, Record], list[Record]]] = {}
    for row in sorted(rows, key=lambda row: when(row["date"])):
        if row[statistic]:
            # a study's configs may be a file a seed, so that their hash comes first
            keys = (*SETTING, "method", *OF_METHOD)
            of_seed, repeated = found.setdefault(
                (*(row[key] for key in keys), row["study_hash"] or row["config"]), ({}, [])
            )
            repeated += [of_seed[int(row["seed"])]] if int(row["seed"]) in of_seed else []
            of_seed[int(row["seed"])] = row
    methods = [*METHODS]
    groups = {key: _Group(dict(sorted(of.items())), repeated, statistic) for key, (of, repeated) in found.items()}
    places = {key: methods.index(g.method) if g.method in methods else len(methods) for key, g in groups.items()}
    return [groups[key] for key in sorted(groups, key=lambda key: (*key[:2], places[key], key))]


def _baselines(groups: Sequence[_Group], method: str | None) -> list[_Group | None]:
    """Return, for each group, the one of a method and of the same setting; None where there is none."""
    known = dict.fromkeys(group.method for group in groups)
    if method is not None and method not in known:
        raise UserError(f"no baseline {method!r}{did_you_mean(method, known)}")
    firsts: list[_Group | None] = []
    for group in groups:
        alike = [other for other in groups if other.method == method and other.setting == group.setting]
        if len(alike) > 1:
            raise UserError(f"several groups are {method} of {', '.join(group.setting)}: ask for one by a column")
        firsts.append(alike[0] if alike else None)
    return firsts


def _differences(groups: Sequence[_Group], firsts: Sequence[_Group | None]) -> list[Difference | None]:
    return [
        None if first is None or first is group else difference(group.values, first.values)
        for group, first in zip(groups, firsts, strict=True)
    ]


def _names(groups: Sequence[_Group]) -> list[str]:
    """Return the method of each group, and behind it what else sets it apart, or its config's name if nothing does."""
    names = []
    for group in groups:
        like = [other for other in groups if (other.method, other.setting) == (group.method, group.setting)]
        varying = [key for key in OF_METHOD if len({other.first[key] for other in like}) > 1]
        told = len({tuple(other.first[key] for key in varying) for other in like}) == len(like)
        words = [f"{OF_METHOD[key]} {group.first[key] or '-'}" for key in varying]
        names.append(", ".join([group.method, *(words if told else [PurePath(group.first["config"]).stem])]))
    return names


def _mean(group: _Group) -> str:
    known = list(group.values.values())
    return spelt_mean(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, DIGITS)


def _repeats(groups: Sequence[_Group], names: Sequence[str]) -> list[str]:
    """Return a sentence on runs that are not counted, as a later one has their seed."""
    said = [
        f"{name}, seed {row['seed']}: {float(row[group.statistic]):.{DIGITS}f} ({row['date'] or 'no date'})"
        for group, name in zip(groups, names, strict=True)
        for row in group.repeated
    ]
    return [f"Not counted, as a later run has the seed: {'; '.join(said)}."] if said else []


def _sentence(
    rows: Sequence[Record], groups: Sequence[_Group], differences: Sequence[Difference | None], compared: bool
) -> str:
    """Say what the figures are, and of which code and machine."""
    seeds = sorted({seed for group in groups for seed in group.rows})
    facts = {key: ", ".join(sorted({row[key] for row in rows if row[key]})) for key in COLUMNS}
    images = ", ".join(f"{int(n):,}" if n.isdigit() else n for n in facts["n_images"].split(", "))
    said = f"Top-1 of the {STATISTICS[groups[0].statistic]} on {images} images of the {facts['split']} split"
    said += f", epochs: {facts['epochs']}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    if len(seeds) > 1:
        said += "; mean ± sample standard deviation"
        said += ", differences seed by seed with the 95 % interval of Student's t" if compared else ""
    if any(d is not None and not d.paired for d in differences):
        said += "; w: the seeds are not the same, difference of the means with Welch's interval"
    where = f"{facts['device']}, torch {facts['torch']}, threads: {facts['threads']}"
    commits = ", ".join(sorted({short_commit(row["git_commit"]) for row in rows if row["git_commit"]}))
    return f"{said} ({where}; commit {commits})."
