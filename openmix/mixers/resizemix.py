"""ResizeMix (Qin et al., 2020), arXiv:2012.11101. Authors' code: JayQine/ResizeMix.

The default is the authors' code. The preset 'openmixup' is that code base's port, which differs: one box for the whole
batch, cut off at the border as CutMix's is, and the partner squeezed into what is left of it.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.mixers.cutmix import sample_centre
from openmix.ops.boxes import clip_boxes, shift_boxes
from openmix.ops.checks import check_choice, check_positive, check_range
from openmix.ops.plans import ResizePlan, check_batch, mix
from openmix.ops.random import sample_beta, sample_partner, sample_uniform
from openmix.ops.target import Mixed

__all__ = ["plan_resizemix", "resizemix"]

PRESETS = {"openmixup": {"placement": "clip", "per_sample_box": False}}


@mixer("ResizeMix", presets=PRESETS)
def resizemix(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    scope: Sequence[float] = (0.1, 0.8),
    per_sample: bool = False,
    per_sample_box: bool = True,
    placement: Literal["inside", "clip"] = "inside",
    use_alpha: bool = False,
    alpha: float = 1.0,
) -> Mixed:
    """Paste the whole partner image, made small, into each image; labels weigh what is visible of each.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        scope: the partner's scale tau is uniform on it, 0 < low <= high <= 1. Default the authors', (0.1, 0.8).
        per_sample: draw a scale for each image; False, the authors' code, draws one for the batch.
        per_sample_box: draw a place for each image (the authors' code); False draws one for the batch.
        placement: 'inside', the authors': a box centred on a uniform pixel and pushed inside, so that it keeps its
            size; its pixels are the partner's at (floor(i / tau), floor(j / tau)). 'clip': the box is cut off at the
            border and the whole partner resized to the rest, by nearest neighbour.
        use_alpha: draw tau ~ Beta(alpha, alpha) and, where that falls outside the scope, uniformly from it. OpenMixup's
            benchmarks set it, with alpha = 1, which is the uniform law again.
        alpha: used with ``use_alpha`` alone, > 0.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = resizemix(torch.zeros(4, 3, 8, 8), torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> mixed.images.shape, mixed.target.weights.sum(1)
    (torch.Size([4, 3, 8, 8]), tensor([1., 1., 1., 1.]))
    """
    check_batch(images, labels)
    height, width = images.shape[2:]
    plan = plan_resizemix(
        len(images),
        (height, width),
        generator=generator,
        scope=scope,
        per_sample=per_sample,
        per_sample_box=per_sample_box,
        placement=placement,
        use_alpha=use_alpha,
        alpha=alpha,
    )
    return mix(images, labels, plan)


def plan_resizemix(
    batch_size: int,
    size: tuple[int, int],
    *,
    generator: torch.Generator | None,
    scope: Sequence[float],
    per_sample: bool,
    per_sample_box: bool,
    placement: str,
    use_alpha: bool,
    alpha: float,
) -> ResizePlan:
    """Draw scales, boxes and partners for images of ``size`` (H, W); for the rest see :func:`resizemix`."""
    check_range("scope", scope, 0, 1)
    check_choice("placement", placement, ("inside", "clip"))
    check_positive("alpha", alpha)
    tau = _sample_scale(batch_size if per_sample else 1, scope, alpha if use_alpha else None, generator)
    # an image so small that the scaled one would vanish still shows one pixel of it
    side = (torch.tensor(size, device="cpu") * tau).long().clamp(min=1)
    centre = sample_centre(batch_size if per_sample_box else 1, size, generator)
    if placement == "inside":
        boxes, step = shift_boxes(centre, side, size), (1 / tau).float().expand(-1, 2)
    else:
        boxes = clip_boxes(centre, side, size)
        height_width = torch.stack([boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]], dim=1)
        step = torch.tensor(size, device="cpu").float() / height_width.clamp(min=1).float()
    partner = sample_partner(batch_size, generator)
    return ResizePlan(partner, boxes.expand(batch_size, 4), size, step.expand(batch_size, 2))


def _sample_scale(n: int, scope: Sequence[float], alpha: float | None, generator: torch.Generator | None) -> Tensor:
    low, high = scope
    tau = sample_uniform(low, high, (n, 1), generator)
    if alpha is None:
        return tau
    beta = sample_beta(alpha, (n, 1), generator).double()
    return torch.where((beta >= low) & (beta <= high), beta, tau)
