"""Stages one after the other, and stages that only some images go through."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.data.dali.stages import Drawn, Stage

__all__ = ["Chain", "Sometimes"]


class Chain:
    """Stages one after the other. Inputs: those of each, in order.

    Args:
        stages: in order; none of them leaves the images as they are.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)
        self.inputs = tuple(n for stage in self.stages for n in stage.inputs)
        self.conditional = any(stage.conditional for stage in self.stages)

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw for one stage after the other."""
        inputs: list[Tensor] = []
        for stage in self.stages:
            drawn, sizes = stage.draw(sizes, generator)
            inputs += drawn
        return inputs, sizes

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the images after the last stage."""
        # DALI rewrites this function where a stage is conditional, and does not know assignment expressions
        for stage in self.stages:
            count = len(stage.inputs)
            images = stage.graph(images, inputs[:count])
            inputs = inputs[count:]
        return images


class Sometimes:
    """Stages that an image goes through with a probability. Inputs: 1 where it does; then those of the stages.

    The stages draw for every image, so that what an image gets does not depend on whether others go through.

    Args:
        stages: in order.
        probability: for all of them together.
    """

    conditional = True

    def __init__(self, stages: Sequence[Stage], probability: float) -> None:
        self.chain = Chain(stages)
        self.probability = probability
        self.inputs = (0, *self.chain.inputs)

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw who goes through, and for the stages."""
        through = torch.rand(len(sizes), generator=generator) < self.probability
        inputs, after = self.chain.draw(sizes, generator)
        return [through.int(), *inputs], torch.where(through[:, None], after, sizes)

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the images, changed where the draw is 1."""
        if inputs[0] != 0:  # of every image by itself: DALI splits the batch, and joins it again
            images = self.chain.graph(images, inputs[1:])
        return images
