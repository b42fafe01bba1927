"""MixPro (Zhao et al., ICLR 2023), arXiv:2304.12043. Authors' code: fistyee/MixPro.

MaskMix whose labels trust attention as far as the network's prediction agrees with them. Differs from the authors' code
in that no gradient flows through the weights, where theirs have the prediction's. OpenMixup's port reads the attention
of the clean images instead, which is not offered, and has cells of 64 pixels (``mask_patch_size=64``). The authors
train MixPro in every second step and MixUp or CutMix in the others; OpenMixup has ``mix_mode=["mixpro", "mixup"]``,
``alpha=[1, 1]``, ``mix_prob=[0.8, 0.2]``.
"""

from torch import Tensor
from torch.nn import functional as F

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_probability
from openmix.ops.patches import check_map, masks_of, mass_of_sources, unit_mass
from openmix.ops.target import Mixed, MixTarget

__all__ = ["mixpro"]


@mixer(
    "MixPro",
    kind="label",
    needs=("attention", "logits"),
    base="maskmix",
    paper="Zhao et al., ICLR 2023",
    link="https://arxiv.org/abs/2304.12043",
    lam="between the area and the attention that own pixels get, as the prediction says",
    hints={
        "num_classes": "; leave it out: the logits tell",
        "num_class": "; leave it out: the logits tell",
        "model_patch_size": "; leave it out: the attention tells",
    },
)
def mixpro(mixed: Mixed, *, attention: Tensor, logits: Tensor, smoothing: float = 0.1) -> MixTarget:
    """Weigh labels by attention as far as the prediction agrees with the areas, and by areas otherwise.

    Each source's weight is ``s * mass + (1 - s) * area``. Mass is the share of attention that falls on its pixels; s is
    the cosine between the predicted probabilities and the smoothed label by areas. Early in training s is small. The
    weights are not what is visible.

    Args:
        mixed: of a method whose masks tell what is shown where, such as ``maskmix``.
        attention: floating (B, h, w), >= 0, of the mixed images: the last block's attention of the class token to the
            patches, mean over heads. Only its proportions count; where all is 0, it is uniform.
        logits: floating (B, num_classes), of the mixed images.
        smoothing: label smoothing, in [0, 1], of the label that s compares with, and of nothing else. Default 0.1, the
            authors'.

    Raises:
        ValueError: smoothing out of range, tensors of another shape, or a mix without masks.

    >>> import torch, openmix
    >>> mixed = openmix.MaskMix()(torch.rand(2, 3, 8, 8), torch.arange(2), generator=torch.Generator().manual_seed(1))
    >>> target = mixpro(mixed, attention=torch.ones(2, 4, 4), logits=torch.zeros(2, 10))
    >>> torch.allclose(target.weights, mixed.target.weights)
    True
    """
    check_probability("smoothing", smoothing)
    check_map("attention", attention, len(mixed.images))
    labels, area = mixed.target
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ValueError(f"logits must be ({len(labels)}, num_classes), got {tuple(logits.shape)}")
    probs = logits.detach().float().softmax(1)
    by_area = (1 - smoothing) * mixed.target.soft(probs.shape[1]) + smoothing / probs.shape[1]
    trust = F.cosine_similarity(by_area, probs, dim=1)[:, None]
    mass = mass_of_sources(masks_of("mixpro", mixed), unit_mass(attention))
    return MixTarget(labels, trust * mass + (1 - trust) * area)
