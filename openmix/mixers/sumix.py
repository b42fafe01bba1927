"""SUMix (Qin et al., ECCV 2024), arXiv:2407.07805. Authors' code: JinXins/SUMix.

Its reweighing of labels alone. The authors' second part, a branch of the network that learns how uncertain an image is
and adds a term of its own to the loss, is left out. They use it over several methods; here it is CutMix. Their distance
keeps the sign of the change, where the paper speaks of how far a prediction moved: an image of which less is predicted
than when it was clean counts as near, and its label gains. That is kept. OpenMixup has the authors' head and nothing
that calls it.
"""

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_positive
from openmix.ops.target import Mixed, MixTarget

__all__ = ["sumix"]


@mixer(
    "SUMix",
    kind="label",
    needs=("logits", "clean_logits"),
    base="cutmix",
    guide_pass="train",
    paper="Qin et al., ECCV 2024",
    link="https://arxiv.org/abs/2407.07805",
    lam="area, weighed by how the prediction changed against the clean image's",
)
def sumix(mixed: Mixed, *, logits: Tensor, clean_logits: Tensor, scale: float | None = None) -> MixTarget:
    """Weigh the labels of mixed images by how their predictions changed against those for each source alone.

    With p the probabilities predicted for the mixed image and q those for a source, the other source's class left out
    of them, the distance is ``d = softmax(p - q) / |softmax(p - q)|`` at the source's own class, and its weight is
    proportional to ``area * exp(-scale * d)``: what is predicted more than before loses. The weights are not what is
    visible.

    Args:
        mixed: a mix of pairs, such as of ``cutmix``.
        logits: floating (B, num_classes), of the mixed images.
        clean_logits: floating (B, num_classes), of the images before they were mixed.
        scale: > 0. None, the default, is the number of images, as in the authors' code: weights then depend on the
            size of the batch of a process.

    Raises:
        ValueError: scale out of range, logits of another shape, a mix of more than two images.

    >>> import openmix
    >>> mixed = openmix.CutMix()(torch.rand(2, 3, 8, 8), torch.arange(2), generator=torch.Generator().manual_seed(1))
    >>> target = sumix(mixed, logits=torch.zeros(2, 10), clean_logits=torch.zeros(2, 10))
    >>> torch.allclose(target.weights, mixed.target.weights)
    True
    """
    if scale is not None:
        check_positive("scale", scale)
    labels, area = mixed.target
    if labels.shape[1] != 2:
        raise ValueError(f"sumix weighs pairs, and {labels.shape[1]} images were mixed")
    if logits.ndim != 2 or len(logits) != len(labels) or clean_logits.shape[1:] != logits.shape[1:]:
        got = f"{tuple(logits.shape)} and {tuple(clean_logits.shape)}"
        raise ValueError(f"logits and clean_logits must be ({len(labels)}, num_classes), got {got}")
    with torch.no_grad():
        probs, clean = logits.float().softmax(1), clean_logits.float().softmax(1)
        classes = labels.clamp(0, probs.shape[1] - 1)  # a label of no class is the loss's affair
        of_sources = clean[mixed.sources].scatter(2, classes.flip(1)[:, :, None], 0.0)
        change = (probs[:, None] - of_sources).softmax(2)
        distance = (change / change.norm(dim=2, keepdim=True)).gather(2, classes[:, :, None])[:, :, 0]
        # of the exponents only the difference matters, and for large batches each alone would vanish
        weights = (area.log() - (len(labels) if scale is None else scale) * distance).softmax(1)
    return MixTarget(labels, weights)
