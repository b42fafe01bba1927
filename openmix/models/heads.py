"""Heads: from pooled features to logits, and from logits to a loss."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from openmix.models.losses import MixCrossEntropy
from openmix.ops.target import MixTarget

__all__ = ["ClsHead", "ClsMixupHead"]

Init = Literal["normal", "he", "torch", "torch_no_bias"]


class ClsHead(nn.Module):
    """A linear classifier with a loss on plain labels or on mixed ones.

    OpenMixup's head for mixing averages the loss before it weighs per-image lambdas; this one does not.

    Args:
        num_classes: number of classes.
        in_channels: of the pooled features; a config may leave it out, and the backbone's last stage decides.
        label_smoothing: share in [0, 1) of the target that is spread over all classes; default none.
        loss: module that is called with logits (B, C) and a ``MixTarget`` and returns a 0-d tensor, in a config
            ``dict(type='MixBinaryCrossEntropy', ...)``; default ``MixCrossEntropy(label_smoothing)``.
        init: how the linear layer begins. 'normal' (default, OpenMixup's): weights of standard deviation 0.01, no bias;
            'he': He's rule (fan in), no bias, as R-Mix's ResNeXt; 'torch': torch's own for ``Linear``, as the
            other networks of R-Mix and ResizeMix; 'torch_no_bias': that, with the bias at 0, as Shake-Shake.

    Raises:
        ValueError: label_smoothing out of range, or given besides a loss, which has its own; an unknown init.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        label_smoothing: float = 0.0,
        loss: nn.Module | None = None,
        init: Init = "normal",
    ) -> None:
        super().__init__()
        if init not in get_args(Init):
            raise ValueError(f"init must be one of {', '.join(get_args(Init))}, got {init!r}")
        if loss is not None and label_smoothing != 0:
            raise ValueError("label_smoothing and loss are both given: pass label_smoothing to the loss instead")
        self.num_classes = num_classes
        self.criterion = loss if loss is not None else MixCrossEntropy(label_smoothing)
        self.fc = nn.Linear(in_channels, num_classes)
        if init in ("normal", "he"):
            nn.init.normal_(self.fc.weight, std=0.01 if init == "normal" else math.sqrt(2 / in_channels))
        if init != "torch":
            nn.init.zeros_(self.fc.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits (B, num_classes) for pooled features (B, in_channels)."""
        return self.fc(pooled)

    def loss(self, logits: Tensor, target: Tensor | MixTarget) -> Tensor:
        """Return the mean loss of logits (B, C) and int64 labels (B,), or K weighted labels an image.

        Raises:
            ValueError: labels of another shape, and what the loss itself refuses.
        """
        if not isinstance(target, MixTarget):
            if target.ndim != 1:
                raise ValueError(f"labels must be int64 (B,) or a MixTarget, got shape {tuple(target.shape)}")
            if type(self.criterion) is not MixCrossEntropy:  # which alone takes plain labels as they are
                target = MixTarget(target.unsqueeze(1), torch.ones(len(target), 1, device=target.device))
        return self.criterion(logits, target)


class ClsMixupHead(ClsHead):
    """:class:`ClsHead` by the name that OpenMixup's configs for mixing give it."""
