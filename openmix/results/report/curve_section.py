"""The page's curves: training and validation, with a legend."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from openmix.results.report.charts import Line, chart
from openmix.results.report.curves import Curve, Series, gather, training_series, validation_series
from openmix.results.report.markup import Element, element
from openmix.results.report.tables import swatch
from openmix.results.rows import Row, Table
from openmix.results.summaries import LOWER_IS_BETTER

__all__ = ["curve_section", "shown_at_first"]

MOST_LINES = 12  # drawn at first; the colours and dashes of more are hard to tell apart
MOST_POINTS = 200  # of a line
POINTS_A_CHART = 40_000  # of all lines: what keeps the page of a thousand groups below 10 MB


@dataclass(frozen=True)
class _Chart:
    """What a chart shows: a key of the validation records or of the training records."""

    split: str
    key: str
    title: str
    unit: str
    from_zero: bool = False


def shown_at_first(table: Table) -> list[bool]:
    """Return for each row whether its lines are drawn at first: baselines, and the best by their last figure."""
    sign = -1 if table.metric.split("_")[0] in LOWER_IS_BETTER else 1
    last = [row.figures["last"].mean for row in table.rows]
    order = [
        (row.baseline != row.group.name, -sign * mean, number)
        for number, (row, mean) in enumerate(zip(table.rows, last, strict=True))
        if mean is not None
    ]
    first = {number for _, _, number in sorted(order)[:MOST_LINES]}
    return [number in first or len(last) <= MOST_LINES for number in range(len(last))]


def curve_section(table: Table, shown: Sequence[bool]) -> Element | None:
    """Return the charts of a table's groups with their legend, or None where there is nothing to draw.

    Args:
        table: what is shown.
        shown: for each row, whether its lines are drawn at first.
    """
    charts = _charts(table.metric)
    points = max(20, min(MOST_POINTS, POINTS_A_CHART // max(1, len(table.rows))))
    console = Console(stderr=True)
    rows = track(table.rows, "reading curves", console=console, transient=True, disable=not console.is_terminal)
    curves = [_curves(row, charts, points) for row in rows]
    figures = []
    for item in charts:
        lines = [
            Line(number, row.group.name, found[item.title], on)
            for number, (row, found, on) in enumerate(zip(table.rows, curves, shown, strict=True))
            if item.title in found
        ]
        figures += [chart(lines, item.title, item.unit, item.from_zero)] if lines else []
    drawn = [figure for figure in figures if figure is not None]
    if not drawn:
        return None
    legend = [
        swatch(number, on, row.group.name) for number, (row, on) in enumerate(zip(table.rows, shown, strict=True))
    ]
    return element(
        "section",
        None,
        element("h2", None, "Curves"),
        element("p", None, *_explanation(points, shown)),
        element("div", {"class": "legend", "role": "group", "aria-label": "groups"}, *legend),
        element("div", {"class": "charts"}, *drawn),
    )


def _charts(metric: str) -> list[_Chart]:
    """Return the charts in their order: the table's figure first."""
    titles = {"top1": "top-1", "top5": "top-5", "nll": "loss", "ece": "calibration error"}
    units = {"nll": "nats", "ece": ""}
    figures = list(dict.fromkeys([metric, "top1", "nll"]))
    validation = [_Chart("val", key, f"validation {titles.get(key, key)}", units.get(key, "%")) for key in figures]
    return [
        *validation,
        _Chart("train", "loss", "training loss", ""),
        _Chart("train", "top1_dominant", "mixed training images predicted as their largest share", "%"),
        _Chart("train", "lr", "learning rate", "", from_zero=True),
    ]


def _curves(row: Row, charts: Iterable[_Chart], points: int) -> dict[str, Curve]:
    """Return a group's curves by the titles of their charts, where all its runs have them."""
    runs = [member.run for member in row.group.members]
    training = [training_series(run.folder) for run in runs]
    found = {}
    for item in charts:
        series: list[Series | None] = [records.get(item.key) for records in training]
        if item.split == "val":
            series = [validation_series(run.validations, item.key) for run in runs]
        whole = [one for one in series if one is not None]
        if whole and len(whole) == len(series):
            found[item.title] = gather(whole, points)
    return found


def _explanation(points: int, shown: Sequence[bool]) -> list[Element | str]:
    text = (
        "Means over the runs of a group; the band is from their least to their largest value, and a line ends where a "
        f"run has no number. A line has at most {points} points: training figures are means over the epochs since "
        "the point before, all others are those of their epoch. The share of mixed training images predicted as the "
        "label of their largest share is no accuracy. Where a few points are far from all others, the axis is cut "
        "before them. "
    )
    few = f"Of {len(shown)} groups {sum(shown)} are drawn at first: baselines, and the best by their last figure. "
    how = "Point at a group to see its lines, click it to hide or show them."
    return [text, few if not all(shown) else "", element("span", {"class": "scripted"}, how)]
