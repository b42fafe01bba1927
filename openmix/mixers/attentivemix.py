"""AttentiveMix: Attentive CutMix (Walawalkar et al., ICASSP 2020), arXiv:2003.13048, and AttentiveMix+ of OpenMixup.

The authors published no code. In the paper a pretrained ResNet-50, which is not trained further, sees the images at
224x224; the six cells of its 7x7 map where it is most active are cut out of an image and pasted onto its partner.
OpenMixup's AttentiveMix+ (preset 'openmixup') draws how many cells: lam ~ Beta(alpha, alpha) is their share. Its docs
speak of Beta(alpha, 8), which its code does not read. Its network is a ResNet-18 or -50.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_integer, check_positive
from openmix.ops.plans import MaskPlan, check_batch, mix
from openmix.ops.random import sample_beta, sample_partner
from openmix.ops.target import Mixed

__all__ = ["attentivemix", "most_active"]


@mixer(
    "AttentiveMix",
    needs=("features",),
    presets={"openmixup": {"top_k": None}},
    paper="Walawalkar et al., ICASSP 2020",
    link="https://arxiv.org/abs/2003.13048",
    lam="share of cells that are kept",
    hints={
        "grid_size": "; leave it out: a cell is what a place of the feature map covers",
        "beta": "; leave it out: OpenMixup does not read it either",
    },
)
def attentivemix(
    images: Tensor,
    labels: Tensor,
    *,
    features: Tensor,
    generator: torch.Generator | None = None,
    top_k: int | None = 6,
    alpha: float = 1.0,
    per_sample: bool = False,
) -> Mixed:
    """Keep the cells of each image where a network is most active, and show the partner elsewhere.

    Activity is the mean over the channels of the network's last feature map. Labels weigh what is visible.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        features: floating (B, C', h, w), the last feature map of a network that has seen the images; the paper's is
            7x7. Where h does not divide H, cells differ by a pixel.
        generator: a CPU generator; None takes torch's default one.
        top_k: how many cells are kept, 1 to h * w. Default 6, the paper's. None draws it for each batch, as
            AttentiveMix+ does: lam * h * w, rounded down, at least 1.
        alpha: lam ~ Beta(alpha, alpha), > 0, used with ``top_k=None`` alone. Default 1.0; OpenMixup's
            benchmarks have 2.
        per_sample: draw a lam for each image, with ``top_k=None``; False, OpenMixup's, draws one for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> features = torch.rand(4, 16, 7, 7)
    >>> mixed = attentivemix(torch.zeros(4, 3, 14, 14), torch.arange(4), features=features)
    >>> bool(mixed.target.weights[:, 0].allclose(torch.tensor(6 / 49)))
    True
    """
    check_batch(images, labels)
    if features.ndim != 4 or len(features) != len(images) or not features.is_floating_point():
        got = f"{features.dtype} {tuple(features.shape)}"
        raise ValueError(f"features must be floating point ({len(images)}, C, h, w), got {got}")
    check_positive("alpha", alpha)
    activity = features.detach().float().mean(1)
    count = _count(activity.shape[1:].numel(), top_k, alpha, len(images) if per_sample else 1, generator)
    partner = sample_partner(len(images), generator)
    cells = most_active(activity, count.to(images.device, non_blocking=True))
    own = F.interpolate(cells[:, None].float(), images.shape[2:], mode="nearest").bool()
    return mix(images, labels, MaskPlan(partner, own))


def _count(cells: int, top_k: int | None, alpha: float, n: int, generator: torch.Generator | None) -> Tensor:
    """Return how many of so many cells are kept: int64 (n, 1) on the CPU."""
    if top_k is None:
        return (sample_beta(alpha, (n, 1), generator).double() * cells).long().clamp(1, cells)
    check_integer("top_k", top_k, 1)
    if top_k > cells:
        raise ValueError(f"top_k must be at most the {cells} places of the feature map, got {top_k}")
    return torch.full((n, 1), top_k, device="cpu")


def most_active(activity: Tensor, count: Tensor) -> Tensor:
    """Return where the ``count`` highest values are, the first ones of equals: bool (B, h, w).

    Args:
        activity: float (B, h, w).
        count: int64 (B, 1), or (1, 1) for all alike, on the same device.
    """
    order = activity.flatten(1).argsort(dim=1, descending=True, stable=True)
    chosen = (torch.arange(order.shape[1], device=order.device) < count).expand_as(order)
    return torch.zeros_like(chosen).scatter_(1, order, chosen).view_as(activity)
