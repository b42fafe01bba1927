"""SmoothMix (Lee et al., CVPR Workshops 2020): a paste without an edge.

OpenMixup's port, the code that published numbers come from, blends as below but hands the labels out the wrong way
round: its own label weighs what is visible of the partner. The preset 'openmixup' keeps that error. No code of the
authors' was found; the settings are the port's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.mixers.cutmix import sample_centre
from openmix.ops.checks import check_range
from openmix.ops.plans import BlendPlan, check_batch, mix
from openmix.ops.random import sample_partner, sample_uniform
from openmix.ops.target import Mixed

__all__ = ["plan_smoothmix", "smoothmix"]


@mixer(
    "SmoothMix",
    presets={"openmixup": {"inverted_labels": True}},
    paper="Lee et al., CVPRW 2020",
    link="https://openaccess.thecvf.com/content_CVPRW_2020/html/w45/Lee_SmoothMix_A_Simple_Yet_Effective_Data_Augmentation_to_Train_Robust_CVPRW_2020_paper.html",
    lam="1 - mean of the bump",
)
def smoothmix(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    sigma: Sequence[float] = (0.25, 0.5),
    inverted_labels: bool = False,
    per_sample: bool = False,
) -> Mixed:
    """Let the partner show through a Gaussian bump: ``(1 - K) * x + K * x[partner]``.

    ``K`` is 1 at the bump's centre, which is uniform over the image, and falls with standard deviation
    ``sigma * H`` along the height and ``sigma * W`` along the width. Labels weigh what is visible: lam = 1 - mean(K),
    0.57 in the mean.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        sigma: range of the standard deviation over the image's side, from which it is drawn uniformly, 0 < low <= high.
            Default (0.25, 0.5).
        inverted_labels: weigh the own label by mean(K), OpenMixup's error.
        per_sample: draw a bump for each image; False, the port's code, draws one for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = smoothmix(torch.zeros(4, 3, 8, 8), torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> mixed.images.shape, mixed.target.weights.sum(1)
    (torch.Size([4, 3, 8, 8]), tensor([1., 1., 1., 1.]))
    """
    check_batch(images, labels)
    height, width = images.shape[2:]
    plan = plan_smoothmix(len(images), (height, width), generator=generator, sigma=sigma, per_sample=per_sample)
    return mix(images, labels, plan, plan.weights.flip(1) if inverted_labels else None)


def plan_smoothmix(
    batch_size: int,
    size: tuple[int, int],
    *,
    generator: torch.Generator | None,
    sigma: Sequence[float],
    per_sample: bool = False,
) -> BlendPlan:
    """Draw bumps and partners for images of ``size`` (H, W); for the rest see :func:`smoothmix`."""
    check_range("sigma", sigma, 0, float("inf"))
    n = batch_size if per_sample else 1
    centre = sample_centre(n, size, generator) - 0.5  # the port's grid: from half a pixel before the first one
    spread = sample_uniform(sigma[0], sigma[1], (n, 1), generator)
    # a round bump is a product of one along the height and one along the width
    rows, columns = (
        torch.exp(-((torch.arange(side, device="cpu") - centre[:, axis, None]) / (spread * side)).square() / 2)
        for axis, side in enumerate(size)
    )
    bump = (rows[:, None, :, None] * columns[:, None, None, :]).float()
    return BlendPlan(sample_partner(batch_size, generator), 1 - bump)
