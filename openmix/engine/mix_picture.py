"""Pictures of mixed images with what they are made of: the image itself, its partners, the mask, the mix, the label."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from torch import Tensor

from openmix.data.batch import Batch
from openmix.ops.move_plans import MovePlan
from openmix.ops.target import Mixed

__all__ = ["Row", "Sample", "draw", "take_sample", "to_rgb"]

# lengths in inches; a 32-pixel image is enlarged exactly four times
DPI, SIDE, GAP, BETWEEN, MARGIN = 128, 1.0, 0.07, 0.32, 0.18
TITLE, HEADING, LINE, ROW_GAP, NOTE = 0.22, 0.15, 0.125, 0.12, 0.18
MOST_LINES, SMALL = 5, 6.5  # beneath a panel, and their letters' size in points


@dataclass(frozen=True)
class Sample:
    """One mixed image and what it is made of.

    Attributes:
        own: the image itself, uint8 (H, W, 3), as the others are.
        partners: the other images in it, each once; none where it is mixed with itself alone.
        share: the own share per pixel, (h, w) in [0, 1], h = w = 1 where it is constant; None if content is moved.
        mixed: the result.
        names: classes of the own image and of each partner.
        label: the classes that the result is labelled, with their weights, its own first.
        salient: what guided the method in the own image and in each partner, (h, w), >= 0; empty if nothing did.
    """

    own: np.ndarray
    partners: Sequence[np.ndarray]
    share: np.ndarray | None
    mixed: np.ndarray
    names: Sequence[str]
    label: Sequence[tuple[str, float]]
    salient: Sequence[np.ndarray] = ()

    @property
    def width(self) -> float:
        """Of its panels beside each other, in inches."""
        panels = 6 if self.salient else 4
        return panels * SIDE + (panels - 1) * GAP


class Row(NamedTuple):
    """A method's line of a picture: its name and some samples of it."""

    title: str
    samples: Sequence[Sample]


def take_sample(batch: Batch, mixed: Mixed, i: int, classes: Sequence[str], salient: Tensor | None = None) -> Sample:
    """Return image ``i`` of a mix with what it is made of, in the colours that its batch had before normalisation.

    Args:
        batch: what was mixed: float images (B, C, H, W), of which one channel is shown, or the first three.
        mixed: the mix; it may hold several images for each of the batch.
        i: row of the mix.
        classes: names of the classes.
        salient: what guided the method, (B, h, w) of the batch; None if nothing did.
    """
    sources = mixed.sources[i]
    own, *others = dict.fromkeys(sources.tolist())
    if len(others) > MOST_LINES:  # of a whole group, those that are seen
        others = [s for s in others if float(mixed.target.weights[i][sources == s].sum()) > 0]
    pictures = [_picture(batch.images[s], batch.pixel_range) for s in (own, *others)]
    # an image may be drawn twice, or as its own partner: what is seen of it is one share
    labels = [mixed.target.labels[i][sources == s][0] for s in (own, *others)]
    weights = [float(mixed.target.weights[i][sources == s].sum()) for s in (own, *others)]
    return Sample(
        own=pictures[0],
        partners=pictures[1:],
        share=_share(mixed, i, sources == own),
        mixed=_picture(mixed.images[i], batch.pixel_range),
        names=[classes[int(batch.labels[s])] for s in (own, *others)],
        label=[(classes[int(label)], weight) for label, weight in zip(labels, weights, strict=True)],
        salient=() if salient is None else [salient[s].clamp(min=0).float().cpu().numpy() for s in (own, *others)],
    )


def _share(mixed: Mixed, i: int, own: Tensor) -> np.ndarray | None:
    """Return what the own image shows of each pixel: (h, w); where blocks move, of what comes into each place."""
    if mixed.masks is not None:
        share = mixed.masks[i][own].sum(0)
    elif isinstance(mixed.plan, MovePlan):
        share = mixed.plan.lam[i, 0]
    else:
        return None
    return share.float().cpu().numpy()


def _picture(image: Tensor, pixel_range: Tensor | None) -> np.ndarray:
    """Return an image (C, H, W) as uint8 (H, W, 3); what lies beyond black or white becomes black or white."""
    image = image.detach().float()
    if pixel_range is not None:
        black, white = pixel_range.to(image.device)[:, :, None, None]
        image = (image - black) / (white - black)
    colours = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    return colours.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def draw(rows: Sequence[Row], notes: Sequence[str] = ()) -> Figure:
    """Draw a row of samples for each method, each sample as four panels: own image, partners, own share, mix.

    Where something guided the method, what is salient stands behind the own image and behind the partners, bright where
    it is most so.

    Beneath the images are their classes, beneath the mix its label: the weights with their classes. λ, the label's own
    share, heads it.

    Args:
        rows: at least one; all with as many samples.
        notes: lines for the foot.
    """
    columns = max(len(row.samples) for row in rows)
    heights = [TITLE + HEADING + max(map(_height, row.samples)) + ROW_GAP for row in rows]
    width = 2 * MARGIN + columns * max(s.width for row in rows for s in row.samples) + (columns - 1) * BETWEEN
    sheet = _Sheet(width, 2 * MARGIN + sum(heights) + NOTE * (1 + len(notes)))
    y = MARGIN
    for row, height in zip(rows, heights, strict=True):
        sheet.write(MARGIN, y, row.title, fontsize=10, weight="bold")
        for i, sample in enumerate(row.samples):
            _draw_sample(sheet, MARGIN + i * (sample.width + BETWEEN), y + TITLE + HEADING, sample)
        y += height
    sheet.scale(MARGIN, y)
    for i, note in enumerate(notes, 1):
        sheet.write(MARGIN, y + i * NOTE, note, fontsize=8)
    return sheet.figure


def to_rgb(figure: Figure) -> np.ndarray:
    """Return a figure as uint8 (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


class _Sheet:
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


def _draw_sample(sheet: _Sheet, x: float, y: float, sample: Sample) -> None:
    """Draw the panels with their top left corner at (x, y)."""
    places = (x + i * (SIDE + GAP) for i in itertools.count())
    tall = _panel_height(sample)
    sheet.panel(next(places), y, tall, "own", [_fit(sample.names[0])]).imshow(sample.own)
    if sample.salient:
        _draw_salient(sheet, next(places), y, tall, sample.salient[:1], sample.own.shape)
    if sample.partners:
        heading = "partner" if len(sample.partners) == 1 else "partners"
        sheet.panel(next(places), y, tall, heading, _partner_lines(sample)).imshow(_tile(sample.partners))
    else:
        _say(sheet, next(places), y, tall, "itself")
    if sample.salient:
        _draw_salient(sheet, next(places), y, tall, sample.salient[1:] or sample.salient, sample.own.shape)
    if sample.share is None:
        _say(sheet, next(places), y, tall, "content moved:\nno mask")
    else:
        _draw_share(sheet, next(places), y, tall, sample.share, sample.own.shape)
    heading = f"mixed, λ = {sample.label[0][1]:.2f}"
    sheet.panel(next(places), y, tall, heading, _label_lines(sample)).imshow(sample.mixed)


def _draw_salient(
    sheet: _Sheet, x: float, y: float, tall: float, maps: Sequence[np.ndarray], shape: tuple[int, ...]
) -> None:
    """Draw what is salient as large as the images, whose shape is given, each map on a scale of its own."""
    coloured = [np.uint8(255 * colormaps["magma"](m / max(float(m.max()), 1e-30))[:, :, :3]) for m in maps]
    axis = sheet.panel(x, y, tall, "salient", [])
    tiled = coloured[0] if len(coloured) == 1 else _tile(coloured)
    extent = (0.0, float(shape[1]), float(shape[0]), 0.0)
    axis.imshow(tiled, interpolation="nearest", extent=extent)


def _draw_share(sheet: _Sheet, x: float, y: float, tall: float, share: np.ndarray, shape: tuple[int, ...]) -> None:
    """Draw a mask as large as the image, whose shape is given; a constant one says its value."""
    height, width = shape[:2]
    mean, constant = f"{share.mean():.2f}", share.size == 1
    axis = sheet.panel(x, y, tall, "own share", [] if constant else [f"mean {mean}"])
    extent = (0.0, float(width), float(height), 0.0)
    axis.imshow(share, cmap="viridis", vmin=0, vmax=1, interpolation="nearest", extent=extent)
    if constant:
        colour = "black" if share.mean() > 0.6 else "white"
        axis.text(width / 2, height / 2, mean, ha="center", va="center", fontsize=9, color=colour)


def _say(sheet: _Sheet, x: float, y: float, tall: float, text: str) -> None:
    """Say in place of a panel why there is none."""
    centre = {"ha": "center", "va": "center", "color": "gray", "style": "italic"}
    sheet.write(x + SIDE / 2, y + tall / 2, text, fontsize=7.5, **centre)


def _panel_height(sample: Sample) -> float:
    """Return how tall panels are: images as wide as a panel leave no gap beneath them, tall ones become narrow."""
    height, width = sample.own.shape[:2]
    return SIDE * min(1, height / width)


def _height(sample: Sample) -> float:
    """Return how tall a sample is, with the lines beneath it."""
    return _panel_height(sample) + LINE * max(len(_partner_lines(sample)), len(_label_lines(sample)))


def _partner_lines(sample: Sample) -> list[str]:
    return _few([_fit(name) for name in sample.names[1:]])


def _label_lines(sample: Sample) -> list[str]:
    """Return a line for the own label and for each other that has weight: ``cat: 0.62``."""
    own, *others = sample.label
    shown = [own, *(label for label in others if label[1] > 0)]
    return _few([_fit(name, f": {weight:.2f}") for name, weight in shown])


def _few(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], f"and {len(lines) - MOST_LINES + 1} more"]


def _fit(name: str, end: str = "") -> str:
    """Return a class and what follows it, the class cut so that both are no wider than a panel."""
    line, font = name + end, FontProperties(size=SMALL)
    while name and text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] > 72 * SIDE:
        name = name[:-1].rstrip()
        line = f"{name}…{end}"
    return line


def _tile(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Lay pictures (H, W, 3) out in a square of as many as are needed, with white lines between them."""
    if len(pictures) == 1:
        return pictures[0]
    height, width = pictures[0].shape[:2]
    across = math.ceil(math.sqrt(len(pictures)))
    down = math.ceil(len(pictures) / across)
    line = max(1, height // 24)
    tiled = np.full((down * (height + line) - line, across * (width + line) - line, 3), 255, dtype=np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // across * (height + line), i % across * (width + line)
        tiled[top : top + height, left : left + width] = picture
    return tiled
