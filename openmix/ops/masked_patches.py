"""Images as sequences of patches, most of which are hidden: what masked image modelling is made of."""

from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.plans import OnDevice

__all__ = ["Masking", "count_visible", "draw_masking", "normalise_patches", "patchify", "unpatchify"]

EPS = 1e-6  # of a patch's variance


@dataclass(frozen=True)
class Masking(OnDevice):
    """Which patches of each image are seen.

    Attributes:
        seen: int64 (B, V), the patches that are seen, in any order.
        back: int64 (B, N), for each patch its place among these and, from V on, the hidden ones.
    """

    seen: Tensor
    back: Tensor

    @property
    def removed(self) -> Tensor:
        """Which patches are hidden: bool (B, N)."""
        return self.back >= self.seen.shape[1]


def count_visible(patches: int, ratio: float) -> int:
    """Return how many of an image's patches are seen where a share of them is removed: rounded down.

    A product that is a whole number but for its rounding is that number: of 10 patches, 0.8 leaves 2, where the
    authors' ``int(10 * (1 - 0.8))`` is 1.

    Raises:
        ValueError: ``ratio`` would leave none, or remove none.

    >>> count_visible(196, 0.75), count_visible(10, 0.8), count_visible(49, 0.75)
    (49, 2, 12)
    """
    visible = int(patches * (1 - ratio) + 1e-6)
    if not 1 <= visible < patches:
        raise ValueError(f"mask_ratio={ratio} must remove some of {patches} patches and leave some")
    return visible


def draw_masking(batch_size: int, patches: int, ratio: float, generator: torch.Generator) -> Masking:
    """Draw which patches are seen: of each image as many, all choices equally likely; on the CPU.

    Args:
        batch_size: B.
        patches: N of each image.
        ratio: the share that is removed, see :func:`count_visible`.
        generator: a CPU generator.

    >>> masking = draw_masking(2, 8, 0.75, torch.Generator().manual_seed(0))
    >>> masking.removed.sum(1)
    tensor([6, 6])
    """
    visible = count_visible(patches, ratio)
    noise = torch.rand(batch_size, patches, generator=generator, device="cpu")
    order = noise.argsort(dim=1)
    return Masking(order[:, :visible].contiguous(), order.argsort(dim=1))


def patchify(images: Tensor, patch: tuple[int, int]) -> Tensor:
    """Return the patches of images (B, C, H, W), row by row: (B, N, p * q * C), a pixel's channels side by side.

    >>> patchify(torch.arange(8.0).view(1, 1, 2, 4), (2, 2))
    tensor([[[0., 1., 4., 5.],
             [2., 3., 6., 7.]]])
    """
    rows = images.unflatten(3, (-1, patch[1])).unflatten(2, (-1, patch[0]))  # B C h p w q
    return rows.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Return the images (B, C, H, W) of patches (B, N, p * q * C); the inverse of :func:`patchify`.

    Args:
        patches: row by row.
        patch: a patch's height and width.
        grid: how many rows and columns of patches there are.
    """
    parts = patches.unflatten(2, (*patch, -1)).unflatten(1, grid)  # B h w p q C
    return parts.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def normalise_patches(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return patches (B, N, D) of mean 0 and variance 1, and the means and scales (B, N, 1) that were taken out.

    The variance is the unbiased one, with 1e-6 added, as in the authors' code: ``patches = normal * scales + means``.
    """
    means = patches.mean(2, keepdim=True)
    scales = (patches.var(2, keepdim=True) + EPS).sqrt()
    return (patches - means) / scales, means, scales
