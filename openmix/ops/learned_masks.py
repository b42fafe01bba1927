"""What AutoMix and its successors ask of a learned mask, and how they set it right.

AutoMix (Liu et al., ECCV 2022, arXiv:2103.13027), SAMix (Li et al., arXiv:2111.15454).
"""

import math

import torch
from torch import Tensor

__all__ = ["adjust_shares", "cosine_between", "mask_loss", "rescale_lam"]


def mask_loss(own: Tensor, lam: Tensor, margin: float = 0.1, variance: float = 0.0) -> Tensor:
    """Return the mean over masks of ``max(|mean(own) - lam| - margin, 0) - variance * Var(own)``.

    It keeps masks from being trivial: all of one image, or a blend. In the authors' code mean and variance are over the
    pixels of the whole batch, so that no single mask is held to its lambda, and one image's being all 0 and another's
    all 1 counts as variance; ``own.flatten(0, 1)[None]``, the batch as one mask, gives that.

    Args:
        own: float32 (B, H, W), the own shares.
        lam: float32 0-d, the own label's weight.
        margin: how far a mean may be off, in [0, 1]. Default the authors'.
        variance: >= 0; 0 is AutoMix's, 2 SAMix's, whose masks are to be sharp.

    >>> mask_loss(torch.full((2, 4, 4), 0.5), torch.tensor(0.8))
    tensor(0.2000)
    """
    loss = ((own.mean((1, 2)) - lam).abs() - margin).clamp(min=0)
    return (loss - variance * own.var((1, 2), correction=0) if variance else loss).mean()


def adjust_shares(own: Tensor, lam: Tensor) -> Tensor:
    """Return own shares whose mean over each image is lambda: what there is too much of is scaled down.

    Args:
        own: float32 (B, H, W), the own shares in [0, 1].
        lam: float32 0-d, what each image's mean is to be.

    >>> adjust_shares(torch.tensor([[[0.0, 1.0]], [[0.0, 0.5]]]), torch.tensor(0.25))
    tensor([[[0.0000, 0.5000]],
    <BLANKLINE>
            [[0.0000, 0.5000]]])
    """
    mean = own.mean((1, 2), keepdim=True)
    tiny = torch.finfo(own.dtype).tiny  # of a mask of 0 or 1 throughout, the factor that is not taken is none
    less, more = lam / mean.clamp(min=tiny), (1 - lam) / (1 - mean).clamp(min=tiny)
    return torch.where(mean > lam, own * less, 1 - (1 - own) * more)


def rescale_lam(lam: Tensor, k: float) -> Tensor:
    """Return SAMix's lambda', which is flatter about 1/2 the smaller k is: ``(4/3 l^3 - 2 l^2 + (k+1) l) / (k + 1/3)``.

    It goes from 0 to 1, and 1/2 stays 1/2; with growing k it becomes lambda itself.

    Args:
        lam: in [0, 1], of any shape.
        k: >= 0; below 0 is lambda itself, as in the authors' code.

    >>> rescale_lam(torch.tensor([0.0, 0.25, 0.5, 1.0]), k=0.25)
    tensor([0.0000, 0.3571, 0.5000, 1.0000])
    """
    if k < 0:
        return lam
    return (4 / 3 * lam**3 - 2 * lam**2 + (k + 1) * lam) / (k + 1 / 3)


def cosine_between(start: float, end: float, progress: float) -> float:
    """Return ``end - (end - start) * (cos(pi * progress) + 1) / 2``: from ``start`` at 0 to ``end`` at 1.

    >>> cosine_between(0.0, 1.0, 0.5)
    0.5
    """
    return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2
