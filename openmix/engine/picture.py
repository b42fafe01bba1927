"""Pages of pictures: rows of samples, each a few panels beside each other, and what is written about them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from torch import Tensor

__all__ = [
    "LINE", "SIDE", "Drawn", "Row", "Sheet", "as_picture", "draw", "fit", "panel_height", "panel_places", "to_rgb",
    "width_of",
]  # fmt: skip

# lengths in inches; a 32-pixel image is enlarged exactly four times
DPI, SIDE, GAP, BETWEEN, MARGIN = 128, 1.0, 0.07, 0.32, 0.18
TITLE, HEADING, LINE, ROW_GAP, NOTE = 0.22, 0.15, 0.125, 0.12, 0.18
SMALL = 6.5  # beneath a panel, the letters' size in points


class Drawn(Protocol):
    """Something with a place on a page."""

    @property
    def width(self) -> float:
        """Of its panels beside each other, in inches."""
        ...

    @property
    def height(self) -> float:
        """Of its panels and the lines beneath them, in inches."""
        ...

    @property
    def has_masks(self) -> bool:
        """Whether the page has to say what the masks' colours mean."""
        ...

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draw it with its top left corner at (x, y)."""
        ...


class Row(NamedTuple):
    """A line of a page: its title and some samples."""

    title: str
    samples: Sequence[Drawn]


def width_of(panels: int) -> float:
    """Return how wide so many panels beside each other are, in inches."""
    return panels * SIDE + (panels - 1) * GAP


def panel_places(x: float) -> Iterator[float]:
    """Return where panels beside each other begin, the first one at ``x``."""
    return (x + i * (SIDE + GAP) for i in itertools.count())


def panel_height(picture: np.ndarray) -> float:
    """Return how tall a panel is: one as wide as its picture leaves no gap beneath it, tall ones become narrow."""
    height, width = picture.shape[:2]
    return SIDE * min(1, height / width)


def draw(rows: Sequence[Row], notes: Sequence[str] = ()) -> Figure:
    """Draw a page: a line of samples beneath the title of each row.

    Args:
        rows: at least one.
        notes: lines for the foot.
    """
    heights = [TITLE + HEADING + max(s.height for s in row.samples) + ROW_GAP for row in rows]
    columns = max(len(row.samples) for row in rows)
    width = 2 * MARGIN + columns * max(s.width for row in rows for s in row.samples) + (columns - 1) * BETWEEN
    has_masks = any(s.has_masks for row in rows for s in row.samples)
    sheet = Sheet(width, 2 * MARGIN + sum(heights) + NOTE * (has_masks + len(notes)))
    y = MARGIN
    for row, height in zip(rows, heights, strict=True):
        sheet.write(MARGIN, y, row.title, fontsize=10, weight="bold")
        for i, sample in enumerate(row.samples):
            sample.draw(sheet, MARGIN + i * (sample.width + BETWEEN), y + TITLE + HEADING)
        y += height
    if has_masks:
        sheet.scale(MARGIN, y)
        y += NOTE
    for i, note in enumerate(notes):
        sheet.write(MARGIN, y + i * NOTE, note, fontsize=8)
    return sheet.figure


def to_rgb(figure: Figure) -> np.ndarray:
    """Return a figure as uint8 (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def as_picture(image: Tensor, pixel_range: Tensor | None) -> np.ndarray:
    """Return an image (C, H, W) as uint8 (H, W, 3); what lies beyond black or white becomes black or white."""
    image = image.detach().float()
    if pixel_range is not None:
        black, white = pixel_range.to(image.device)[:, :, None, None]
        image = (image - black) / (white - black)
    colours = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    return colours.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def fit(name: str, end: str = "") -> str:
    """Return a class and what follows it, the class cut so that both are no wider than a panel."""
    line, font = name + end, FontProperties(size=SMALL)
    while name and text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] > 72 * SIDE:
        name = name[:-1].rstrip()
        line = f"{name}…{end}"
    return line


class Sheet:
    """A page on which things are placed in inches, from its top left corner, downwards."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure((width, height), dpi=DPI, facecolor="white")
        self.width, self.height = width, height

    def place(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes whose top left corner is at (x, y)."""
        w, h = self.width, self.height
        return self.figure.add_axes((x / w, 1 - (y + height) / h, width / w, height / h))

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text whose top left corner is at (x, y), unless ``style`` aligns it otherwise."""
        style = {"va": "top", "parse_math": False, **style}
        self.figure.text(x / self.width, 1 - y / self.height, text, **style)

    def panel(self, x: float, y: float, height: float, heading: str, lines: Sequence[str]) -> Axes:
        """Add a panel with a heading above and lines beneath it."""
        axis = self.place(x, y, SIDE, height)
        axis.set_anchor("NW")
        axis.set_axis_off()
        self.write(x, y - 0.04, heading, fontsize=SMALL, color="dimgray", va="bottom")
        for i, line in enumerate(lines, 1):
            self.write(x, y + height + i * LINE, line, fontsize=SMALL, va="baseline")
        return axis

    def scale(self, x: float, y: float) -> None:
        """Add the legend of the masks' colours."""
        axis = self.place(x + 0.12, y + 0.03, 1.2, 0.09)
        self.figure.colorbar(ScalarMappable(cmap="viridis"), cax=axis, orientation="horizontal", ticks=[])
        self.write(x, y + 0.015, "0", fontsize=7)
        self.write(x + 1.38, y + 0.015, "1   own share of each pixel; λ is the own share of the label", fontsize=7)
