"""A table as words: what stands in its head and cells, and the notes on them, for whichever format writes it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from openmix.results.differences import spelt_mean
from openmix.results.layout import Notes
from openmix.results.published import Published
from openmix.results.published.matching import doubts
from openmix.results.published.names import DATASETS, NETWORKS
from openmix.results.published.names import STATISTICS as PUBLISHED_STATISTICS
from openmix.results.rows import Figure, Row, Table
from openmix.results.summaries import STATISTICS, decimals

__all__ = ["Sheet", "sheets"]

NOTHING = "-"


@dataclass(frozen=True)
class Sheet:
    """The groups of one data set and network.

    Attributes:
        title: of which.
        head: the columns' heads; the first column holds names, the others figures.
        rows: the cells.
        caption: what the figures are.
        notes: what the numbers in brackets stand for, beginning with [1].
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    notes: tuple[str, ...]


def sheets(table: Table, statistics: Sequence[str] = (*STATISTICS,)) -> list[Sheet]:
    """Return a sheet for each data set and network.

    Args:
        table: what is shown.
        statistics: which of :data:`STATISTICS` have a column; differences are those of the first of them.
    """
    places = itertools.groupby(table.rows, key=lambda row: (row.group.label.dataset, row.group.label.network))
    return [_sheet([*rows], table, statistics) for _, rows in places]


def _sheet(rows: Sequence[Row], table: Table, statistics: Sequence[str]) -> Sheet:
    notes, label, digits = Notes(), rows[0].group.label, decimals(table.metric)
    columns = {"method": [_marked(row.group.name, row.group.notes, notes) for row in rows]}
    if len({row.group.label.epochs for row in rows}) > 1:
        columns["epochs"] = [NOTHING if row.group.label.epochs is None else f"{row.group.label.epochs}" for row in rows]
    columns["n"] = [_count(row) for row in rows]
    for statistic in statistics:
        columns[statistic.replace("_", " ")] = [_figure(row.figures[statistic], len(row.group.members), digits, notes)
                                                for row in rows]  # fmt: skip
    baselines = dict.fromkeys(row.baseline for row in rows if row.baseline is not None)
    if len(rows) > 1 and baselines:
        whom = next(iter(baselines)) if len(baselines) == 1 else "baseline"
        columns[f"{statistics[0].replace('_', ' ')}, difference to {whom}"] = [
            _compared(row, statistics[0], digits, len(baselines) > 1, notes) for row in rows
        ]
    if any(row.published for row in rows):
        columns["published"] = [_published(row, notes) for row in rows]
    return Sheet(
        f"{DATASETS.get(label.dataset, label.dataset)}, {NETWORKS.get(label.network, label.network)}",
        (*columns,),
        (*zip(*columns.values(), strict=True),),
        _caption(rows, table.metric, statistics, len(rows) > 1 and bool(baselines)),
        (*notes.texts,),
    )


def _caption(rows: Sequence[Row], metric: str, statistics: Sequence[str], compared: bool) -> str:
    """Say what the figures are."""
    members = [member for row in rows for member in row.group.members]
    images = dict.fromkeys(member.run.validations[-1].get("n") for member in members)
    [count] = images if len(images) == 1 else [None]
    lengths = dict.fromkeys(row.group.label.epochs for row in rows)
    [length] = lengths if len(lengths) == 1 else [None]
    words = [f"{metric} on {f'{count:,} validation images' if type(count) is int else 'the validation set'}"]
    words += [f"{length} epochs"] if length is not None else []
    words += ["mean ± sample standard deviation over n seeds"]
    sentences = [", ".join(words), "; ".join(f"{s.replace('_', ' ')}: {STATISTICS[s]}" for s in statistics)]
    differences = [row.figures[statistics[0]].difference for row in rows]
    if compared:
        kinds = {difference.paired for difference in differences if difference is not None}
        sentences += ["Differences seed by seed, with the 95 % interval of Student's t"] if True in kinds else []
        sentences += ["w: the seeds are not the same; difference of the means, with Welch's 95 % interval"
                      ] if False in kinds else []  # fmt: skip
    if any(f.statistic in row.figures for row in rows for f in row.published):
        sentences.append("Published figures: in brackets, how ours differs by the same statistic")
    return ". ".join(sentences) + "."


def _marked(text: str, reasons: Sequence[str], notes: Notes) -> str:
    return f"{text} {notes.mark(reasons)}".rstrip()


def _count(row: Row) -> str:
    n = len(row.group.members)
    return f"{n}, {row.diverged} diverged" if row.diverged else f"{n}"


def _figure(figure: Figure, members: int, digits: int, notes: Notes) -> str:
    if figure.mean is None:
        return _marked(NOTHING, figure.missing, notes)
    count = "" if figure.n == members else f" (n {figure.n})"
    return _marked(f"{spelt_mean(figure.mean, figure.sd, digits)}{count}", figure.missing, notes)


def _compared(row: Row, statistic: str, digits: int, name_it: bool, notes: Notes) -> str:
    if row.baseline == row.group.name:
        return "baseline"
    difference = row.figures[statistic].difference
    if difference is None:
        return NOTHING
    return _marked(difference.spelt(digits), [f"to {row.baseline}"] if name_it else [], notes)


def _published(row: Row, notes: Notes) -> str:
    """Return what others published, each with a note on what it is, and how ours differs by the same statistic."""
    cells = []
    for figure in row.published:
        ours = row.figures[figure.statistic].mean if figure.statistic in row.figures else None
        difference = "" if ours is None else f" (ours {ours - figure.value:+.2f})"
        cells.append(f"{figure.printed}{difference} {notes.mark([_origin(figure, row)])}")
    return " / ".join(cells) or NOTHING


def _origin(figure: Published, row: Row) -> str:
    said = [PUBLISHED_STATISTICS[figure.statistic], f"{figure.origin.title} ({figure.origin.link})"]
    said += [figure.recipe] if figure.recipe else []
    return "; ".join([", ".join(said), *doubts(figure, row.group.label), *figure.notes])
