"""AugMix's training (Hendrycks et al., ICLR 2020, arXiv:1912.02781): a clean image and two mixtures agree."""

import torch
from torch import Tensor, nn

from openmix.data.batch import Batch
from openmix.mixers.mixer import build_mixer
from openmix.models.heads import ClsHead
from openmix.ops.checks import check_positive
from openmix.ops.consistency import jensen_shannon
from openmix.tasks.classification import Classification
from openmix.tasks.context import StepContext

__all__ = ["AugMixClassification"]


class AugMixClassification(Classification):
    """Cross entropy on clean images, and a Jensen-Shannon loss among these and two AugMix draws of them.

    The three go through the network in one batch, as in the authors' code. To train on AugMix images without that
    loss, use ``MixUpClassification`` with ``mix_mode='augmix'``.

    Args:
        backbone: images -> tuple of feature maps.
        head: pooled features -> logits, and their loss.
        neck: feature maps -> pooled features; default global average pooling.
        jsd_weight: of the Jensen-Shannon loss, > 0. Default 12, the authors'.
        width: number of chains; this and the rest as :func:`openmix.mixers.augmix` has them.
        depth: operations in a chain; -1 draws 1, 2 or 3.
        severity: the largest level. Default 3, the authors' for CIFAR (1 for ImageNet).
        alpha: parameter of Beta and Dirichlet.
        all_ops: draw also from the operations that ImageNet-C tests.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: ClsHead,
        neck: nn.Module | None = None,
        jsd_weight: float = 12.0,
        width: int = 3,
        depth: int = -1,
        severity: float = 3,
        alpha: float = 1.0,
        all_ops: bool = False,
    ) -> None:
        super().__init__(backbone, head, neck)
        check_positive("jsd_weight", jsd_weight)
        self.jsd_weight = jsd_weight
        mixer = build_mixer("augmix", width=width, depth=depth, severity=severity, alpha=alpha, all_ops=all_ops)
        self.mixers = [mixer]  # as a mixing task has them, for pictures of what the network sees

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Return ``loss``, its unweighted part ``jsd``, and ``top1``, the per cent of clean images that are right."""
        generator = context.generator("mix")
        augmented = [
            self.mixers[0](batch.images, batch.labels, generator=generator, pixel_range=batch.pixel_range).images
            for _ in range(2)
        ]
        logits = self.predict(torch.cat([batch.images, *augmented])).chunk(3)
        divergence = jensen_shannon(logits, reduction="mean")
        hits = logits[0].detach().argmax(1) == batch.labels
        return {
            "loss": self.head.loss(logits[0], batch.labels) + self.jsd_weight * divergence,
            "jsd": divergence.detach(),
            "top1": 100 * hits.float().mean(),
        }
