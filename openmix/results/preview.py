"""Pictures of mixed batches, with their labels and shares."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.figure
import numpy as np
import torch
from torch import Tensor

from openmix.ops.target import Mixed

__all__ = ["draw_grid"]


def draw_grid(rows: Sequence[tuple[str, Sequence[Mixed]]], classes: Sequence[str], path: Path) -> None:
    """Write a PNG with a row of images for each method, each titled with what it is made of.

    Args:
        rows: the method's name and as many mixes of one batch as there are to be columns, each drawn anew; column i
            shows image i of mix i. Images lie in [0, 1], (B, C, H, W) with C = 1 or 3.
        classes: names of the classes.
        path: of the PNG.
    """
    side, columns = 1.45, len(rows[0][1])
    figure = matplotlib.figure.Figure(figsize=(1.1 + side * columns, (side + 0.35) * len(rows)), dpi=150)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for (name, mixes), line in zip(rows, axes, strict=True):
        for i, (mixed, axis) in enumerate(zip(mixes, line, strict=True)):
            axis.set_axis_off()
            axis.imshow(_picture(mixed.images[i]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(spell_target(mixed, i, classes), fontsize=7)
        line[0].text(-0.12, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=9, weight="bold")
    figure.tight_layout(rect=(0.02, 0, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def spell_target(mixed: Mixed, i: int, classes: Sequence[str]) -> str:
    """Return what image ``i`` is labelled, a line a source: ``cat: λ = 0.62``, ``dog: 0.38``; λ is the own share."""
    labels, weights = mixed.target.labels[i].tolist(), mixed.target.weights[i].tolist()
    own, *others = [(classes[label], weight) for label, weight in zip(labels, weights, strict=True)]
    lines = [f"{own[0]}: λ = {own[1]:.2f}", *(f"{name}: {weight:.2f}" for name, weight in others if weight > 0)]
    return "\n".join(lines)


def _picture(image: Tensor) -> np.ndarray:
    array = image.clamp(0, 1).permute(1, 2, 0).to(torch.float32).numpy()
    return array[:, :, 0] if array.shape[2] == 1 else array
