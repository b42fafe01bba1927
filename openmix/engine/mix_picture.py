"""Pictures of mixed images with what they are made of: the image itself, its partners, the mask, the mix, the label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from torch import Tensor

from openmix.data.batch import Batch
from openmix.engine.picture import (
    LINE,
    SIDE,
    Row,
    Sheet,
    as_picture,
    draw,
    fit,
    panel_height,
    panel_places,
    to_rgb,
    width_of,
)
from openmix.ops.move_plans import MovePlan
from openmix.ops.target import Mixed

__all__ = ["Row", "Sample", "draw", "take_sample", "to_rgb"]

MOST_LINES = 5  # beneath a panel


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

    has_masks = True

    @property
    def width(self) -> float:
        """Of its panels beside each other, in inches."""
        return width_of(6 if self.salient else 4)

    @property
    def height(self) -> float:
        """Of its panels and the lines beneath them, in inches."""
        return self._tall + LINE * max(len(_partner_lines(self)), len(_label_lines(self)))

    @property
    def _tall(self) -> float:
        """How tall its panels are."""
        return panel_height(self.own)

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draw four panels with their top left corner at (x, y): own image, partners, own share, mix.

        Where something guided the method, what is salient stands behind the own image and behind the partners, bright
        where it is most so. Beneath the images are their classes, beneath the mix its label: the weights with their
        classes. λ, the label's own share, heads it.
        """
        places, tall = panel_places(x), self._tall
        sheet.panel(next(places), y, tall, "own", [fit(self.names[0])]).imshow(self.own)
        if self.salient:
            _draw_salient(sheet, next(places), y, tall, self.salient[:1], self.own.shape)
        if self.partners:
            heading = "partner" if len(self.partners) == 1 else "partners"
            sheet.panel(next(places), y, tall, heading, _partner_lines(self)).imshow(_tile(self.partners))
        else:
            _say(sheet, next(places), y, tall, "itself")
        if self.salient:
            _draw_salient(sheet, next(places), y, tall, self.salient[1:] or self.salient, self.own.shape)
        if self.share is None:
            _say(sheet, next(places), y, tall, "content moved:\nno mask")
        else:
            _draw_share(sheet, next(places), y, tall, self.share, self.own.shape)
        heading = f"mixed, λ = {self.label[0][1]:.2f}"
        sheet.panel(next(places), y, tall, heading, _label_lines(self)).imshow(self.mixed)


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
    pictures = [as_picture(batch.images[s], batch.pixel_range) for s in (own, *others)]
    # an image may be drawn twice, or as its own partner: what is seen of it is one share
    labels = [mixed.target.labels[i][sources == s][0] for s in (own, *others)]
    weights = [float(mixed.target.weights[i][sources == s].sum()) for s in (own, *others)]
    return Sample(
        own=pictures[0],
        partners=pictures[1:],
        share=_share(mixed, i, sources == own),
        mixed=as_picture(mixed.images[i], batch.pixel_range),
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


def _draw_salient(
    sheet: Sheet, x: float, y: float, tall: float, maps: Sequence[np.ndarray], shape: tuple[int, ...]
) -> None:
    """Draw what is salient as large as the images, whose shape is given, each map on a scale of its own."""
    coloured = [(255 * colormaps["magma"](m / max(float(m.max()), 1e-30))[:, :, :3]).astype(np.uint8) for m in maps]
    axis = sheet.panel(x, y, tall, "salient", [])
    tiled = coloured[0] if len(coloured) == 1 else _tile(coloured)
    extent = (0.0, float(shape[1]), float(shape[0]), 0.0)
    axis.imshow(tiled, interpolation="nearest", extent=extent)


def _draw_share(sheet: Sheet, x: float, y: float, tall: float, share: np.ndarray, shape: tuple[int, ...]) -> None:
    """Draw a mask as large as the image, whose shape is given; a constant one says its value."""
    height, width = shape[:2]
    mean, constant = f"{share.mean():.2f}", share.size == 1
    axis = sheet.panel(x, y, tall, "own share", [] if constant else [f"mean {mean}"])
    extent = (0.0, float(width), float(height), 0.0)
    axis.imshow(share, cmap="viridis", vmin=0, vmax=1, interpolation="nearest", extent=extent)
    if constant:
        colour = "black" if share.mean() > 0.6 else "white"
        axis.text(width / 2, height / 2, mean, ha="center", va="center", fontsize=9, color=colour)


def _say(sheet: Sheet, x: float, y: float, tall: float, text: str) -> None:
    """Say in place of a panel why there is none."""
    centre = {"ha": "center", "va": "center", "color": "gray", "style": "italic"}
    sheet.write(x + SIDE / 2, y + tall / 2, text, fontsize=7.5, **centre)


def _partner_lines(sample: Sample) -> list[str]:
    return _few([fit(name) for name in sample.names[1:]])


def _label_lines(sample: Sample) -> list[str]:
    """Return a line for the own label and for each other that has weight: ``cat: 0.62``."""
    own, *others = sample.label
    shown = [own, *(label for label in others if label[1] > 0)]
    return _few([fit(name, f": {weight:.2f}") for name, weight in shown])


def _few(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], f"and {len(lines) - MOST_LINES + 1} more"]


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
