"""The rows of a table: groups of runs, their figures, the difference to a baseline and what others published."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openmix.results.groups import Group
from openmix.results.published import Published

__all__ = ["Difference", "Figure", "LeftOut", "Row", "Table"]


@dataclass(frozen=True)
class Difference:
    """The mean of a group less that of its baseline.

    Attributes:
        mean: in the metric's unit.
        half_width: the 95 % interval is ``mean - half_width .. mean + half_width``; None where n is 1.
        paired: seed by seed (Student's t) or not (Welch's).
        n: how many pairs of seeds, or runs of the group where it is not paired.
    """

    mean: float
    half_width: float | None
    paired: bool
    n: int


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
        state: ``running``, ``stopped``, ``failed``, ``unfinished``, ``damaged`` or ``repeated`` (a seed's second run).
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
