"""Plain classification, the baseline and the base of the mixing task."""

from torch import Tensor, nn

from openmix.data.batch import Batch
from openmix.models.heads import ClsHead
from openmix.models.necks import GlobalAveragePooling
from openmix.tasks.base import Task
from openmix.tasks.context import StepContext

__all__ = ["Classification"]


class Classification(Task):
    """Backbone, neck, head; cross entropy on the labels.

    Args:
        backbone: images -> tuple of feature maps.
        head: pooled features -> logits, and their loss.
        neck: feature maps -> pooled features; default global average pooling.
    """

    most_views = 1

    def __init__(self, backbone: nn.Module, head: ClsHead, neck: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck if neck is not None else GlobalAveragePooling()
        self.head = head

    @property
    def num_classes(self) -> int:
        """How many classes the head tells apart."""
        return self.head.num_classes

    def features(self, images: Tensor) -> Tensor:
        """Return the network's pooled features (B, C) for normalised images (B, C, H, W)."""
        return self.neck(self.backbone(images))

    def predict(self, images: Tensor) -> Tensor:
        """Return logits (B, num_classes) for normalised images (B, C, H, W)."""
        return self.head(self.features(images))

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Return ``loss`` and ``top1``, the per cent of this batch that is classified rightly."""
        logits = self.predict(batch.images)
        hits = logits.argmax(1) == batch.labels
        return {"loss": self.head.loss(logits, batch.labels), "top1": 100 * hits.float().mean()}
