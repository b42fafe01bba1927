"""Losses that let a row choose its partner among others: InfoNCE with a queue, in a batch, and NT-Xent.

Rows are unit vectors (:func:`unit`). Similarities are computed in float32 at least, whatever autocast says: at a
temperature of 0.1 an error of 0.004, which bfloat16 has near 1, is 0.04 in a logit.
"""

import contextlib
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Contrast", "in_batch", "info_nce", "nt_xent", "unit"]


class Contrast(NamedTuple):
    """What choosing gave.

    Attributes:
        loss: the mean cross entropy, 0-d.
        top1: the per cent of rows whose partner was the most similar, 0-d, without gradient.
    """

    loss: Tensor
    top1: Tensor


def unit(rows: Tensor) -> Tensor:
    """Return rows (B, C) scaled to length 1, in float32 at least.

    >>> unit(torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16))
    tensor([[0.6000, 0.8000]])
    """
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)


def info_nce(queries: Tensor, positives: Tensor, negatives: Tensor, temperature: float) -> Contrast:
    """Let each query choose its positive among it and all negatives (MoCo, He et al., CVPR 2020, arXiv:1911.05722).

    Args:
        queries: (B, C).
        positives: (B, C), one for each.
        negatives: (K, C), for all of them.
        temperature: by which similarities are divided, > 0.

    >>> x = unit(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> info_nce(x, x, -x[:1], temperature=1.0)  # log(1 + e**-2) and log(1 + e**-1)
    Contrast(loss=tensor(0.2201), top1=tensor(100.))
    """
    with _in_full(queries):
        logits = torch.cat([(queries * positives).sum(1, keepdim=True), queries @ negatives.T], dim=1) / temperature
    return _chosen(logits, torch.zeros(len(queries), dtype=torch.int64, device=queries.device))


def in_batch(queries: Tensor, keys: Tensor, first: int, temperature: float) -> Contrast:
    """Let query i choose key ``first + i`` among all keys (MoCo v3, Chen et al., ICCV 2021, arXiv:2104.02057).

    Args:
        queries: (B, C).
        keys: (N, C), those of all processes.
        first: where this process's own keys begin.
        temperature: by which similarities are divided, > 0.
    """
    with _in_full(queries):
        logits = queries @ keys.T / temperature
    return _chosen(logits, first + torch.arange(len(queries), device=queries.device))


def nt_xent(rows: Tensor, everyone: Tensor, first: int, temperature: float) -> Contrast:
    """Let each of 2B rows choose its partner among all rows but itself (SimCLR, ICML 2020, arXiv:2002.05709).

    Args:
        rows: (2B, C), the first views' of B images, then the second views' of the same images.
        everyone: (N, C), the rows of all processes.
        first: where this process's own rows begin among them.
        temperature: by which similarities are divided, > 0.
    """
    count = len(rows)
    own = first + torch.arange(count, device=rows.device)
    with _in_full(rows):
        logits = rows @ everyone.T / temperature
    logits = logits.scatter(1, own[:, None], float("-inf"))
    return _chosen(logits, own.roll(count // 2))


def _chosen(logits: Tensor, labels: Tensor) -> Contrast:
    found = logits.detach()
    # strictly: where all are alike, as of a network that has collapsed, nothing is found
    hits = (found >= found.gather(1, labels[:, None])).sum(1) == 1
    return Contrast(F.cross_entropy(logits, labels), 100 * hits.float().mean())


def _in_full(rows: Tensor) -> Any:
    """Compute without autocast, where there is any."""
    kind = rows.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else contextlib.nullcontext()
