"""The page's tables: a row a group, and a row a run."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from openmix.results.differences import Difference, spelt_mean
from openmix.results.groups import Member
from openmix.results.published import Published
from openmix.results.report.charts import look
from openmix.results.report.markup import Element, element
from openmix.results.rows import Row, Table
from openmix.results.runs import Run
from openmix.results.summaries import STATISTICS, decimals

__all__ = ["Notes", "group_table", "run_table", "swatch"]


@dataclass(frozen=True)
class _Column:
    """A column: its head, what is in its cells, and what it means where the head does not say it."""

    title: str
    cell: Callable[[Row], Element]
    meaning: str | None = None


class Notes:
    """Footnotes: each text gets a number when it is first used."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def marks(self, texts: Sequence[str]) -> list[Element | str]:
        """Return links to the texts' notes."""
        numbers = sorted({self.texts.setdefault(text, len(self.texts) + 1) for text in texts if text})
        links = [element("a", {"href": f"#note{n}"}, str(n)) for n in numbers]
        return [element("sup", None, link) for link in links]

    def list(self) -> Element | None:
        """Return the notes, or None without any."""
        items = [element("li", {"id": f"note{n}"}, text) for text, n in self.texts.items()]
        return element("ol", {"class": "notes"}, *items) if items else None


def swatch(number: int, shown: bool, text: str) -> Element:
    """Return the button that shows and hides a group's lines, with a piece of its line."""
    line = element("path", {"class": f"line {look(number)}", "d": "M0 60h280"})
    icon = element("svg", {"viewBox": "0 0 280 120", "class": "swatch", "aria-hidden": "true"}, line)
    pressed = "true" if shown else "false"
    return element(
        "button", {"type": "button", "class": "toggle", "data-g": number, "aria-pressed": pressed}, icon, text
    )


def group_table(table: Table, shown: Sequence[bool], notes: Notes) -> Element:
    """Return the table of groups.

    Args:
        table: what is shown.
        shown: for each row, whether its lines are drawn at first.
        notes: gets the footnotes.
    """
    columns = [*_descriptions(table.rows), *_figures(table, notes)]
    if any(row.published for row in table.rows):
        columns.append(_Column("published", lambda row: _published(row, notes)))
    rows = [
        element("tr", {"data-g": number}, _name(number, row, on, notes), *(column.cell(row) for column in columns))
        for number, (row, on) in enumerate(zip(table.rows, shown, strict=True))
    ]
    return _table("groups", [("group", None), *((column.title, column.meaning) for column in columns)], rows)


def run_table(table: Table) -> Element:
    """Return the table of runs."""
    rows = [
        element("tr", {"data-g": number}, *_run_cells(member, row.group.name, decimals(table.metric)))
        for number, row in enumerate(table.rows)
        for member in row.group.members
    ]
    for run in table.left_out:
        cells = [_folder(run.folder), _text(run.name), _text(""), _text(run.state), *(_text("") for _ in range(5))]
        rows.append(element("tr", None, *cells))
    titles = ["folder", "group", "seed", "status", *STATISTICS.values(), "epoch of the best", "time (h:mm:ss)"]
    return _table("runs", [(title, None) for title in titles], rows)


def _run_cells(member: Member, group: str, digits: int) -> list[Element]:
    values, run = member.summary.values, member.run
    status = str(run.record.get("status", "")) + (", diverged" if member.summary.diverged else "")
    figures = [_number(values.get(s), f"{values[s]:.{digits}f}" if s in values else "") for s in STATISTICS]
    found = [_number(run.seed, str(run.seed)), _text(status), *figures, _count(member.summary.best_epoch)]
    return [_folder(run.folder), _text(group), *found, _wall_time(run)]


def _folder(folder: Path) -> Element:
    return element("th", {"scope": "row"}, element("code", None, str(folder)))


def _table(name: str, titles: Sequence[tuple[str, str | None]], rows: Sequence[Element]) -> Element:
    """Return a table; each column has a title, and what it means where that is not plain."""
    kinds = [cell.get("class") for cell in rows[0]] if rows else [None] * len(titles)  # numbers stand to the right
    heads = [
        element("th", {"scope": "col", "class": kind, "title": meaning}, title)
        for (title, meaning), kind in zip(titles, kinds, strict=True)
    ]
    parts = [element("thead", None, element("tr", None, *heads)), element("tbody", None, *rows)]
    whole = element("table", {"id": name}, *parts)
    return element("div", {"class": "wide", "tabindex": "0", "role": "region", "aria-label": f"table of {name}"}, whole)


def _name(number: int, row: Row, shown: bool, notes: Notes) -> Element:
    diverged = f"{row.diverged} of {len(row.group.members)} runs diverged." if row.diverged else ""
    marks = notes.marks([*row.group.notes, diverged])
    return element("th", {"scope": "row"}, swatch(number, shown, row.group.name), *marks)


def _descriptions(rows: Sequence[Row]) -> list[_Column]:
    """Return a column for each thing that is not the same in all rows; names begin with the method."""
    columns = {
        "data set": lambda row: _text(row.group.label.dataset),
        "network": lambda row: _text(row.group.label.network),
        "alpha": lambda row: _several(row.group.label.alpha),
        "probabilities": lambda row: _several(row.group.label.mix_prob),
        "epochs": lambda row: _count(row.group.label.epochs),
    }
    fields = ("dataset", "network", "alpha", "mix_prob", "epochs")
    varying = [len({getattr(row.group.label, field) for row in rows}) > 1 for field in fields]
    described = [_Column(title, cell) for (title, cell), varies in zip(columns.items(), varying, strict=True) if varies]
    return [*described, _Column("n", lambda row: _number(len(row.group.members), str(len(row.group.members))))]


def _figures(table: Table, notes: Notes) -> list[_Column]:
    """Return two columns a statistic: the figure and its difference to the baseline."""
    columns = []
    options = {"digits": decimals(table.metric), "notes": notes}
    for statistic, title in STATISTICS.items():
        columns.append(_Column(title, functools.partial(_figure, statistic=statistic, **options)))
        if any(row.figures[statistic].difference for row in table.rows):
            cell = functools.partial(_difference, statistic=statistic, **options)
            columns.append(_Column("less baseline", cell, f"{title}: difference to the baseline, with its interval"))
    return columns


def _figure(row: Row, statistic: str, digits: int, notes: Notes) -> Element:
    figure = row.figures[statistic]
    marks = notes.marks(figure.missing)
    if figure.mean is None:
        return element("td", {"class": "number"}, "–", *marks)
    text = spelt_mean(figure.mean, figure.sd, digits)
    text += f" (n {figure.n})" if figure.n != len(row.group.members) else ""
    return element("td", {"class": "number", "data-v": repr(figure.mean)}, text, *marks)


def _difference(row: Row, statistic: str, digits: int, notes: Notes) -> Element:
    difference = row.figures[statistic].difference
    if difference is None:
        return _number(None, "baseline" if row.baseline == row.group.name else "")
    width = "" if difference.half_width is None else f" ± {difference.half_width:.{digits}f}"
    marks = notes.marks([_comparison(row, difference)])
    return element(
        "td", {"class": "number", "data-v": repr(difference.mean)}, f"{difference.mean:+.{digits}f}{width}", *marks
    )


def _comparison(row: Row, difference: Difference) -> str:
    if difference.half_width is None:
        return f"Less {row.baseline}: from one run, so there is no interval."
    how = "seed by seed, Student's t" if difference.paired else "not seed by seed, as they have not the same; Welch's"
    return f"Less {row.baseline}: {how}; ± is the 95 % interval, n {difference.n}."


def _published(row: Row, notes: Notes) -> Element:
    """Return what others published, each with the difference of ours where it is of the same statistic."""
    parts: list[Element | str] = []
    for published in row.published:
        means = [f.mean for f in row.figures.values() if f.mean is not None and published in f.published]
        compared = f" (ours {means[0] - published.value:+.2f})" if means else ""
        parts += ["; "] if parts else []
        parts += [f"{published.printed}{compared}", *notes.marks([_origin(published), *published.notes])]
    key = repr(row.published[0].value) if row.published else None
    return element("td", {"class": "number", "data-v": key}, *parts)


def _origin(published: Published) -> str:
    statistic = f"statistic: {published.statistic or 'not stated'}"
    return (
        f"{published.origin.title}, {published.origin.link}; {published.metric}, {statistic}. {published.origin.note}"
    )


def _wall_time(run: Run) -> Element:
    """Return how long a run took; of one that was resumed, how long its last process took, marked with a plus."""
    try:
        begin, end = (datetime.strptime(run.record[k], "%Y-%m-%dT%H:%M:%S%z") for k in ("start_time", "end_time"))
    except (KeyError, TypeError, ValueError):
        return _text("")
    seconds = (end - begin).total_seconds()
    if seconds < 0:
        return _text("")
    minutes, rest = divmod(int(seconds), 60)
    more = "" if run.record.get("resumed_at") is None else "+"
    return _number(seconds, f"{minutes // 60}:{minutes % 60:02}:{rest:02}{more}")


def _text(text: str) -> Element:
    return element("td", None, text)


def _number(value: float | None, text: str) -> Element:
    return element("td", {"class": "number", "data-v": None if value is None else repr(value)}, text)


def _count(value: int | None) -> Element:
    return _number(value, "" if value is None else f"{value:,}")


def _several(values: Sequence[float]) -> Element:
    """Return a cell of one number or more, sorted by the first."""
    return _number(values[0] if values else None, ", ".join(f"{value:g}" for value in values))
