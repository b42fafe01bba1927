"""MixUp (Zhang et al., ICLR 2018), arXiv:1710.09412. Authors' code: hongyi-zhang/mixup and facebookresearch."""

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_positive
from openmix.ops.plans import BlendPlan, check_batch, mix
from openmix.ops.random import sample_beta, sample_partner
from openmix.ops.target import Mixed

__all__ = ["mixup", "plan_mixup"]


@mixer(
    "MixUp",
    paper="Zhang et al., ICLR 2018",
    link="https://arxiv.org/abs/1710.09412",
    lam="own factor of the blend",
)
def mixup(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    alpha: float = 1.0,
    per_sample: bool = False,
) -> Mixed:
    """Blend each image, and its label, with a partner's: ``lam * x + (1 - lam) * x[partner]``.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        alpha: lam ~ Beta(alpha, alpha), > 0. Default 1.0, the authors' for CIFAR (0.2 for ImageNet).
        per_sample: draw a lam for each image; False, the authors' code, draws one for the batch.

    Raises:
        ValueError: alpha <= 0, or tensors of another type or shape.

    >>> mixed = mixup(torch.zeros(4, 3, 8, 8), torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> mixed.images.shape, mixed.target.weights.sum(1)
    (torch.Size([4, 3, 8, 8]), tensor([1., 1., 1., 1.]))
    """
    check_batch(images, labels)
    return mix(images, labels, plan_mixup(len(images), generator=generator, alpha=alpha, per_sample=per_sample))


def plan_mixup(
    batch_size: int, *, generator: torch.Generator | None, alpha: float, per_sample: bool = False
) -> BlendPlan:
    """Draw lam and the partners; the arguments are those of :func:`mixup`."""
    check_positive("alpha", alpha)
    lam = sample_beta(alpha, (batch_size if per_sample else 1, 1, 1, 1), generator)
    return BlendPlan(sample_partner(batch_size, generator), lam.expand(batch_size, 1, 1, 1))
