"""What a task's methods make of a batch, or what it sees of it, and a hook that shows that while a run trains."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from openmix.data.batch import Batch
from openmix.engine.view_preview import has_views, view_rows
from openmix.mixers.compose import Window
from openmix.ops.random import generator_for
from openmix.registry import HOOKS

if TYPE_CHECKING:
    from openmix.engine.mix_picture import Row

__all__ = ["MixPreviewHook", "mixed_rows", "preview_rows"]

# of so many images partners are drawn, however large the batch
POOL = 64


def preview_rows(
    task: Any, batch: Batch, classes: Sequence[str], columns: int, seed: int, epoch: int
) -> tuple[list[Row], list[str]]:
    """Return rows of what a task mixes or, where it learns without labels, of what it sees, and notes on the rest.

    For the arguments see :func:`mixed_rows` and :func:`~openmix.engine.view_preview.view_rows`.
    """
    rows_of = view_rows if has_views(task) else mixed_rows
    return rows_of(task, batch, classes, columns, seed, epoch)


@torch.no_grad()
def mixed_rows(
    task: Any, batch: Batch, classes: Sequence[str], columns: int, seed: int, epoch: int
) -> tuple[list[Row], list[str]]:
    """Mix the first images of a batch by each of a task's methods.

    Args:
        task: its ``mixers``, if it has any, are shown.
        batch: normalised; its first images are shown, each as drawn anew.
        classes: names of the classes.
        columns: samples a method, as far as the batch has images.
        seed: of the run; the draws are derived from this and the epoch, for each method alike.
        epoch: counted from 0.

    Returns:
        A row for each method that mixes images, and a line for each other that says why it has none. A method that
        relabels is shown as the method whose labels it redraws. What a method needs of the network is computed in
        mode 'eval', whatever the training does, so that nothing of the network changes.
    """
    from openmix.engine.mix_picture import Row, take_sample

    columns = min(columns, len(batch))
    batch = _first(batch, max(columns, POOL))
    rows, notes = [], []
    policy = getattr(task, "policy", None)
    mixers = getattr(task, "mixers", ())
    if isinstance(policy, Window) and not policy.acts(epoch):
        mixers, notes = [policy.outside], [f"nothing is mixed in epoch {epoch + 1} (mix_epochs)"]
    for mixer in mixers:
        method = getattr(mixer, "base", None) or mixer
        if mixer.kind == "label":
            notes.append(f"{mixer.name}: λ is what {method.name} shows; it is weighed anew after the forward pass")
        if method.kind != "input":
            notes.append(f"{mixer.name} mixes inside the network: no picture")
        else:
            draws = generator_for(seed, "preview", epoch)
            with torch.compiler.set_stance("force_eager"):  # other sizes than the run's would be compiled, and stay
                needs = task.clean_context(batch).serve(method.needs, "eval") if method.needs else {}
                mix = functools.partial(method, generator=draws, pixel_range=batch.pixel_range, epoch=epoch, **needs)
                mixes = [mix(batch.images, batch.labels) for _ in range(columns)]
            shown = [_as_map(need) for need in needs.values()]
            samples = [take_sample(batch, m, i, classes, *shown[:1]) for i, m in enumerate(mixes)]
            rows.append(Row(mixer.name, samples))
    return rows, notes


def _as_map(need: Tensor) -> Tensor:
    """Return what guides a method as one map an image, (B, h, w): of features, their mean."""
    return need.mean(1) if need.ndim == 4 else need


def _first(batch: Batch, n: int) -> Batch:
    return replace(batch, views=(batch.images[:n],), labels=batch.labels[:n], index=batch.index[:n])


@HOOKS.register_module()
class MixPreviewHook(Hook):
    """Puts a picture of mixed images into every visualizer backend, from the first micro-batch of an epoch.

    Of a task that learns without labels it shows the views, and what a masked autoencoder reconstructs. The picture is
    that of ``openmix preview``, with draws of its own: a run's numbers do not depend on it. It takes
    part of a second and waits for the device. A run that is resumed within an epoch has drawn that epoch's already.

    Args:
        interval: epochs from one picture to the next, at least 1; the first epoch has one.
        images: samples a method, at least 1.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(self, interval: int = 1, images: int = 4) -> None:
        for name, value in (("interval", interval), ("images", images)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.interval = interval
        self.images = images

    def before_train(self, runner: Any) -> None:
        """Say so where there is nothing to draw, or nothing to draw to."""
        if runner.visualizer is None:
            runner.logger.info("MixPreviewHook: there is nothing to draw to, as vis_backends is empty")
        elif not has_views(runner.task) and not getattr(runner.task, "mixers", ()):
            runner.logger.info("MixPreviewHook: %s has no mixers to draw", type(runner.task).__name__)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Draw at the first step of an epoch; only rank 0 has a visualizer."""
        if batch_idx > 0 or runner.epoch % self.interval or runner.visualizer is None:
            return
        classes = runner.train_dataloader.classes
        rows, notes = preview_rows(runner.task, data_batch, classes, self.images, runner.seed, runner.epoch)
        if rows:
            from openmix.engine.picture import draw, to_rgb

            runner.visualizer.add_image("mix_preview", to_rgb(draw(rows, notes)), runner.iter)
