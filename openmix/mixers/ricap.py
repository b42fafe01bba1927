"""RICAP (Takahashi et al., ACML 2018), arXiv:1811.09030: random image cropping and patching.

Differs from the authors' code, which puts four random images into four fixed fields, in naming: each image is one of
its own four sources, in a field drawn at random, which makes the same set of pictures.
"""

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.mixers.mosaic import sample_fields
from openmix.ops.checks import check_positive
from openmix.ops.many_plans import MosaicPlan
from openmix.ops.plans import check_batch, mix
from openmix.ops.random import sample_beta, sample_sources, sample_uniform
from openmix.ops.target import Mixed

__all__ = ["plan_ricap", "ricap"]


@mixer(
    "RICAP",
    paper="Takahashi et al., ACML 2018",
    link="https://arxiv.org/abs/1811.09030",
    lam="area of the own field",
)
def ricap(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    alpha: float = 0.3,
    per_sample: bool = False,
) -> Mixed:
    """Lay out crops of four images about a point, each as large as its field; labels weigh the areas.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        alpha: the paper's beta: the point's row over H and column over W are Beta(alpha, alpha), > 0. Default 0.3, the
            authors'.
        per_sample: draw point, fields and crops for each image; False, the authors' code, draws them for the batch.

    Raises:
        ValueError: alpha <= 0, or tensors of another type or shape.

    >>> mixed = ricap(torch.zeros(4, 3, 8, 8), torch.arange(4))
    >>> mixed.target.weights.shape, mixed.masks.shape
    (torch.Size([4, 4]), torch.Size([4, 4, 8, 8]))
    """
    check_batch(images, labels)
    height, width = images.shape[2:]
    plan = plan_ricap(len(images), (height, width), generator=generator, alpha=alpha, per_sample=per_sample)
    return mix(images, labels, plan)


def plan_ricap(
    batch_size: int, size: tuple[int, int], *, generator: torch.Generator | None, alpha: float, per_sample: bool = False
) -> MosaicPlan:
    """Draw points, fields, crops and sources for images of ``size`` (H, W); for the rest see :func:`ricap`."""
    check_positive("alpha", alpha)
    n = batch_size if per_sample else 1
    sides = torch.tensor(size, device="cpu")
    cut = (sample_beta(alpha, (n, 2), generator).double() * sides).round().long()
    low, high = cut, sides - cut
    field_size = torch.stack(
        [torch.stack([rows[:, 0], columns[:, 1]], dim=1) for rows in (low, high) for columns in (low, high)], dim=1
    )
    room = sides - field_size
    origin = (sample_uniform(0, 1, (n, 4, 2), generator) * (room + 1)).long()  # every place that fits, evenly
    step = torch.ones(batch_size, 4, 2, device="cpu")
    field = sample_fields(n, generator).expand(batch_size, 4)
    sources = sample_sources(batch_size, 4, generator)
    return MosaicPlan(sources, field, cut.expand(batch_size, 2), origin.expand(batch_size, 4, 2), step, size)
