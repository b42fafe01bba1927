"""Heads: from pooled features to logits, and from logits to a loss."""

from torch import Tensor, nn
from torch.nn import functional as F

from openmix.ops.losses import mix_cross_entropy
from openmix.ops.target import MixTarget

__all__ = ["ClsHead", "ClsMixupHead"]


class ClsHead(nn.Module):
    """A linear classifier with cross entropy on plain labels or on mixed ones.

    OpenMixup's head for mixing averages the loss before it weighs per-image lambdas; this one does not.

    Args:
        num_classes: number of classes.
        in_channels: of the pooled features; a config may leave it out, and the backbone's last stage decides.
        label_smoothing: share in [0, 1) of the target that is spread over all classes; default none.

    Raises:
        ValueError: label_smoothing out of range.
    """

    def __init__(self, num_classes: int, in_channels: int, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.fc = nn.Linear(in_channels, num_classes)
        # OpenMixup's initialisation, kept because its published numbers start from it
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits (B, num_classes) for pooled features (B, in_channels)."""
        return self.fc(pooled)

    def loss(self, logits: Tensor, target: Tensor | MixTarget) -> Tensor:
        """Return the mean cross entropy of logits (B, C) and int64 labels (B,), or K weighted labels an image."""
        if isinstance(target, MixTarget):
            return mix_cross_entropy(logits, target, label_smoothing=self.label_smoothing)
        return F.cross_entropy(logits.float(), target, label_smoothing=self.label_smoothing)


class ClsMixupHead(ClsHead):
    """:class:`ClsHead` by the name that OpenMixup's configs for mixing give it."""
