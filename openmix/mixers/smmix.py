"""SMMix (Chen et al., ICCV 2023), arXiv:2212.12977. Authors' code: ChenMnZ/SMMix.

Its mixing alone. The authors train with two more terms of the loss, one on the tokens of either image and one that
draws the prediction to the mean of the clean ones; they are left out here, and OpenMixup's code never reaches them
either. The authors average attention over the queries of all patches; as in OpenMixup, it is the class token's here.
Both train it in turns with MixUp: OpenMixup has ``mix_mode=["smmix", "mixup"]``, ``alpha=[1, 1]``,
``mix_prob=[0.8, 0.2]``.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_range
from openmix.ops.patches import check_map
from openmix.ops.plans import check_batch, mix
from openmix.ops.random import sample_integers
from openmix.ops.shift_plans import ShiftPlan
from openmix.ops.target import Mixed

__all__ = ["smmix"]


@mixer(
    "SMMix",
    needs=("attention",),
    paper="Chen et al., ICCV 2023",
    link="https://arxiv.org/abs/2212.12977",
    lam="1 - area of the window",
    hints={"side": "; leave it out: the attention tells"},
)
def smmix(
    images: Tensor,
    labels: Tensor,
    *,
    attention: Tensor,
    generator: torch.Generator | None = None,
    min_side_ratio: float = 0.25,
    max_side_ratio: float = 0.75,
) -> Mixed:
    """Paste the window of the partner that is attended to most where the image is attended to least.

    Windows are squares of n x n patches, n being drawn once for the batch and uniform from ``int(min_side_ratio * s)``
    to ``int(max_side_ratio * s)``, where s is the lesser side of the patch grid. Labels weigh the areas. The partner of
    image i is image B - 1 - i, as in the authors' code.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        attention: floating (B, h, w), >= 0, of these images: what is attended to in which patch, of any scale. Of
            windows that are equal the first, by rows, is taken.
        generator: a CPU generator; None takes torch's default one.
        min_side_ratio: the least side of windows, in (0, 1]. Default 0.25, the authors': 3 of 14 patches.
        max_side_ratio: the greatest, from ``min_side_ratio`` to 1. Default 0.75, the authors': 10 of 14 patches.

    Raises:
        ValueError: a ratio out of range, more patches than pixels, or tensors of another type or shape.

    >>> attention = torch.zeros(2, 4, 4)
    >>> attention[0, 3, 3] = 1
    >>> mixed = smmix(torch.rand(2, 3, 8, 8), torch.arange(2), attention=attention, max_side_ratio=0.25)
    >>> mixed.mask[1, 0, :3, :3]
    tensor([[0., 0., 1.],
            [0., 0., 1.],
            [1., 1., 1.]])
    """
    check_batch(images, labels)
    check_map("attention", attention, len(images))
    check_range("(min_side_ratio, max_side_ratio)", (min_side_ratio, max_side_ratio), 0, 1)
    size, grid = (images.shape[2], images.shape[3]), (attention.shape[1], attention.shape[2])
    if grid[0] > size[0] or grid[1] > size[1]:
        raise ValueError(f"attention has {grid} patches of images of {size} pixels")
    low, high = (max(1, int(ratio * min(grid))) for ratio in (min_side_ratio, max_side_ratio))
    side = low + int(sample_integers(high - low + 1, (), generator))
    mass = F.avg_pool2d(attention.detach().float()[:, None], side, stride=1)[:, 0]
    partner = torch.arange(len(images), device=images.device).flip(0)
    window = (side * size[0] // grid[0], side * size[1] // grid[1])
    box = _corner(mass.flatten(1).argmin(1), mass.shape[2], grid, size)
    corner = _corner(mass.flatten(1).argmax(1), mass.shape[2], grid, size)[partner]
    boxes = torch.stack([box[:, 0], box[:, 0] + window[0], box[:, 1], box[:, 1] + window[1]], dim=1)
    return mix(images, labels, ShiftPlan(partner, boxes, size, corner, window))


def _corner(place: Tensor, columns: int, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the first pixel (y, x) of windows by their number, of so many in a row: int64 (B, 2)."""
    row, column = place // columns, place % columns
    return torch.stack([row * size[0] // grid[0], column * size[1] // grid[1]], dim=1)
