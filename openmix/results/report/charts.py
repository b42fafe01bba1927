"""A chart as SVG: a line a group, and a band from the least to the largest of its runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openmix.results.report.axes import Axis, axis, robust_range
from openmix.results.report.curves import Curve
from openmix.results.report.markup import Element, element

__all__ = ["DASHES", "HUES", "Line", "chart", "look"]

Array = npt.NDArray[np.float64]
WIDTH, HEIGHT = 480, 270
TOP, BOTTOM, RIGHT = 8, 34, 14  # margins; the left one is as wide as the labels are
FINE = 10  # coordinates are whole tenths of the picture's units
HUES, DASHES = 8, 4  # as page.css has them


@dataclass(frozen=True)
class Line:
    """A group's curve in a chart.

    Attributes:
        group: its number, which sets its colour and dashes.
        name: what a reader is told it is.
        curve: its points.
        shown: whether it is drawn at first.
    """

    group: int
    name: str
    curve: Curve
    shown: bool = True


def look(group: int) -> str:
    """Return the classes for a group's colour and dashes: 32 different ones, neighbours different in both."""
    return f"c{group % HUES} d{(group + group // HUES) % DASHES}"


def chart(lines: Sequence[Line], title: str, unit: str, from_zero: bool = False) -> Element | None:
    """Return a figure with its caption, or None where there is nothing to draw.

    Args:
        lines: the groups' curves.
        title: what is drawn, such as ``validation top-1``.
        unit: of the figures; empty for none.
        from_zero: whether the axis begins at 0 and is never cut.
    """
    outer = [edge for line in lines for edge in (line.curve.low, line.curve.high)]
    spread = robust_range(outer)
    if spread is None:
        return None
    if from_zero:
        low, high = 0.0, max(float(np.nanmax(edge)) for edge in outer if np.isfinite(edge).any()) * 1.04
    else:
        margin = 0.03 * (spread[1] - spread[0])
        low, high = spread[0] - margin, spread[1] + margin
    ys = axis(low, high)
    xs = axis(0.0, max(float(line.curve.epochs[-1]) for line in lines), 8)
    cut = sum(bool(((edge < ys.low) | (edge > ys.high)).any()) for edge in outer)
    notes = [", axis cut"] if cut else []
    caption = element("figcaption", None, element("b", None, title), f" ({unit})" if unit else "", *notes)
    readout = element("output", {"aria-live": "off"}, " ")
    return element("figure", None, caption, _picture(lines, xs, ys, title), readout)


def _picture(lines: Sequence[Line], xs: Axis, ys: Axis, title: str) -> Element:
    left = 12 + round(6.3 * max(len(text) for _, text in ys.ticks))
    place = _Place(xs, ys, left)
    drawn = [path for line in lines for path in _band(line, place)] + [_line(line, place) for line in lines]
    window = {"x": left, "y": TOP, "width": WIDTH - RIGHT - left, "height": HEIGHT - BOTTOM - TOP}
    inner = {name: FINE * size for name, size in window.items()}
    data = {"data-x": f"{xs.low!r} {xs.high!r}", "data-y": f"{ys.low!r} {ys.high!r}"}
    data["data-window"] = " ".join(str(size) for size in inner.values())
    return element(
        "svg",
        {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": f"{title} against epochs", **data},
        element("g", {"class": "grid"}, *_ticks(xs, ys, place)),
        element("text", {"x": WIDTH - RIGHT, "y": HEIGHT - 4, "class": "end"}, "epoch"),
        # a window of its own cuts off what is beyond the axes, without an id that must be unique on the page
        element(
            "svg",
            {**window, "viewBox": " ".join(str(size) for size in inner.values())},
            *drawn,
        ),
        element("rect", {**window, "class": "frame"}),
    )


class _Place:
    """Where numbers lie in the picture."""

    def __init__(self, xs: Axis, ys: Axis, left: float) -> None:
        self.xs, self.ys, self.left = xs, ys, left

    def x(self, value: Array | float) -> Array:
        share = (np.asarray(value) - self.xs.low) / (self.xs.high - self.xs.low)
        return self.left + share * (WIDTH - RIGHT - self.left)

    def y(self, value: Array | float) -> Array:
        share = (np.asarray(value) - self.ys.low) / (self.ys.high - self.ys.low)
        # as far beyond the axis as cannot be seen, so that a number of a hundred digits stays a coordinate
        return TOP + (1 - np.clip(share, -9, 9)) * (HEIGHT - BOTTOM - TOP)


def _ticks(xs: Axis, ys: Axis, place: _Place) -> Iterator[Element]:
    for value, text in ys.ticks:
        y = f"{place.y(value):.1f}"
        yield element("path", {"d": f"M{place.left} {y}H{WIDTH - RIGHT}"})
        yield element("text", {"x": place.left - 5, "y": y, "dy": ".35em", "class": "end"}, text)
    for value, text in xs.ticks:
        x = f"{place.x(value):.1f}"
        yield element("path", {"d": f"M{x} {TOP}V{HEIGHT - BOTTOM}"})
        yield element("text", {"x": x, "y": HEIGHT - BOTTOM + 14, "class": "middle"}, text)


def _line(line: Line, place: _Place) -> Element:
    stretches = list(_unbroken(line.curve.mean))
    pieces = [_path(*_tenths(line.curve.epochs[s], line.curve.mean[s], place)) for s in stretches]
    alone = all(s.stop - s.start == 1 for s in stretches)  # of one validation at the end, say: to be seen all the same
    look_ = f"line {look(line.group)}" + (" dot" if alone else "") + ("" if line.shown else " off")
    return element(
        "path", {"class": look_, "data-g": line.group, "d": "".join(pieces)}, element("title", None, line.name)
    )


def _band(line: Line, place: _Place) -> Iterator[Element]:
    curve = line.curve
    if np.array_equal(curve.low, curve.high, equal_nan=True):
        return
    pieces = []
    for s in _unbroken(curve.mean):
        there, back = curve.epochs[s], curve.epochs[s][::-1]
        edge = np.concatenate([curve.high[s], curve.low[s][::-1]])
        pieces.append(_path(*_tenths(np.concatenate([there, back]), edge, place)) + "z")
    look_ = f"band {look(line.group)}" + ("" if line.shown else " off")
    yield element("path", {"class": look_, "data-g": line.group, "d": "".join(pieces)})


def _unbroken(values: Array) -> Iterator[slice]:
    """Yield where numbers follow each other without a gap."""
    edges = np.flatnonzero(np.diff(np.isfinite(values), prepend=False, append=False))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(start), int(stop))


def _tenths(epochs: Array, values: Array, place: _Place) -> tuple[list[int], list[int]]:
    xs, ys = (np.rint(FINE * where).astype(int).tolist() for where in (place.x(epochs), place.y(values)))
    return xs, ys


def _path(xs: list[int], ys: list[int]) -> str:
    """Return a path through points: the first as it is, each other as seen from the one before, which is shorter."""
    steps = [(b - a, d - c) for a, b, c, d in zip(xs, xs[1:], ys, ys[1:], strict=False)]
    moves = "".join(f" {x}" + (f" {y}" if y >= 0 else f"{y}") for x, y in steps or [(0, 0)])  # one point is a dot
    return f"M{xs[0]} {ys[0]}l{moves[1:]}"
