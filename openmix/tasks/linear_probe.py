"""What a finished trunk's features are worth: a linear classifier on them, the trunk frozen."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from openmix.models.heads import ClsHead
from openmix.tasks.classification import Classification

__all__ = ["LinearProbe"]


class LinearProbe(Classification):
    """Trains a head on the features of a backbone that stays as it is, to the last bit.

    The backbone is in mode 'eval' whatever the task is in, so that its BatchNorm neither uses nor gathers the batches'
    statistics, and takes no gradient. A neck with weights, such as ``AttentionPooling``, is trained with the head.
    ``load_from`` says whose features: a pre-training checkpoint's, for instance.

    Args:
        backbone: images -> tuple of feature maps.
        head: pooled features -> logits, and their loss.
        neck: feature maps -> pooled features; default global average pooling.
        norm: whether BatchNorm without weights of its own (eps 1e-6) comes before the head, as in MAE's probe, whose
            features vary little without it. Default False, MoCo's.
    """

    def __init__(self, backbone: nn.Module, head: ClsHead, neck: nn.Module | None = None, norm: bool = False) -> None:
        super().__init__(backbone, head, neck)
        self.backbone.requires_grad_(False)
        place = head.fc.weight.device
        self.norm = nn.BatchNorm1d(head.fc.in_features, eps=1e-6, affine=False).to(place) if norm else nn.Identity()
        self.train(self.training)

    def train(self, mode: bool = True) -> "LinearProbe":
        """Set the mode of all but the backbone, which stays in 'eval'."""
        super().train(mode)
        self.backbone.eval()
        return self

    def predict(self, images: Tensor) -> Tensor:
        """Return logits (B, num_classes) for normalised images (B, C, H, W)."""
        with torch.no_grad():
            features = self.backbone(images)
        return self.head(self.norm(self.neck(features)))

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Return one group, of the head, and of the neck where it has weights."""
        return [{"params": [*self.neck.parameters(), *self.head.parameters()]}]
