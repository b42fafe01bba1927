"""The losses that a config may name: ``head=dict(type='ClsMixupHead', loss=dict(type='MixBinaryCrossEntropy'))``."""

from typing import Literal

import torch
from torch import Tensor, nn

from openmix.ops.decoupled import decoupled_cross_entropy
from openmix.ops.losses import (
    Reduction,
    ScaleMode,
    cross_entropy,
    mix_binary_cross_entropy,
    mix_cross_entropy,
    mix_softmax_binary_cross_entropy,
    two_hot,
)
from openmix.ops.target import MixTarget

__all__ = ["DecoupledCrossEntropy", "MixBinaryCrossEntropy", "MixCrossEntropy", "MixSoftmaxBinaryCrossEntropy"]


class MixLoss(nn.Module):
    """Base of the losses: ``loss(logits, target, reduction='mean')``; tried out when made, to find wrong arguments.

    Args:
        label_smoothing: share in [0, 1) of the target that is spread over all classes.
    """

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def try_out(self) -> None:
        """Compute the loss of one image, so that a wrong argument fails where it is written."""
        self(torch.zeros(1, 2), MixTarget(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1)))

    def forward(self, logits: Tensor, target: MixTarget, reduction: Reduction = "mean") -> Tensor:
        """Return the loss of logits (B, C): 0-d, or (B,) for reduction 'none'."""
        raise NotImplementedError


class MixCrossEntropy(MixLoss):
    """:func:`openmix.mix_cross_entropy`: hard pair and soft cross entropy alike.

    Args:
        label_smoothing: share in [0, 1) of the target that is spread over all classes; default none.

    Raises:
        ValueError: label_smoothing out of range.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing)

    def forward(self, logits: Tensor, target: MixTarget | Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the loss of logits (B, C): 0-d, or (B,) for reduction 'none'.

        Of int64 labels (B,) it is the mean, in half the operations.
        """
        if isinstance(target, Tensor):
            return cross_entropy(logits, target, self.label_smoothing)
        return mix_cross_entropy(logits, target, self.label_smoothing, reduction)


class MixBinaryCrossEntropy(MixLoss):
    """:func:`openmix.mix_binary_cross_entropy`, on soft labels or on two-hot ones.

    Args:
        label_smoothing: share in [0, 1), as timm has it; default none.
        class_reduction: 'mean' over the classes, which is the scale of timm and RSB, or 'sum', which is OpenMixup's.
        two_hot: how a share becomes a target, ``'one'``, ``'pow'`` or ``'exp'`` (OpenMixup's ``two_hot=True`` with
            ``lam_scale_mode`` 'none', 'pow' or 'exp'), see :func:`openmix.ops.losses.two_hot`; None keeps the shares.
        threshold: OpenMixup's ``lam_thr``; goes with two_hot, as do the next two.
        exponent: OpenMixup's ``lam_idx``.
        scale: OpenMixup's ``two_hot_scale``.

    Raises:
        ValueError: an argument out of range, or one of two_hot's without it.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_reduction: Literal["mean", "sum"] = "mean",
        two_hot: ScaleMode | None = None,
        threshold: float = 1.0,
        exponent: float = 1.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__(label_smoothing)
        if two_hot is None and (threshold, exponent, scale) != (1, 1, 1):
            raise ValueError("threshold, exponent and scale go with two_hot: give it as well, or leave them out")
        self.class_reduction: Literal["mean", "sum"] = class_reduction
        self.two_hot: ScaleMode | None = two_hot
        self.threshold = threshold
        self.exponent = exponent
        self.scale = scale
        self.try_out()

    def forward(self, logits: Tensor, target: MixTarget, reduction: Reduction = "mean") -> Tensor:
        """Return the loss of logits (B, C): 0-d, or (B,) for reduction 'none'."""
        if self.two_hot is not None:
            target = two_hot(target, self.two_hot, self.threshold, self.exponent, self.scale)
        return mix_binary_cross_entropy(logits, target, self.label_smoothing, reduction, self.class_reduction)


class MixSoftmaxBinaryCrossEntropy(MixLoss):
    """:func:`openmix.ops.losses.mix_softmax_binary_cross_entropy`, the loss of Puzzle Mix and Co-Mixup on CIFAR."""

    def __init__(self) -> None:
        super().__init__(label_smoothing=0.0)

    def forward(self, logits: Tensor, target: MixTarget, reduction: Reduction = "mean") -> Tensor:
        """Return the loss of logits (B, C): 0-d, or (B,) for reduction 'none'."""
        return mix_softmax_binary_cross_entropy(logits, target, reduction)


class DecoupledCrossEntropy(MixLoss):
    """:func:`openmix.decoupled_cross_entropy`, the loss of DecoupleMix.

    Args:
        eta: weight of the regularizer, >= 0; the paper's is 0.1.
        threshold: the share, in (0, 1], from which a class's eta is the full one (OpenMixup's ``lam_thr``).
        exponent: >= 0, of the share; 0 is a constant eta (OpenMixup's ``lam_idx``).
        mode: 'both', or the mixed classes of a share under 1/2 ('less') or of at least that ('more').
        label_smoothing: share in [0, 1) of the soft cross entropy's target that is spread over all classes.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        eta: float = 0.1,
        threshold: float = 1.0,
        exponent: float = 1.0,
        mode: Literal["both", "less", "more"] = "both",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(label_smoothing)
        self.eta = eta
        self.threshold = threshold
        self.exponent = exponent
        self.mode: Literal["both", "less", "more"] = mode
        self.try_out()

    def forward(self, logits: Tensor, target: MixTarget, reduction: Reduction = "mean") -> Tensor:
        """Return the loss of logits (B, C): 0-d, or (B,) for reduction 'none'."""
        return decoupled_cross_entropy(
            logits, target, self.eta, self.threshold, self.exponent, self.mode, self.label_smoothing, reduction
        )
