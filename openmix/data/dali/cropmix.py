"""CropMix in DALI: decoded once, cropped as often as a plan says, mixed by one matrix a crop."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.data.dali.stages import Drawn
from openmix.errors import UserError

__all__ = ["CropMixed"]


class CropMixed:
    """``openmix.transforms.CropMix``. Inputs: of each view its box's corner and shape and its matrix; perhaps owners.

    A view's matrix permutes its channels and multiplies them by its weight. In cutmix mode the weights are 1, and one
    more input says which view each pixel is of.

    Args:
        transform: openmix's ``CropMix``.

    Raises:
        UserError: it has a ``post_aug``.
    """

    conditional = False

    def __init__(self, transform: Any) -> None:
        from openmix.data.transforms.cropmix_settings import NUMBERS

        if transform.post_aug:
            raise UserError("DaliLoader's CropMix takes no post_aug: put the transforms after it into the pipeline")
        self.settings = transform.settings
        self.views = max(NUMBERS[self.settings.number])
        self.inputs = (1, 1, 2) * self.views + (3,) * bool(self.settings.operation)

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw the plans of a batch."""
        from openmix.data.transforms.cropmix_plan import draw_plans

        plans = draw_plans(sizes[:, 0], sizes[:, 1], self.settings, generator)
        cutmix = bool(self.settings.operation)
        weights = torch.ones_like(plans.weights) if cutmix else plans.weights
        # row c of a matrix takes channel permutation[c]
        matrices = torch.eye(3)[plans.permutation] * weights[..., None, None]
        drawn: list[Tensor] = []
        for k in range(self.views):
            box = plans.boxes[:, k].int()
            drawn += [box[:, 0::2], box[:, 1::2] - box[:, 0::2], matrices[:, k]]
        if cutmix:
            drawn.append(plans.owner()[..., None].to(torch.uint8))
        size = torch.tensor([self.settings.size, self.settings.size])
        return [tensor.contiguous() for tensor in drawn], size.expand_as(sizes)

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the mixtures."""
        from nvidia.dali import fn, types

        size, kinds = [self.settings.size] * 2, types.DALIDataType
        mixture: Any = None
        for k in range(self.views):
            corner, shape, matrix = inputs[3 * k : 3 * k + 3]
            crop: Any = fn.slice(images, start=corner, shape=shape, axes=[0, 1])
            crop = fn.resize(crop, size=size, interp_type=types.DALIInterpType.INTERP_LINEAR, dtype=kinds.FLOAT)
            crop = fn.coord_transform(crop, M=matrix)
            if self.settings.operation:
                owner = inputs[-1].gpu() if images.device == "gpu" else inputs[-1]
                crop = crop * (owner == k)
            mixture = crop if mixture is None else mixture + crop
        return fn.cast(mixture, dtype=kinds.UINT8)
