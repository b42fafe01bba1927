"""k-Mixup (Greenewald et al., TMLR 2023), arXiv:2106.02933: MixUp with partners matched by optimal transport.

The match within each group is exact, by trying every arrangement of it at once, which a group of up to six allows; the
authors solve an assignment on the CPU, for larger groups as well.
"""

import functools
from itertools import permutations

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.mixers.mixup import plan_mixup
from openmix.ops.plans import BlendPlan, check_batch, mix
from openmix.ops.random import sample_partner
from openmix.ops.target import Mixed

__all__ = ["kmixup", "match_groups"]


@mixer(
    "KMixUp",
    paper="Greenewald et al., TMLR 2023",
    link="https://arxiv.org/abs/2106.02933",
    lam="own factor of the blend",
)
def kmixup(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    alpha: float = 1.0,
    k: int = 4,
    per_sample: bool = False,
) -> Mixed:
    """Blend each image with a partner near it: two random groups of k images are matched so as to be closest.

    Closest is the least sum of squared distances between images. Of B images, B mod k have random partners.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        alpha: lam ~ Beta(alpha, alpha), > 0. Default 1.0.
        k: size of the groups, 1 (plain MixUp) to 6. Default 4.
        per_sample: draw a lam for each image; False draws one for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> x = torch.tensor([0.0, 10.0, 0.1, 10.1]).view(4, 1, 1, 1)
    >>> kmixup(x, torch.arange(4), k=4).partner.shape
    torch.Size([4])
    """
    check_batch(images, labels)
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= 6:
        raise ValueError(f"k must be an integer from 1 to 6, got {k!r}")
    plan = plan_mixup(len(images), generator=generator, alpha=alpha, per_sample=per_sample)
    group = sample_partner(len(images), generator)  # groups are runs of k in this order, matched with runs of partners
    group, partner = (t.to(images.device, non_blocking=True) for t in (group, plan.partner))
    partner = match_groups(images, group, partner, k)
    return mix(images, labels, BlendPlan(partner, plan.lam))


def match_groups(images: Tensor, group: Tensor, partner: Tensor, k: int) -> Tensor:
    """Return each image's partner, matched within groups: int64 (B,), on the images' device.

    Args:
        images: (B, C, H, W).
        group: int64 (B,), a permutation; its runs of k are the groups.
        partner: int64 (B,), a permutation; its runs of k are the groups' partners.
        k: size of the groups; what is left over keeps the order of ``partner``.
    """
    whole = len(images) // k * k
    own, other = group[:whole].view(-1, k), partner[:whole].view(-1, k)
    flat = images.detach().flatten(1).float()
    flat = flat - flat.mean(0)  # which changes no distance, and keeps digits
    with torch.autocast(images.device.type if images.device.type != "meta" else "cpu", enabled=False):
        # |x - y|^2 without |x|^2 and |y|^2, which every arrangement pays alike
        cost = -flat[own] @ flat[other].transpose(1, 2)
    orders = _orders(k).to(images.device, non_blocking=True)
    total = cost.transpose(1, 2)[:, orders, torch.arange(k, device=images.device)].sum(2)  # (groups, k!)
    best = orders[total.argmin(1)] if whole else orders[:0]
    matched = torch.cat([other.gather(1, best).flatten(), partner[whole:]])
    return torch.empty_like(partner).scatter_(0, group, matched)


@functools.cache
def _orders(k: int) -> Tensor:
    """Return all arrangements of k: int64 (k!, k) on the CPU."""
    return torch.tensor(list(permutations(range(k))), device="cpu")
