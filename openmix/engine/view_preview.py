"""What a task that learns without labels sees of a batch: views, or an image with its mask and its reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from openmix.data.batch import Batch
from openmix.ops.guidance import run_in
from openmix.ops.random import generator_for

if TYPE_CHECKING:
    import numpy as np

    from openmix.engine.picture import Row
    from openmix.engine.view_picture import ViewSample

__all__ = ["has_views", "view_rows"]

GREY = 128  # of what is hidden


def has_views(task: Any) -> bool:
    """Tell whether a task is given views of an image rather than mixes of several."""
    return hasattr(task, "views_needed")


def view_rows(
    task: Any, batch: Batch, classes: Sequence[str], columns: int, seed: int, epoch: int
) -> tuple[list[Row], list[str]]:
    """Return what a task sees of the first images of a batch.

    Args:
        task: one that learns without labels; what a masked autoencoder reconstructs is shown as well, computed in
            mode 'eval' and without gradients, so that nothing of the network changes.
        batch: normalised, with the views that the task needs.
        classes: names of the classes.
        columns: images, as far as the batch has some.
        seed: of the run; the masks are derived from this and the epoch.
        epoch: counted from 0.

    Returns:
        A row, and notes for the foot.
    """
    from openmix.engine.picture import Row

    columns = min(columns, len(batch))
    views = [view[:columns] for view in batch.views]
    notes: list[str] = []
    if hasattr(task, "reconstruct"):
        panels = _reconstruction(task, views[0], generator_for(seed, "preview", epoch))
        if getattr(task, "norm_pix_loss", False):
            notes.append(
                "of a hidden patch the network says the pattern; its mean and its contrast are the image's own"
            )
    else:
        panels = list(zip(_headings(task, len(views)), views, strict=True))
    names = [classes[int(label)] for label in batch.labels[:columns]]
    samples = [_sample(panels, i, name, batch.pixel_range) for i, name in enumerate(names)]
    return [Row(type(task).__name__, samples)], notes


def _headings(task: Any, views: int) -> list[str]:
    """Return what each view is: a query and keys, where the loss goes one way."""
    if views == 1 or getattr(task, "symmetric", True):
        return [f"view {i}" for i in range(1, views + 1)]
    return ["query", "key"] if views == 2 else ["query", *(f"key {i}" for i in range(1, views))]


@torch.no_grad()
def _reconstruction(task: Any, images: Tensor, draws: torch.Generator) -> list[tuple[str, Tensor]]:
    """Return images; these with NaN where patches are hidden; and these with what the network says of those."""
    with run_in("eval", task), torch.compiler.set_stance("force_eager"):  # the run's sizes alone are to be compiled
        removed, said = task.reconstruct(images, draws)
    hidden = removed.view(len(images), 1, *task.grid).float()
    hidden = torch.nn.functional.interpolate(hidden, images.shape[2:]).bool()
    images = images.float()
    return [
        ("image", images),
        ("seen", images.masked_fill(hidden, torch.nan)),
        ("reconstruction", torch.where(hidden, said, images)),
    ]


def _sample(panels: Sequence[tuple[str, Tensor]], i: int, name: str, pixel_range: Tensor | None) -> ViewSample:
    from openmix.engine.view_picture import Panel, ViewSample

    return ViewSample([Panel(heading, _shown(images[i], pixel_range)) for heading, images in panels], name)


def _shown(image: Tensor, pixel_range: Tensor | None) -> np.ndarray:
    """Return an image (C, H, W) as uint8 (H, W, 3), grey where it is NaN."""
    from openmix.engine.picture import as_picture

    hidden = image.isnan().any(0)
    picture = as_picture(image.nan_to_num(), pixel_range)
    picture[hidden.cpu().numpy()] = GREY
    return picture
