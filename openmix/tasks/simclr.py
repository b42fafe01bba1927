"""SimCLR (Chen et al., ICML 2020, arXiv:2002.05709): two views choose each other among a whole batch of both."""

import torch
from torch import Tensor, nn

from openmix.models.contrastive import nt_xent, unit
from openmix.models.gather import gather
from openmix.models.heads import ClsHead
from openmix.ops.checks import check_positive
from openmix.tasks.context import StepContext
from openmix.tasks.contrastive import Contrastive, pair_of
from openmix.tasks.selfsup import Learnt

__all__ = ["SimCLR"]


class SimCLR(Contrastive):
    """NT-Xent among the two views of all images, of all processes, with a gradient to each.

    Negatives are of one micro-batch: processes add to them, accumulation does not.

    Args:
        backbone: images -> tuple of feature maps.
        probe: pooled features -> logits, and their loss; it learns beside, see :class:`SelfSupervised`.
        projector: pooled features -> what is compared; in a config ``dict(type='ProjectionMLP', channels=[2048,
            128])``.
        neck: feature maps -> pooled features; default global average pooling.
        temperature: by which similarities are divided. Default 0.5, the paper's for CIFAR-10; 0.1 for ImageNet.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        backbone: nn.Module,
        probe: ClsHead,
        projector: nn.Module,
        neck: nn.Module | None = None,
        temperature: float = 0.5,
    ) -> None:
        super().__init__(backbone, probe, projector, neck)
        check_positive("temperature", temperature)
        self.temperature = temperature

    def learn(self, views: tuple[Tensor, ...], context: StepContext) -> Learnt:
        """Return NT-Xent, and as ``top1_pair`` the per cent of views that are most like the other of their image."""
        one, two = pair_of(views, "SimCLR")
        features = self.features(one)
        rows = unit(torch.cat([self.projector(features), self.projector(self.features(two))]))
        contrast = nt_xent(rows, *gather(rows, gradient=True), self.temperature)
        return Learnt(contrast.loss, features, {"top1_pair": contrast.top1})
