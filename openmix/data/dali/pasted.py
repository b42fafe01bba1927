"""ScaleMix and CropMix's pair in DALI: two crops of one decoded image, a box of the second pasted into the first."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.data.dali.chain import Chain
from openmix.data.dali.stages import Drawn, RandomResizedCrop, Stage
from openmix.errors import UserError

__all__ = ["Pasted"]


class Pasted:
    """``openmix.transforms.ScaleMix`` and ``CropMixPair``.

    Inputs: of both crops the box's corner and its size; what the stages drew for the first crop, then for the second;
    corner and size of the box that is pasted.

    Args:
        transform: openmix's.
        stages: the counterparts of its pipeline.

    Attributes:
        crops: the stages of the two crops.
    """

    def __init__(self, transform: Any, stages: Sequence[Stage]) -> None:
        self.name, self.size = type(transform).__name__, transform.size
        self.crops = tuple(map(RandomResizedCrop, transform.crops))
        self.chain = Chain(stages)
        self.inputs = (1, 1) * 2 + self.chain.inputs * 2 + (1, 1)
        self.conditional = self.chain.conditional

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw the two crops, then for each what follows it, then the box."""
        boxes = [tensor for crop in self.crops for tensor in crop.draw(sizes, generator)[0]]
        after, sizes = self.draw_after(len(sizes), generator)
        return boxes + after, sizes

    def draw_after(self, count: int, generator: torch.Generator) -> Drawn:
        """Draw all but the crops, for so many images.

        Raises:
            UserError: the stages do not keep a crop's size.
        """
        # with torchvision, which those who use no DALI are spared
        from openmix.data.transforms.crop_boxes import cutmix_boxes

        sizes = torch.tensor([self.size, self.size]).expand(count, 2)
        inputs: list[Tensor] = []
        for _ in self.crops:
            drawn, after = self.chain.draw(sizes, generator)
            if not torch.equal(after, sizes):
                raise UserError(f"{self.name}: its pipeline must keep a crop's size; what changes it belongs after it")
            inputs += drawn
        numbers = torch.rand(count, 3, generator=generator, dtype=torch.float64).numpy()
        pasted = torch.from_numpy(cutmix_boxes(self.size, numbers)).int()
        return [*inputs, pasted[:, 0::2].contiguous(), pasted[:, 1::2] - pasted[:, 0::2]], sizes

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the pasted crops."""
        from nvidia.dali import fn, types

        count = len(self.chain.inputs)
        first = self.crops[0].graph(images, inputs[:2])
        second = self.crops[1].graph(images, inputs[2:4])
        first = self.chain.graph(first, inputs[4 : 4 + count])
        second = self.chain.graph(second, inputs[4 + count : 4 + 2 * count])
        corner, shape = (fn.cast(node, dtype=types.DALIDataType.FLOAT) for node in inputs[-2:])
        # bits in which they differ, but for those in the box: what turns the second into the first outside of it
        turned = fn.erase(first ^ second, anchor=corner, shape=shape, axes=[0, 1], fill_value=0)
        return second ^ turned
