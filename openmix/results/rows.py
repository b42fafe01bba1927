"""The rows of a table: groups of runs, their figures, the difference to a baseline and what others published."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openmix.results.differences import Difference, difference
from openmix.results.groups import Group
from openmix.results.published import Published
from openmix.results.summaries import STATISTICS

__all__ = ["Figure", "LeftOut", "Row", "Table", "make_row"]


@dataclass(frozen=True)
class Figure:
    """One statistic of a group over its seeds.

    Attributes:
        mean: None where no run has a value.
        sd: the sample standard deviation over seeds; None where n < 2.
        n: how many runs have a value.
        missing: why it has no value for some or all runs, a sentence each.
        difference: to the baseline; None for the baseline itself and where there is none.
        published: what others published of the same data set, network, method, alpha, epochs and statistic.
    """

    mean: float | None
    sd: float | None
    n: int
    missing: tuple[str, ...]
    difference: Difference | None
    published: tuple[Published, ...]


@dataclass(frozen=True)
class Row:
    """A group in a table.

    Attributes:
        group: its runs.
        baseline: the name of the group that it is compared with; its own name where it is the baseline; None where
            there is none.
        figures: by statistic.
        diverged: how many of its runs diverged.
        published: what others published of the same, by whatever statistic.
    """

    group: Group
    baseline: str | None
    figures: Mapping[str, Figure]
    diverged: int
    published: tuple[Published, ...]


@dataclass(frozen=True)
class LeftOut:
    """A run that is in no mean.

    Attributes:
        folder: its work dir.
        name: of the group that it would be in; empty where that cannot be told.
        state: ``waiting`` (of a study, not begun), ``running``, ``stopped``, ``failed``, ``unfinished``,
            ``damaged`` or ``repeated`` (a seed's second run).
        reason: why, as a sentence.
    """

    folder: Path
    name: str
    state: str
    reason: str


@dataclass(frozen=True)
class Table:
    """What is shown.

    Attributes:
        metric: such as ``top1``; of the validation set.
        rows: one a group, in order: data set, network, epochs, the baseline first, then methods.
        left_out: runs that are in no mean.
        notes: what to keep in mind of all of it.
    """

    metric: str
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()


def make_row(group: Group, baseline: Group | None, published: Sequence[Published]) -> Row:
    """Return a group's row.

    Args:
        group: its runs.
        baseline: what it is compared with; the group itself where it is the baseline.
        published: what others published of the same, by whatever statistic.
    """
    figures = {}
    for statistic in STATISTICS:
        same = tuple(figure for figure in published if figure.statistic == statistic)
        other = _by_seed(baseline, statistic) if baseline is not None and baseline is not group else {}
        figures[statistic] = _figure(group, statistic, other, same)
    diverged = sum(member.summary.diverged for member in group.members)
    return Row(group, None if baseline is None else baseline.name, figures, diverged, tuple(published))


def _figure(group: Group, statistic: str, baseline: Mapping[int, float], published: tuple[Published, ...]) -> Figure:
    values = _by_seed(group, statistic)
    reasons: dict[str, list[int]] = {}
    for member in group.members:
        if reason := member.summary.missing.get(statistic):
            reasons.setdefault(reason, []).append(member.run.seed)
    seeds = len(group.members)
    missing = tuple(
        reason if len(of) == seeds else f"seed {', '.join(map(str, of))}: {reason}" for reason, of in reasons.items()
    )
    known = list(values.values())
    return Figure(
        statistics.fmean(known) if known else None,
        statistics.stdev(known) if len(known) > 1 else None,
        len(known),
        missing,
        difference(values, baseline),
        published,
    )


def _by_seed(group: Group, statistic: str) -> dict[int, float]:
    return {m.run.seed: m.summary.values[statistic] for m in group.members if statistic in m.summary.values}
