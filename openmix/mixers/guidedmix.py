"""GuidedMixup (Kang & Kim, AAAI 2023), arXiv:2306.16612. Authors' code: 3neutronstar/GuidedMixup.

The authors have two kinds of saliency, and this function takes either: 'ap', the gradient of the loss, for which they
run the network in mode 'train', and 'sr', :func:`~openmix.ops.saliency.spectral_residual`, which needs no network.

It differs from their code where both maps are zero in a pixel, which is then shared equally: theirs divides by zero.
OpenMixup's port (preset 'openmixup') finds the same pairs and does not use them, so that partners are a random
permutation; and it runs the network in mode 'eval'.
"""

from typing import Literal

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_choice
from openmix.ops.patches import unit_mass
from openmix.ops.plans import BlendPlan, check_batch, mix
from openmix.ops.random import sample_partner
from openmix.ops.saliency import gaussian_blur
from openmix.ops.target import Mixed

__all__ = ["greedy_cycle", "guidedmix", "saliency_shares"]


@mixer(
    "GuidedMix",
    needs=("saliency",),
    guide_pass="train",
    presets={"openmixup": {"pairing": "random"}},
    paper="Kang & Kim, AAAI 2023",
    link="https://arxiv.org/abs/2306.16612",
    lam="mean of the mask",
)
def guidedmix(
    images: Tensor,
    labels: Tensor,
    *,
    saliency: Tensor,
    generator: torch.Generator | None = None,
    pairing: Literal["greedy", "random"] = "greedy",
) -> Mixed:
    """Blend each pixel with the partner's in the ratio of their saliencies; labels weigh what is visible.

    Saliency is blurred (7 pixels, standard deviation 3) and made to sum to 1. Partners are such that their maps differ:
    the batch is arranged in one cycle that begins with the two maps farthest apart and goes on from each image to the
    farthest of those that are left, in Euclidean distance; an image's partner is the next one.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        saliency: floating (B, H, W), >= 0, of any scale; a map that is 0 all over counts as uniform.
        generator: a CPU generator; None takes torch's default one. Used with ``pairing='random'`` alone.
        pairing: 'greedy', as above, what the authors publish results of; 'random', a uniform permutation.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> saliency = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]).repeat_interleave(9, dim=2)
    >>> mixed = guidedmix(torch.zeros(2, 1, 1, 18), torch.arange(2), saliency=saliency)
    >>> mixed.partner, mixed.target.weights
    (tensor([1, 0]), tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]]))
    """
    check_batch(images, labels)
    check_choice("pairing", pairing, ("greedy", "random"))
    wanted = (len(images), *images.shape[2:])
    if tuple(saliency.shape) != wanted or not saliency.is_floating_point():
        got = f"{saliency.dtype} {tuple(saliency.shape)}"
        raise ValueError(f"saliency must be floating point {wanted}, one value a pixel, got {got}")
    own = saliency_shares(saliency)
    if pairing == "greedy":
        partner = greedy_cycle(_squared_distances(own.flatten(1)))
    else:
        partner = sample_partner(len(images), generator).to(images.device, non_blocking=True)
    both = own + own[partner]
    lam = torch.where(both > 0, own / both, 0.5)
    return mix(images, labels, BlendPlan(partner, lam[:, None]))


def saliency_shares(saliency: Tensor) -> Tensor:
    """Return the blurred maps (B, H, W) in float32, each of sum 1."""
    maps = gaussian_blur(unit_mass(saliency), 7, 3.0)
    return maps / maps.sum((1, 2), keepdim=True)


def _squared_distances(points: Tensor) -> Tensor:
    """Return the squared Euclidean distance of each two of points (B, n), up to rounding: (B, B)."""
    points = points - points.mean(0)  # which changes no distance, and keeps digits
    points = points / points.square().sum(1).amax().sqrt().clamp(min=1e-30)
    with torch.autocast(points.device.type if points.device.type != "meta" else "cpu", enabled=False):
        product = points @ points.T
    square = product.diagonal()
    return square[:, None] + square - 2 * product


def greedy_cycle(distance: Tensor) -> Tensor:
    """Arrange n points in one cycle: from the farthest two on, always to the farthest of those that are left.

    Args:
        distance: float (n, n).

    Returns:
        int64 (n,), the point after each; for one point itself. Of equal distances the first counts.

    >>> places = torch.tensor([0.0, 1.0, 5.0, 7.0])
    >>> greedy_cycle((places[:, None] - places).abs())
    tensor([3, 2, 0, 1])
    """
    n = len(distance)
    closed = distance.clone().fill_diagonal_(float("-inf"))
    farthest = closed.flatten().argmax()
    # points are held as (1,), as nothing may wait for a device to tell which they are
    path = [(farthest // n)[None], (farthest % n)[None]]
    for _ in range(n - 2):
        closed.index_fill_(1, path[-2], float("-inf"))
        path.append(closed.index_select(0, path[-1]).argmax(1))
    order = torch.cat(path[:n])
    return torch.empty_like(order).scatter_(0, order, order.roll(-1))
