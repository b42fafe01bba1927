"""R-Mix (Luu et al., AAAI 2023 workshop), arXiv:2212.04875. Authors' code: minhlong94/Random-Mixup.

Whoever copies it needs torch and `openmix.ops`, and leaves the decorator out.

The authors' code computes each image's quantile by interpolation and marks the patches at or above it. Here the
quantile is the value of the next patch, which marks the same ones, and maps are not divided by their sums: the order of
patches is all that counts, and a map of zeros would give NaN. Their code for CIFAR and for ImageNet are two methods:
preset 'imagenet' is the second one's mix; that it trains on the clean images as well is the task's `clean_weight=1.0`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_choice, check_flag, check_integer, check_positive
from openmix.ops.patches import patches_to_pixels
from openmix.ops.plans import BlendPlan, check_batch, mix
from openmix.ops.random import sample_beta, sample_integers, sample_partner
from openmix.ops.target import Mixed

__all__ = ["draw_rmix", "plan_rmix", "rmix", "tau_grid"]

PAIRINGS = ("random", "flip")
LARGEST_TAU = 0.99


@mixer(
    "RMix",
    needs=("saliency",),
    guide_pass="train",
    presets={"imagenet": {"alpha": 0.2, "pairing": "flip"}},
    paper="Luu et al., AAAI 2023 workshop",
    link="https://arxiv.org/abs/2212.04875",
    lam="own patches, and Beta's share of those that both or neither hold salient",
)
def rmix(
    images: Tensor,
    labels: Tensor,
    *,
    saliency: Tensor,
    generator: torch.Generator | None = None,
    alpha: float = 1.0,
    patches: Sequence[int] = (2, 4),
    num_taus: int = 10,
    pairing: str = "random",
    per_sample: bool = False,
) -> Mixed:
    """Show the one of two images that is salient, patch by patch; where both are, or neither is, blend them.

    Each image's map is averaged over a grid of patches. Those at or above its quantile tau, a random one, are its top
    patches: of n at least one, on average a little more than half. The label weights are what is visible.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        saliency: floating (B, h, w), >= 0, of any scale: only the order of an image's patches matters. A map that is
            constant marks all patches as top; two of them make MixUp. The authors' is the gradient of the loss.
        generator: a CPU generator; None takes torch's default one.
        alpha: lam ~ Beta(alpha, alpha), > 0, the own share of what is blended. Default 1.0, the authors' for CIFAR.
        patches: how many patches a side, one number of these drawn for each batch, each from 1 to min(H, W). Default
            (2, 4), the authors': patches of 16 and 8 pixels of CIFAR's 32. Where one does not divide a side, patches
            differ by a pixel.
        num_taus: how many values tau, drawn for each image, has between 0 and 0.99, both included; >= 1. Default 10,
            the authors'.
        pairing: 'random' is a uniform permutation, the authors' for CIFAR; 'flip' pairs image i with B - 1 - i.
        per_sample: draw lam for each image; False, the authors' code, draws one for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> draw = torch.Generator().manual_seed(0)
    >>> images, saliency = torch.rand(4, 3, 8, 8, generator=draw), torch.rand(4, 8, 8, generator=draw)
    >>> mixed = rmix(images, torch.arange(4), saliency=saliency, generator=draw)
    >>> torch.allclose(mixed.mask.mean((1, 2, 3)), mixed.target.weights[:, 0])
    True
    """
    check_batch(images, labels)
    size = (images.shape[2], images.shape[3])
    check_integer("num_taus", num_taus, 1)
    grid, lam, partner = draw_rmix(
        len(images), size, generator=generator, alpha=alpha, patches=patches, pairing=pairing, per_sample=per_sample
    )
    tau = tau_grid(num_taus)[sample_integers(num_taus, (len(images),), generator)]
    return mix(images, labels, plan_rmix(saliency, tau, lam, partner, grid, size))


def tau_grid(num_taus: int = 10) -> Tensor:
    """Return the values that tau is drawn from, evenly from 0 to 0.99: float32 (num_taus,) on the CPU."""
    return torch.linspace(0, LARGEST_TAU, num_taus, dtype=torch.float32, device="cpu")


def draw_rmix(
    batch_size: int,
    size: tuple[int, int],
    *,
    generator: torch.Generator | None,
    alpha: float = 1.0,
    patches: Sequence[int] = (2, 4),
    pairing: str = "random",
    per_sample: bool = False,
) -> tuple[int, Tensor, Tensor]:
    """Draw all but tau, for images of ``size`` (H, W): patches a side, lam (B or 1,), and partners (B,)."""
    check_positive("alpha", alpha)
    check_choice("pairing", pairing, PAIRINGS)
    check_flag("per_sample", per_sample)
    if isinstance(patches, int) or not patches:
        raise ValueError(f"patches must be a list of numbers of patches a side, such as (2, 4), got {patches!r}")
    for number in patches:
        check_integer("patches", number, 1)
        if number > min(size):
            raise ValueError(f"patches: {number} patches a side are more than images of {size[0]} x {size[1]} have")
    grid = patches[int(sample_integers(len(patches), (), generator))]
    lam = sample_beta(alpha, (batch_size if per_sample else 1,), generator)
    if pairing == "flip":
        return grid, lam, torch.arange(batch_size - 1, -1, -1, device="cpu")
    return grid, lam, sample_partner(batch_size, generator)


def plan_rmix(
    saliency: Tensor, tau: Tensor, lam: Tensor, partner: Tensor, grid: int, size: tuple[int, int]
) -> BlendPlan:
    """Make the plan from a batch's saliency and what has been drawn; RL-Mix's agent chooses ``tau`` in place of a draw.

    Args:
        saliency: floating (B, h, w), >= 0; the plan is made where it is.
        tau: float (B,), in [0, 1): an image's top patches are those at or above its quantile tau.
        lam: float32 (B,), or (1,) for all alike: the own share of what is blended.
        partner: int64 (B,).
        grid: patches a side.
        size: the images' (H, W).

    Raises:
        ValueError: saliency of another type or shape.

    >>> ramp = torch.arange(16.0).view(1, 4, 4)
    >>> plan = plan_rmix(ramp, torch.tensor([0.6]), torch.tensor([0.5]), torch.tensor([0]), 2, (4, 4))
    >>> plan.lam[0, 0, ::2, ::2]  # the image is its own partner: they agree everywhere
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    if saliency.ndim != 3 or len(saliency) != len(partner) or not saliency.is_floating_point():
        got = f"{saliency.dtype} {tuple(saliency.shape)}"
        raise ValueError(f"saliency must be floating point ({len(partner)}, h, w), one map an image, got {got}")
    tau, lam, partner = (t.to(saliency.device, non_blocking=True) for t in (tau, lam, partner))
    top = top_patches(saliency, tau, grid)
    own = torch.where(top == top[partner], lam[:, None, None], top)
    return BlendPlan(partner, patches_to_pixels(own, size))


def top_patches(saliency: Tensor, tau: Tensor, grid: int) -> Tensor:
    """Mark the patches whose mean is at or above the image's quantile tau: bool (B, grid, grid).

    A quantile that lies between two patches' means is above the lower one: the higher one will do in its place.
    """
    means = F.adaptive_avg_pool2d(saliency.float(), grid).flatten(1)
    rank = (tau * (grid * grid - 1)).ceil().long()
    quantile = means.sort(dim=1).values.gather(1, rank[:, None])
    return (means >= quantile).view(-1, grid, grid)
