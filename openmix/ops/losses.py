"""Losses on mixed labels."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from openmix.ops.target import MixTarget

__all__ = ["mix_cross_entropy"]


def mix_cross_entropy(
    logits: Tensor,
    target: MixTarget,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """Cross entropy with the soft labels that ``target`` stands for, without building them.

    Each image's own weights meet its own log-probabilities before anything is averaged, so per-image lambdas are
    exact (averaging first, as several code bases do, trains on the batch's mean lambda). Equal to
    ``F.cross_entropy(logits, target.soft(C), label_smoothing=...)``.

    Args:
        logits: (B, C); computed in float32 at least.
        target: labels (B, K) and weights (B, K).
        label_smoothing: share in [0, 1] of the target that is spread evenly over the C classes.
        reduction: 'mean' over the batch, 'sum', or 'none' for (B,).

    >>> import torch
    >>> target = MixTarget(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    >>> mix_cross_entropy(torch.zeros(1, 2), target)
    tensor(0.6931)
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing}")
    log_p = F.log_softmax(logits if logits.dtype.itemsize >= 4 else logits.float(), dim=1)
    loss = -(log_p.gather(1, target.labels) * target.weights).sum(1)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_p.mean(1)
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
