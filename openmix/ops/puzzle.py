"""Puzzle Mix's energy (Kim et al., ICML 2020, arXiv:2009.06962): how much of either image each block shows.

A label is the share of the own image in a block. It costs the saliency that is given up, the prior of the mixing ratio,
and, between neighbours, how unlike the two blocks' pixels are at their common border, and how unlike their labels. This
is the energy of the authors' code (snu-mllab/PuzzleMix), in floating point and without the factor that their solver of
whole numbers needs.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.grid_energy import GridEnergy
from openmix.ops.patches import unit_mass

__all__ = ["border_contrasts", "label_prior", "puzzle_energy", "saliency_shares"]

PRIOR_FLOOR = 1e-8  # the authors': what a probability is raised by before its logarithm is taken


def puzzle_energy(
    saliency: Tensor,
    images: Tensor,
    partner: Tensor,
    lam: Tensor,
    *,
    n_labels: int,
    beta: float,
    gamma: float,
    eta: float,
    neigh: int,
    pixel_range: Tensor | None = None,
) -> GridEnergy:
    """Return the energy of showing ``v(l) = l / (L - 1)`` of the own image, and the rest of the partner, in each block.

    With z the share, u and u' the saliency of own block and partner's, p the prior, b = beta / (16 n), and d the
    contrasts of :func:`border_contrasts`, it is, up to a constant,

        sum_p z u' + (1 - z) u + eta / n^2 p(z)
            + sum_pq b (z_p - z_q)^2 + b gamma (the multilinear form of d through z_p, z_q in {0, 1})

    where the form's product z_p z_q is written as squares: (z_p^2 + z_q^2 - (z_p - z_q)^2) / 2, and z^2 as z. As d is
    at most 1, the weights between neighbours are at least b (1 - gamma).

    Args:
        saliency: float32 (B, n, n), each image's sum 1.
        images: floating (B, C, H, W), of sides of at least n.
        partner: int64 (B,).
        lam: float32 (B, 1, 1), or (1, 1, 1) for all alike: the share of own blocks that the prior expects.
        n_labels: L.
        beta: weight of unlike labels, and of contrasts.
        gamma: weight of contrasts beside that of unlike labels, < 1.
        eta: weight of the prior.
        neigh: see :func:`border_contrasts`.
        pixel_range: (2, C), the values of black and of white; None for 0 and 1.
    """
    n = saliency.shape[1]
    rate = beta / (16 * n)
    share = torch.linspace(0, 1, n_labels, dtype=torch.float32, device=saliency.device)
    # what a block costs that shows the partner alone, and the own image alone
    ends = torch.stack([saliency, saliency[partner]])
    weights = []
    for axis, d in enumerate(border_contrasts(images, partner, n, neigh, pixel_range)):
        phi = rate * gamma * d
        first, second = ends.narrow(2 + axis, 0, n - 1), ends.narrow(2 + axis, 1, n - 1)
        first += phi.sum(1) / 2
        second += phi.sum(0) / 2
        weights.append(rate + (phi[1, 0] + phi[0, 1] - phi[1, 1] - phi[0, 0]) / 2)
    down, right = weights
    unary = torch.lerp(ends[0, ..., None], ends[1, ..., None], share) + eta / n**2 * label_prior(lam, n_labels)
    return GridEnergy(unary, right, down)


def saliency_shares(saliency: Tensor, rows: int, columns: int) -> Tensor:
    """Return each block's share of an image's saliency: float32 (B, rows, columns) that sums to 1.

    Args:
        saliency: (B, h, w), >= 0, of any resolution and scale; a map all 0, or not finite, counts as uniform.
        rows: blocks from top to bottom.
        columns: blocks from left to right.

    >>> saliency_shares(torch.tensor([[[1.0, 3.0], [0.0, 4.0]]]), 1, 2)
    tensor([[[0.1250, 0.8750]]])
    """
    return unit_mass(F.adaptive_avg_pool2d(saliency.detach().float(), (rows, columns)))


def label_prior(lam: Tensor, n_labels: int) -> Tensor:
    """Return the negative logarithm of each label's probability: float32 (*lam.shape, L).

    Label l is as likely as l successes in L - 1 trials.

    Args:
        lam: in [0, 1], the chance of a success.
        n_labels: L >= 2.

    >>> label_prior(torch.tensor(0.5), 3)
    tensor([1.3863, 0.6931, 1.3863])
    """
    trials = n_labels - 1
    k = torch.arange(n_labels, device=lam.device)
    ways = torch.tensor([math.comb(trials, i) for i in range(n_labels)], device="cpu")
    ways = ways.to(lam.device, non_blocking=True)
    lam = lam[..., None].float()
    return -(ways * lam**k * (1 - lam) ** (trials - k) + PRIOR_FLOOR).log()


def border_contrasts(
    images: Tensor, partner: Tensor, n: int, neigh: int, pixel_range: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return how unlike neighbouring blocks are at their border, for each choice of the image that either shows.

    Pixels are averaged over squares, and the difference of the two squares that face each other across the border is
    averaged, without its sign, over channels and along the border. In images within the pixel range it is in [0, 1].

    Args:
        images: floating (B, C, H, W), of sides of at least n; where n does not divide them, they are shrunk a little.
        partner: int64 (B,).
        n: blocks a side.
        neigh: the squares' sides in pixels; or, each for itself, the next smaller number that divides the block's side.
        pixel_range: (2, C), the values of black and of white; None for 0 and 1.

    Returns:
        float32 (2, 2, B, n - 1, n) between blocks one below the other, and (2, 2, B, n, n - 1) between blocks side by
        side. [a, b] is for image a in the upper or left block and image b in the other, 1 being the own image and 0 the
        partner.
    """
    images = images.detach()
    height, width = (side // n * n for side in images.shape[2:])
    if images.shape[2:] != (height, width):
        images = F.adaptive_avg_pool2d(images.float(), (height, width))
    squares = _square(height // n, neigh), _square(width // n, neigh)
    scale = 1 if pixel_range is None else (pixel_range[1] - pixel_range[0]).float()[:, None, None]
    contrasts = []
    for axis in (2, 3):
        first, second = (edge / scale for edge in _edges(images, n, squares, axis))
        own = _contrast(first, second, n, axis)
        mixed = _contrast(first[partner], second, n, axis), _contrast(first, second[partner], n, axis)
        contrasts.append(torch.stack([own[partner], *mixed, own]).unflatten(0, (2, 2)))
    return contrasts[0], contrasts[1]


def _square(side: int, neigh: int) -> int:
    """Return the largest divisor of ``side`` up to ``neigh``."""
    return max(d for d in range(1, min(neigh, side) + 1) if side % d == 0)


def _edges(images: Tensor, n: int, squares: tuple[int, int], axis: int) -> tuple[Tensor, Tensor]:
    """Return the averages of the squares before and behind the n - 1 borders across ``axis``, which alone are read.

    They are (B, C, n - 1, W / w) for axis 2, and (B, C, H / h, n - 1) for axis 3.
    """
    depth, length = squares[axis - 2], squares[3 - axis]
    blocks = images.unflatten(axis, (n, -1))
    last = blocks.shape[axis + 1] - 1

    def average(first_block: int, lines: Sequence[int]) -> Tensor:
        strips = [blocks.narrow(axis, first_block, n - 1).select(axis + 1, line).float() for line in lines]
        return sum(strips[1:], strips[0]).unflatten(5 - axis, (-1, length)).mean(6 - axis) / depth

    return average(0, range(last, last - depth, -1)), average(1, range(depth))


def _contrast(first: Tensor, second: Tensor, n: int, axis: int) -> Tensor:
    """Return the mean absolute difference over channels and along each border: (B, n - 1, n), or (B, n, n - 1)."""
    return (first - second).abs_().mean(1).unflatten(4 - axis, (n, -1)).mean(5 - axis)
