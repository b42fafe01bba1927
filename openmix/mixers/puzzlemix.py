"""Puzzle Mix (Kim, Choo, Song, ICML 2020), arXiv:2009.06962. Authors' code: snu-mllab/PuzzleMix.

Differs from the authors' code in how its two problems are solved, not in what they are. The masks are exact minima, or
known to be near, where theirs come from a graph cut of whole numbers that often stops short of it; and blocks are
transported one to one, where theirs are placed by a rule of thumb. Nothing leaves the device. Their adversarial noise,
which takes a second gradient, is left out; their clean loss is MixUpClassification's ``clean_weight``. OpenMixup's port
(preset 'openmixup': its classifier's defaults) differs in grid sizes and in transporting whole blocks of the grid; its
CIFAR benchmarks have the authors' values again, which are the defaults here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_flag, check_integer, check_number, check_positive
from openmix.ops.grid_solver import minimise
from openmix.ops.move_plans import MovePlan, block_of_lines
from openmix.ops.plans import BlendPlan, check_batch, mix
from openmix.ops.puzzle import puzzle_energy, saliency_shares
from openmix.ops.random import sample_beta, sample_integers, sample_partner
from openmix.ops.target import Mixed
from openmix.ops.transport import transport_blocks

__all__ = ["puzzlemix"]

FINEST = 16  # blocks a side: the authors' code transports no finer grid, whatever t_size


@mixer(
    "PuzzleMix",
    needs=("saliency",),
    guide_pass="eval",
    presets={
        "openmixup": {"block_nums": (2, 4, 8), "t_size": None},
        "imagenet": {"beta": 1.5, "neigh": 2, "t_size": None},
    },
    paper="Kim et al., ICML 2020",
    link="https://arxiv.org/abs/2009.06962",
    lam="mean of the mask",
    hints={
        "block_num": "; write block_nums, the numbers themselves: OpenMixup's 5 is (2, 4, 8, 16)",
        "t_batch_size": "; leave it out: blocks are gathered, which takes no memory to speak of",
        "mp": "; leave it out: all images are solved together on their device",
        **dict.fromkeys(("noise", "adv_mask1", "adv_mask2", "adv_p", "adv_eps"), "; adversarial noise is left out"),
        "clean_lam": "; write clean_weight= of MixUpClassification",
    },
)
def puzzlemix(
    images: Tensor,
    labels: Tensor,
    *,
    saliency: Tensor,
    generator: torch.Generator | None = None,
    pixel_range: Tensor | None = None,
    alpha: float = 1.0,
    block_nums: Sequence[int] = (2, 4, 8, 16),
    n_labels: int = 3,
    beta: float = 1.2,
    gamma: float = 0.5,
    eta: float = 0.2,
    neigh: int = 4,
    transport: bool = True,
    t_size: int | None = 4,
    t_eps: float = 0.8,
    per_sample: bool = False,
) -> Mixed:
    """Choose, block by block, how much of the image and of its partner to show, so that what is salient stays seen.

    The shares minimise an energy (see :func:`~openmix.ops.puzzle.puzzle_energy`) of the saliency that is lost, of
    unlike neighbours, and of how far the whole is from the ratio lam that was drawn. Then blocks of either image may
    move to where they are seen, if their saliency is worth the way. Labels weigh the mean share, what is visible.

    The defaults are the authors' for CIFAR; preset 'imagenet' is their ImageNet recipe.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        saliency: (B, h, w), >= 0: the size of the loss's gradient by the pixels, in any unit and resolution. A map that
            is 0 all over counts as uniform.
        generator: a CPU generator; None takes torch's default one.
        pixel_range: (2, C), the values of black and of white in the images; None for 0 and 1.
        alpha: lam ~ Beta(alpha, alpha), > 0. Default 1.0.
        block_nums: how many blocks a side the grid may have, each at least 2; one is drawn for the batch, of those that
            divide both sides of the images. Where none does, blocks differ by a line. Default (2, 4, 8, 16).
        n_labels: how many shares a block may have, evenly spaced from 0 to 1: 2, 3 or 4. Default 3: 0, 1/2 and 1.
        beta: weight of unlike neighbours, >= 0. Default 1.2; ImageNet's is 1.5.
        gamma: in [0, 1), weight of pixels' contrast at borders beside that of the shares' difference. Default 0.5.
        eta: weight of the ratio that was drawn, >= 0. Default 0.2.
        neigh: side in pixels of the squares whose contrast is compared across borders. Default 4; ImageNet's is 2.
        transport: whether to move blocks. Default True. Where they may move, the result has no masks.
        t_size: side in pixels of what is moved, at least; blocks are divided into no more than 16 a side of the image,
            nor unevenly. None for whole blocks of the grid. Default 4; ImageNet's is None.
        t_eps: cost of moving across the whole image, in units of its saliency, > 0. Default 0.8.
        per_sample: draw lam for each image; False, the authors' code, draws one for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> images, labels, saliency = torch.rand(4, 3, 16, 16), torch.arange(4), torch.rand(4, 16, 16)
    >>> mixed = puzzlemix(images, labels, saliency=saliency, transport=False, block_nums=(2, 4))
    >>> bool((mixed.mask.mean((1, 2, 3)) == mixed.target.weights[:, 0]).all())
    True
    """
    check_batch(images, labels)
    batch, _, height, width = images.shape
    if saliency.ndim != 3 or len(saliency) != batch or not saliency.is_floating_point():
        got = f"{saliency.dtype} {tuple(saliency.shape)}"
        raise ValueError(f"saliency must be floating point ({batch}, h, w), one map an image, got {got}")
    _check(alpha, n_labels, beta, gamma, eta, neigh, transport, t_size, t_eps, per_sample)
    fitting = _fitting(block_nums, height, width)
    n = fitting[int(sample_integers(len(fitting), (), generator))]
    lam = sample_beta(alpha, (batch if per_sample else 1, 1, 1), generator).to(images.device, non_blocking=True)
    partner = sample_partner(batch, generator).to(images.device, non_blocking=True)

    parts = _parts(height // n, width // n, n, t_size) if transport and t_size is not None else 1
    fine = saliency_shares(saliency, n * parts, n * parts)
    coarse = fine.view(batch, n, parts, n, parts).sum((2, 4))
    energy = puzzle_energy(
        coarse, images, partner, lam,
        n_labels=n_labels, beta=beta, gamma=gamma, eta=eta, neigh=neigh, pixel_range=pixel_range,
    )  # fmt: skip
    share = minimise(energy).labels.float() / (n_labels - 1)
    if not transport:
        return mix(images, labels, BlendPlan(partner, _enlarged(share, height, width)[:, None]))
    share = _enlarged(share, n * parts, n * parts)
    source, _ = transport_blocks(torch.cat([fine, fine[partner]]), torch.cat([share > 0, share < 1]), t_eps)
    plan = MovePlan(partner, share[:, None], source[:batch], source[batch:], (height, width))
    return mix(images, labels, plan)


def _check(
    alpha: float,
    n_labels: int,
    beta: float,
    gamma: float,
    eta: float,
    neigh: int,
    transport: bool,
    t_size: int | None,
    t_eps: float,
    per_sample: bool,
) -> None:
    for name, value in (("alpha", alpha), ("t_eps", t_eps)):
        check_positive(name, value)
    for name, value in (("beta", beta), ("gamma", gamma), ("eta", eta)):
        check_number(name, value)
        if value < 0:
            raise ValueError(f"{name} must be at least 0, got {value!r}")
    if gamma >= 1:
        raise ValueError(f"gamma must be below 1, or neighbours would be paid for being unlike, got {gamma!r}")
    check_integer("n_labels", n_labels, 2)
    if n_labels > 4:
        raise ValueError(f"n_labels must be 2, 3 or 4, got {n_labels}")
    check_integer("neigh", neigh, 1)
    if t_size == -1:
        raise ValueError("t_size must be at least 1, or None for whole blocks, which is -1 in the authors' code")
    if t_size is not None:
        check_integer("t_size", t_size, 1)
    check_flag("transport", transport)
    check_flag("per_sample", per_sample)


def _fitting(block_nums: Sequence[int], height: int, width: int) -> list[int]:
    """Return the block numbers that divide both sides, or, where none does, all that the sides have lines for."""
    if isinstance(block_nums, int) or not block_nums:
        raise ValueError(f"block_nums must be a list of numbers of blocks a side, such as (2, 4), got {block_nums!r}")
    for n in block_nums:
        check_integer("block_nums", n, 2)
    possible = [n for n in block_nums if n <= min(height, width)]
    if not possible:
        raise ValueError(f"block_nums: images of {height} x {width} pixels have no {min(block_nums)} lines of blocks")
    return [n for n in possible if height % n == width % n == 0] or possible


def _parts(tall: int, wide: int, n: int, t_size: int) -> int:
    """Return into how many parts a side to divide each of n x n blocks of ``tall`` x ``wide`` pixels."""
    parts = range(1, FINEST // n + 1)
    return max((m for m in parts if tall % m == wide % m == 0 and min(tall, wide) // m >= t_size), default=1)


def _enlarged(share: Tensor, height: int, width: int) -> Tensor:
    """Return the shares of blocks (B, n, n) for each of so many rows and columns."""
    rows, columns = (block_of_lines(side, share.shape[1], share.device) for side in (height, width))
    return share.index_select(1, rows).index_select(2, columns)
