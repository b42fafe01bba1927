"""Losses that ask several predictions for the same image to agree."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

__all__ = ["jensen_shannon"]


def jensen_shannon(logits_views: Sequence[Tensor], reduction: Literal["none", "mean", "sum"] = "none") -> Tensor:
    """Jensen-Shannon divergence among n predictive distributions: the mean of ``KL(p_i || their mean)``, in nats.

    AugMix's consistency loss (arXiv:1912.02781). It lies in [0, log n] and is 0 where all agree. The authors' code
    clamps the mean distribution at 1e-7 before the logarithm; this computes it in logarithms and clamps nothing.

    Args:
        logits_views: n >= 1 tensors (B, C), finite; computed in float32 at least. Gradients reach all of them.
        reduction: 'none' for (B,), 'mean' over the batch, or 'sum'.

    >>> certain = torch.tensor([[1000.0, 0.0]])
    >>> jensen_shannon([certain, certain]), jensen_shannon([certain, -certain])
    (tensor([0.]), tensor([0.6931]))
    """
    logits = torch.stack(list(logits_views))
    log_p = torch.log_softmax(logits if logits.dtype.itemsize >= 4 else logits.float(), dim=2)
    log_mean = torch.logsumexp(log_p, dim=0) - math.log(len(log_p))
    divergence = (log_p.exp() * (log_p - log_mean)).sum(2).mean(0)
    if reduction == "none":
        return divergence
    if reduction == "mean":
        return divergence.mean()
    if reduction == "sum":
        return divergence.sum()
    raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
