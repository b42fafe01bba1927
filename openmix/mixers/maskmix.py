"""MaskMix, the mixing of MixPro (Zhao et al., ICLR 2023), arXiv:2304.12043. Authors' code: fistyee/MixPro.

Differs from the authors' code, which takes square images that the cells divide, in going on to any size. Their cells
have 56 of 224 pixels. OpenMixup's port has 64 (``mask_patch_size=64``), which cuts the last ones off at the border; its
labels count these as whole, which is not kept: labels are what is visible.
"""

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_integer, check_positive
from openmix.ops.plans import MaskPlan, check_batch, mix
from openmix.ops.random import sample_beta, sample_partner, sample_uniform
from openmix.ops.target import Mixed

__all__ = ["maskmix"]


@mixer(
    "MaskMix",
    paper="Zhao et al., ICLR 2023",
    link="https://arxiv.org/abs/2304.12043",
    lam="share of the cells kept, by area",
)
def maskmix(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    alpha: float = 1.0,
    mask_patch_size: int | None = None,
    per_sample: bool = False,
) -> Mixed:
    """Show own pixels in random cells of a coarse grid, and the partner's in the others.

    Of n cells ``ceil(lam * n)`` are kept, so that some of the image always is. Which, is drawn for each image.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        alpha: lam ~ Beta(alpha, alpha), > 0. Default 1.0, the authors'.
        mask_patch_size: height and width of the cells in pixels, >= 1; the last ones are cut off at the border. None,
            the default, is a quarter of the height and of the width: 16 cells, as the authors'. It should be a multiple
            of the network's patches.
        per_sample: draw a lam for each image; False, the authors' code, draws one for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = maskmix(torch.zeros(4, 3, 8, 8), torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> bool((mixed.mask.mean((1, 2, 3)) == mixed.target.weights[:, 0]).all())
    True
    """
    check_batch(images, labels)
    check_positive("alpha", alpha)
    if mask_patch_size is not None:
        check_integer("mask_patch_size", mask_patch_size, 1)
    batch, _, height, width = images.shape
    cell = [mask_patch_size or -(-side // 4) for side in (height, width)]
    grid = [-(-side // length) for side, length in zip((height, width), cell, strict=True)]
    cells = grid[0] * grid[1]
    lam = sample_beta(alpha, (batch if per_sample else 1, 1), generator).double()
    order = sample_uniform(0, 1, (batch, cells), generator).argsort(1).argsort(1)
    kept = (order < (lam * cells).ceil()).view(batch, 1, *grid).to(images.device, non_blocking=True)
    rows, columns = (
        torch.arange(side, device=kept.device) // length for side, length in zip((height, width), cell, strict=True)
    )
    return mix(images, labels, MaskPlan(sample_partner(batch, generator), kept[:, :, rows][:, :, :, columns]))
