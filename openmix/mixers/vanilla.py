"""No mixing, as a method like any other: the baseline, and a way to leave some batches alone."""

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.plans import KeepPlan, check_batch, mix
from openmix.ops.target import Mixed

__all__ = ["vanilla"]


@mixer("Vanilla", lam="1 always")
def vanilla(images: Tensor, labels: Tensor, *, generator: torch.Generator | None = None) -> Mixed:
    """Return the batch as it is: each image a pair with itself, of weights 1 and 0.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: taken for the sake of the common signature; nothing is drawn.

    >>> vanilla(torch.rand(2, 3, 4, 4), torch.tensor([3, 5])).target.weights
    tensor([[1., 0.],
            [1., 0.]])
    """
    check_batch(images, labels)
    return mix(images, labels, KeepPlan(torch.arange(len(images), device="cpu")))
