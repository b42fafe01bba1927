"""What tasks that learn without labels share: a trunk, and a linear probe that watches it while it learns."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from openmix.data.batch import Batch
from openmix.models.heads import ClsHead
from openmix.models.necks import GlobalAveragePooling
from openmix.tasks.base import WATCHING, Task
from openmix.tasks.context import StepContext

__all__ = ["Learnt", "SelfSupervised"]


class Learnt(NamedTuple):
    """What a step without labels gives.

    Attributes:
        loss: a 0-d tensor.
        features: pooled features (B, C) of the first view, from the pass that the loss took, for the probe.
        report: further 0-d tensors to be logged.
    """

    loss: Tensor
    features: Tensor
    report: dict[str, Tensor]


class SelfSupervised(Task):
    """Base of the tasks that learn without labels.

    Labels are for the online probe alone: a linear classifier on the trunk's features that is trained beside it, with
    parameters and a group (``probe``) of its own, and through which no gradient reaches the trunk. So every validation
    says what the features are worth (``top1`` is the probe's), at the cost of one small layer. It is no substitute for
    a probe of a finished trunk, which ``openmix probe`` trains: while it learns, the features move under it.

    The trunk is ``backbone`` and ``neck``; whatever else a task has is left out where a checkpoint is loaded for
    classification.

    Args:
        backbone: images -> tuple of feature maps.
        probe: pooled features -> logits, and their loss.
        neck: feature maps -> pooled features; default global average pooling.

    Attributes:
        views_needed: how many views of an image a batch must have.
    """

    views_needed = 2

    def __init__(self, backbone: nn.Module, probe: ClsHead, neck: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck if neck is not None else GlobalAveragePooling()
        self.probe = probe

    @property
    def num_classes(self) -> int:
        """How many classes the probe tells apart."""
        return self.probe.num_classes

    def features(self, images: Tensor) -> Tensor:
        """Return the trunk's pooled features (B, C) for normalised images (B, C, H, W)."""
        return self.neck(self.backbone(images))

    def predict(self, images: Tensor) -> Tensor:
        """Return the online probe's logits (B, num_classes) for normalised images (B, C, H, W)."""
        return self.probe(self.features(images))

    def learn(self, views: tuple[Tensor, ...], context: StepContext) -> Learnt:
        """Return what a step gives without labels.

        Args:
            views: normalised, (B, C, H, W) each, of the same images; they may differ in size.
            context: where in the run this micro-batch stands.
        """
        raise NotImplementedError

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Return ``loss``, the sum of ``loss_ssl`` and ``loss_probe``; these; and ``top1``, the probe's on this batch.

        Raises:
            ValueError: the batch has too few views.
        """
        if len(batch.views) < self.views_needed:
            raise ValueError(
                f"{type(self).__name__} needs {self.views_needed} views of each image, the pipeline gives "
                f"{len(batch.views)}: let it end in dict(type='Views', views=[[...], [...]])"
            )
        learnt = self.learn(batch.views, context)
        logits = self.probe(learnt.features.detach())
        probe_loss = self.probe.loss(logits, batch.labels)
        hits = logits.detach().argmax(1) == batch.labels
        return {
            "loss": learnt.loss + probe_loss,
            "loss_ssl": learnt.loss,
            "loss_probe": probe_loss,
            **learnt.report,
            "top1": 100 * hits.float().mean(),
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the groups ``encoder``, of all but the probe, and ``probe``."""
        probe = {id(p) for p in self.probe.parameters()}
        encoder = [p for p in self.parameters() if p.requires_grad and id(p) not in probe]
        own = [p for p in self.probe.parameters() if p.requires_grad]
        return [{"name": "encoder", "params": encoder}, {"name": WATCHING, "params": own}]
