"""TokenMix (Liu et al., ECCV 2022), arXiv:2207.08409. Authors' code: Sense-X/TokenMix.

Differs from the authors' code in three ways. Their maps are class scores of patches that a strong network wrote down
beforehand; here they are handed in, and from a vision transformer are its attention. The patch grid is the maps',
where theirs is 14 x 14. And the partner is a uniform permutation, not the flipped batch. OpenMixup's port (preset
'openmixup') draws lam from Beta, and weighs labels the wrong way round: the own one by what was pasted over, the
partner's by what was left out. Its maps are not divided by their sums, which is not kept.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_choice, check_flag, check_integer, check_positive
from openmix.ops.patches import check_map, patches_to_pixels, unit_mass
from openmix.ops.plans import MaskPlan, check_batch, mix
from openmix.ops.random import sample_beta, sample_partner, sample_uniform
from openmix.ops.target import Mixed

__all__ = ["draw_blocks", "tokenmix"]

ASPECT = 0.3  # blocks are at most 1 / 0.3 times as high as wide, or as wide as high
ATTEMPTS = 10


@mixer(
    "TokenMix",
    needs=("attention",),
    presets={"openmixup": {"alpha": 1.0, "swapped": True}},
    paper="Liu et al., ECCV 2022",
    link="https://arxiv.org/abs/2207.08409",
    lam="attention that the own patches that are kept have in the whole image",
)
def tokenmix(
    images: Tensor,
    labels: Tensor,
    *,
    attention: Tensor,
    generator: torch.Generator | None = None,
    alpha: float | None = None,
    mask_type: Literal["block", "random"] = "block",
    minimum_tokens: int = 14,
    swapped: bool = False,
) -> Mixed:
    """Paste patches of the partner in several blocks; labels weigh how much of what matters is shown of each.

    One mask is drawn for the batch, of about ``(1 - lam) * h * w + minimum_tokens`` patches. An image's label weighs
    the share of its attention that lies on the patches that are kept, its partner's the share of the partner's that
    lies on those that are pasted. So weights are not what is visible, and do not sum to 1.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        attention: floating (B, h, w), >= 0, of these images: what matters in which patch. Only proportions within a map
            count; where all is 0, it is uniform.
        generator: a CPU generator; None takes torch's default one.
        alpha: lam ~ Beta(alpha, alpha), > 0. None, the default, is a lam of 0.5, as in the authors' code.
        mask_type: 'block', the authors': rectangles of random size and place until there are enough patches, or none
            can be found in ten attempts that adds at least one and not too many. 'random': single patches.
        minimum_tokens: how many patches are pasted in any case, >= 0. Default 14, the authors', who have 196 patches:
            a smaller grid wants fewer.
        swapped: weigh labels the wrong way round, as OpenMixup does. Default False.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> images, attention = torch.rand(2, 3, 28, 28), torch.rand(2, 14, 14)
    >>> mixed = tokenmix(images, torch.arange(2), attention=attention, generator=torch.Generator().manual_seed(0))
    >>> round(float(mixed.mask.mean() * 196))
    84
    """
    check_batch(images, labels)
    check_map("attention", attention, len(images))
    check_choice("mask_type", mask_type, ("block", "random"))
    check_integer("minimum_tokens", minimum_tokens, 0)
    check_flag("swapped", swapped)
    if alpha is not None:
        check_positive("alpha", alpha)
    grid, size = (attention.shape[1], attention.shape[2]), (images.shape[2], images.shape[3])
    lam = 0.5 if alpha is None else float(sample_beta(alpha, (), generator))
    count = min(grid[0] * grid[1], int((1 - lam) * grid[0] * grid[1]) + minimum_tokens)
    draw = draw_blocks if mask_type == "block" else _draw_patches
    own = ~draw(grid, count, generator)
    plan = MaskPlan(sample_partner(len(images), generator), patches_to_pixels(own[None], size))
    mass, plan = unit_mass(attention), plan.to(images.device)
    shown = own.to(mass.device, non_blocking=True) ^ swapped
    weights = torch.stack([(mass * shown).sum((1, 2)), (mass[plan.partner] * ~shown).sum((1, 2))], dim=1)
    return mix(images, labels, plan, weights)


def draw_blocks(grid: tuple[int, int], count: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw ``count`` patches of a grid (h, w), or a few less, in blocks: bool (h, w), on the CPU.

    The rule is BEiT's (Bao et al., ICLR 2022), as TokenMix has it: areas are uniform up to what is missing, the
    logarithms of aspects uniform, places uniform, and a block is smaller than the grid both ways.
    """
    height, width = grid
    taken = torch.zeros(grid, dtype=torch.bool, device="cpu")
    missing = count
    while missing > 0:
        for area, aspect, y, x in sample_uniform(0, 1, (ATTEMPTS, 4), generator).tolist():
            area, aspect = 1 + area * (missing - 1), math.exp((2 * aspect - 1) * math.log(ASPECT))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if h >= height or w >= width:
                continue
            top, left = int(y * (height - h + 1)), int(x * (width - w + 1))
            block = taken[top : top + h, left : left + w]
            added = h * w - int(block.sum())
            if 0 < added <= missing:
                block.fill_(True)
                missing -= added
                break
        else:
            break
    return taken


def _draw_patches(grid: tuple[int, int], count: int, generator: torch.Generator | None) -> Tensor:
    """Draw ``count`` single patches of a grid (h, w): bool (h, w), on the CPU."""
    order = sample_uniform(0, 1, (grid[0] * grid[1],), generator).argsort()
    return (order.argsort() < count).view(grid)
