"""Mosaic (Bochkovskiy et al., YOLOv4, 2020), arXiv:2004.10934, for classification: four whole images in one.

YOLOv4 and its successors crop what does not fit, which is right for boxes; here each image is resized to its field, so
that every label's object is there to be seen, as in ResizeMix. The range of the centre is YOLOv5's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_range
from openmix.ops.many_plans import MosaicPlan
from openmix.ops.plans import check_batch, mix
from openmix.ops.random import sample_sources, sample_uniform
from openmix.ops.target import Mixed

__all__ = ["mosaic", "plan_mosaic", "sample_fields"]


@mixer(
    "Mosaic",
    paper="Bochkovskiy et al., 2020",
    link="https://arxiv.org/abs/2004.10934",
    lam="area of the own field",
)
def mosaic(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    scope: Sequence[float] = (0.25, 0.75),
    per_sample: bool = True,
) -> Mixed:
    """Lay out four images about a point, each resized to its field; labels weigh the areas.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        scope: the point's row over H, and its column over W, are uniform on it; 0 < low <= high <= 1. Default
            (0.25, 0.75).
        per_sample: draw a point, and who is where, for each image (as detectors do); False draws one for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = mosaic(torch.zeros(4, 3, 8, 8), torch.arange(4))
    >>> mixed.target.weights.shape, mixed.masks.shape
    (torch.Size([4, 4]), torch.Size([4, 4, 8, 8]))
    """
    check_batch(images, labels)
    height, width = images.shape[2:]
    plan = plan_mosaic(len(images), (height, width), generator=generator, scope=scope, per_sample=per_sample)
    return mix(images, labels, plan)


def plan_mosaic(
    batch_size: int,
    size: tuple[int, int],
    *,
    generator: torch.Generator | None,
    scope: Sequence[float],
    per_sample: bool = True,
) -> MosaicPlan:
    """Draw points, fields and sources for images of ``size`` (H, W); for the rest see :func:`mosaic`."""
    check_range("scope", scope, 0, 1)
    n = batch_size if per_sample else 1
    sides = torch.tensor(size, device="cpu")
    cut = (sample_uniform(scope[0], scope[1], (n, 2), generator) * sides).long()
    field = sample_fields(n, generator)
    # what is left of and above the point, and what is right of and below it
    step = sides / torch.stack([cut, sides - cut], dim=1).clamp(min=1).float()
    by_field = torch.stack([step[:, [0, 0, 1, 1], 0], step[:, [0, 1, 0, 1], 1]], dim=2)
    origin = torch.zeros(batch_size, 4, 2, dtype=torch.int64, device="cpu")
    sources = sample_sources(batch_size, 4, generator)
    return MosaicPlan(
        sources, field.expand(batch_size, 4), cut.expand(batch_size, 2), origin, by_field.expand(batch_size, 4, 2), size
    )


def sample_fields(n: int, generator: torch.Generator | None) -> Tensor:
    """Draw which of four sources each of four fields shows, n times: int64 (n, 4), each row a uniform permutation."""
    return torch.rand(n, 4, generator=generator, device="cpu", dtype=torch.float32).argsort(dim=1)
