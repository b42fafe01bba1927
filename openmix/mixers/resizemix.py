"""ResizeMix (Qin et al., 2020), arXiv:2012.11101. Authors' code: JayQine/ResizeMix.

The default is the authors' code. Two ports differ, and are presets. 'openmixup': one box for the whole batch, cut off
at the border as CutMix's is, and the partner squeezed into what is left of it. 'mmpretrain': the same, but the scope
bounds lam and not the scale, so that boxes are larger, and the partner is resized bilinearly.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.mixers.cutmix import sample_centre
from openmix.ops.box_plans import ResizePlan, resize_plan
from openmix.ops.boxes import clip_boxes, shift_boxes
from openmix.ops.checks import check_choice, check_positive, check_range
from openmix.ops.plans import check_batch, mix
from openmix.ops.random import sample_beta, sample_partner, sample_uniform
from openmix.ops.target import Mixed

__all__ = ["plan_resizemix", "resizemix"]

PRESETS = {
    "openmixup": {"placement": "clip", "per_sample_box": False},
    "mmpretrain": {
        "placement": "clip",
        "per_sample_box": False,
        "scope_of": "lam",
        "interpolation": "bilinear",
    },
}


@mixer(
    "ResizeMix",
    presets=PRESETS,
    paper="Qin et al., 2020",
    link="https://arxiv.org/abs/2012.11101",
    lam="1 - area of the box",
)
def resizemix(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    scope: Sequence[float] = (0.1, 0.8),
    per_sample: bool = False,
    per_sample_box: bool = True,
    placement: Literal["inside", "clip"] = "inside",
    scope_of: Literal["tau", "lam"] = "tau",
    use_alpha: bool = False,
    alpha: float = 1.0,
    interpolation: Literal["nearest", "bilinear"] = "nearest",
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
        scope_of: 'tau', the authors': the scope bounds the scale. 'lam', MMPretrain's: lam is Beta(alpha, alpha)
            stretched to the scope, and the scale sqrt(1 - lam).
        use_alpha: draw tau ~ Beta(alpha, alpha) and, where that falls outside the scope, uniformly from it. OpenMixup's
            benchmarks set it, with alpha = 1, which is the uniform law again.
        alpha: used with ``use_alpha`` or ``scope_of='lam'`` alone, > 0.
        interpolation: how the partner is made small: 'nearest', the authors', or 'bilinear', without antialiasing.

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
        scope_of=scope_of,
        use_alpha=use_alpha,
        alpha=alpha,
        interpolation=interpolation,
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
    scope_of: str,
    use_alpha: bool,
    alpha: float,
    interpolation: str,
) -> ResizePlan:
    """Draw scales, boxes and partners for images of ``size`` (H, W); for the rest see :func:`resizemix`."""
    check_range("scope", scope, 0, 1)
    check_choice("placement", placement, ("inside", "clip"))
    check_choice("scope_of", scope_of, ("tau", "lam"))
    check_positive("alpha", alpha)
    check_choice("interpolation", interpolation, ("nearest", "bilinear"))
    n = batch_size if per_sample else 1
    tau = _sample_scale(n, scope, scope_of, use_alpha, alpha, generator)
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
    return resize_plan(partner, boxes.expand(batch_size, 4), size, step.expand(batch_size, 2), interpolation)


def _sample_scale(
    n: int, scope: Sequence[float], scope_of: str, use_alpha: bool, alpha: float, generator: torch.Generator | None
) -> Tensor:
    """Return n scales tau: float64 (n, 1)."""
    low, high = scope
    if scope_of == "lam":
        lam = low + (high - low) * sample_beta(alpha, (n, 1), generator).double()
        return (1 - lam).sqrt().clamp(min=1e-6)  # its inverse is the step, which must stay finite
    tau = sample_uniform(low, high, (n, 1), generator)
    if not use_alpha:
        return tau
    beta = sample_beta(alpha, (n, 1), generator).double()
    return torch.where((beta >= low) & (beta <= high), beta, tau)
