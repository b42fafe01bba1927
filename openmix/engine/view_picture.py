"""Pictures of what a task without labels is given, and of what a masked autoencoder makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from openmix.engine.picture import LINE, Sheet, fit, panel_height, panel_places, width_of

__all__ = ["Panel", "ViewSample"]


class Panel(NamedTuple):
    """One picture with what stands above it: uint8 (H, W, 3)."""

    heading: str
    picture: np.ndarray


@dataclass(frozen=True)
class ViewSample:
    """What is seen of one image: panels beside each other, and its class beneath the first.

    Attributes:
        panels: at least one; they may differ in size.
        name: the image's class, which the task is not told.
    """

    panels: Sequence[Panel]
    name: str

    has_masks = False

    @property
    def width(self) -> float:
        """Of its panels beside each other, in inches."""
        return width_of(len(self.panels))

    @property
    def height(self) -> float:
        """Of its tallest panel and the line beneath, in inches."""
        return max(panel_height(panel.picture) for panel in self.panels) + LINE

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draw the panels with their top left corner at (x, y)."""
        lines = [fit(self.name)]
        for place, (heading, picture) in zip(panel_places(x), self.panels, strict=False):
            sheet.panel(place, y, panel_height(picture), heading, lines).imshow(picture)
            lines = []
