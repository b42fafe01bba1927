"""CutMix (Yun et al., ICCV 2019), arXiv:1905.04899. Authors' code: clovaai/CutMix-PyTorch.

Differs from the authors' code in the order of the axes alone (height before width), which is a matter of names.
OpenMixup's port (preset 'openmixup') redraws partners where an image would be its own.
"""

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.box_plans import BoxPlan
from openmix.ops.boxes import clip_boxes
from openmix.ops.checks import check_integer, check_positive
from openmix.ops.plans import check_batch, mix
from openmix.ops.random import sample_beta, sample_integers, sample_partner
from openmix.ops.target import Mixed

__all__ = ["cutmix", "plan_cutmix"]


@mixer(
    "CutMix",
    presets={"openmixup": {"tries": 10}},
    paper="Yun et al., ICCV 2019",
    link="https://arxiv.org/abs/1905.04899",
    lam="1 - area of the box",
)
def cutmix(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    alpha: float = 1.0,
    per_sample: bool = False,
    tries: int = 1,
) -> Mixed:
    """Paste a box of the partner's pixels into each image; labels weigh what is visible of each.

    The box has ``sqrt(1 - lam)`` of the image's height and width, is centred on a uniform pixel and cut off at the
    border; the label weights are the exact areas after that.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        alpha: lam ~ Beta(alpha, alpha), > 0. Default 1.0, the authors'.
        per_sample: draw a box for each image; False, the authors' code, draws one for the batch.
        tries: how many permutations of the batch to draw, at most, for one that gives no image itself as its partner.
            Default 1, the authors': partners are a uniform permutation. OpenMixup's is 10.

    Raises:
        ValueError: alpha <= 0, or tensors of another type or shape.

    >>> mixed = cutmix(torch.zeros(4, 3, 8, 8), torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> bool((mixed.mask.mean((1, 2, 3)) == mixed.target.weights[:, 0]).all())
    True
    """
    check_batch(images, labels)
    height, width = images.shape[2:]
    plan = plan_cutmix(
        len(images), (height, width), generator=generator, alpha=alpha, per_sample=per_sample, tries=tries
    )
    return mix(images, labels, plan)


def plan_cutmix(
    batch_size: int,
    size: tuple[int, int],
    *,
    generator: torch.Generator | None,
    alpha: float,
    per_sample: bool = False,
    tries: int = 1,
) -> BoxPlan:
    """Draw the boxes and the partners for images of ``size`` (H, W); for the rest see :func:`cutmix`."""
    check_positive("alpha", alpha)
    check_integer("tries", tries, 1)
    n = batch_size if per_sample else 1
    lam = sample_beta(alpha, (n, 1), generator)
    side = (torch.tensor(size, device="cpu") * (1 - lam.double()).sqrt()).long()
    boxes = clip_boxes(sample_centre(n, size, generator), side, size)
    return BoxPlan(sample_partner(batch_size, generator, tries), boxes, size)


def sample_centre(n: int, size: tuple[int, int], generator: torch.Generator | None) -> Tensor:
    """Draw ``n`` uniform pixels of an image of ``size`` (H, W): int64 (n, 2)."""
    return torch.stack([sample_integers(limit, (n,), generator) for limit in size], dim=1)
