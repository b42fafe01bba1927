"""A mean of k images: MixUp with a Dirichlet in place of its Beta.

Published in several places for k > 2, for example by Jeong et al., "Observations on K-image expansion of image-mixing
augmentation", arXiv:2110.04248; no code is authoritative. With k = 2 it is MixUp.
"""

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_integer, check_positive
from openmix.ops.many_plans import SumPlan
from openmix.ops.plans import check_batch, mix
from openmix.ops.random import sample_dirichlet, sample_sources
from openmix.ops.target import Mixed

__all__ = ["plan_starmix", "starmix"]


@mixer(
    "StarMix",
    paper="Jeong et al., 2021 (K-image MixUp)",
    link="https://arxiv.org/abs/2110.04248",
    lam="own part of a Dirichlet draw",
)
def starmix(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    alpha: float = 1.0,
    k: int = 3,
    per_sample: bool = False,
) -> Mixed:
    """Blend k images, and their labels: ``sum_j lam_j * x[source_j]``, each image being its own first source.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        alpha: (lam_1, ..., lam_k) ~ Dirichlet(alpha, ..., alpha), > 0; large values give the plain mean. Default 1.0.
        k: how many images, >= 2. Default 3.
        per_sample: draw shares for each image; False draws one set for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = starmix(torch.zeros(4, 3, 8, 8), torch.arange(4), k=3)
    >>> mixed.target.labels.shape, mixed.sources[:, 0]
    (torch.Size([4, 3]), tensor([0, 1, 2, 3]))
    """
    check_batch(images, labels)
    plan = plan_starmix(len(images), generator=generator, alpha=alpha, k=k, per_sample=per_sample)
    return mix(images, labels, plan)


def plan_starmix(
    batch_size: int, *, generator: torch.Generator | None, alpha: float, k: int, per_sample: bool = False
) -> SumPlan:
    """Draw shares and sources; the arguments are those of :func:`starmix`."""
    check_positive("alpha", alpha)
    check_integer("k", k, 2)
    shares = sample_dirichlet(alpha, (batch_size if per_sample else 1,), k, generator)
    return SumPlan(sample_sources(batch_size, k, generator), shares.expand(batch_size, k))
