"""What Co-Mixup (Kim et al., ICLR 2021) knows of a batch before it labels anything: its groups, and their saliency."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.patches import unit_mass

__all__ = ["Partitions", "compatibility", "saliency_shares"]

PEAK_WINDOW = 8  # pixels a side, the authors': over which saliency is averaged before its peak is looked for


@dataclass(frozen=True)
class Partitions:
    """How a batch is cut: consecutive groups of ``size`` images, of which the last may be smaller.

    Per-image tensors are laid out as (groups, width, ...), filled up with zeros. A group is at least three wide, as
    blends are of the three inputs that an output shows most of.
    """

    batch: int
    size: int

    @property
    def groups(self) -> int:
        """The number of groups."""
        return -(-self.batch // self.size)

    @property
    def width(self) -> int:
        """Places in a group."""
        return max(self.size, 3)

    def counts(self) -> Tensor:
        """Return how many images each group has: int64 (groups,) on the CPU."""
        begins = torch.arange(0, self.batch, self.size, device="cpu")
        return (self.batch - begins).clamp(max=self.size)

    def fold(self, x: Tensor) -> Tensor:
        """Lay out (B, ...) as (groups, width, ...)."""
        missing = self.groups * self.size - self.batch
        x = torch.cat([x, x.new_zeros(missing, *x.shape[1:])]).unflatten(0, (self.groups, self.size))
        return torch.cat([x, x.new_zeros(self.groups, self.width - self.size, *x.shape[2:])], 1)

    def unfold(self, x: Tensor) -> Tensor:
        """Undo :meth:`fold`."""
        return x[:, : self.size].flatten(0, 1)[: self.batch]


def saliency_shares(saliency: Tensor, blocks: int) -> Tensor:
    """Return each cell's share of its image's saliency: float32 (B, blocks * blocks), for maps (B, h, w), >= 0.

    Where there is no saliency at all, shares are equal.

    >>> saliency_shares(torch.tensor([[[3.0, 1.0], [0.0, 0.0]]]), 2)
    tensor([[0.7500, 0.2500, 0.0000, 0.0000]])
    """
    return unit_mass(F.adaptive_avg_pool2d(saliency.float(), blocks)).flatten(1)


def compatibility(saliency: Tensor, parts: Partitions, omega: float) -> Tensor:
    """Return A = (1 - omega) I + omega n D / sum(D) of each group of n inputs: float32 (groups, width, width).

    D is the distance, in rows and columns together, between the places where two images are most salient. As A is what
    outputs are kept unlike by, inputs that fit, their salient places being far apart, are drawn into one output.
    Where all these places are one, D is 0 (in the authors' code 0 / 0).
    """
    peak = parts.fold(peak_places(saliency))
    there = parts.fold(torch.ones_like(saliency[:, 0, 0], dtype=torch.float32))
    distance = (peak[:, :, None] - peak[:, None]).abs().sum(3) * there[:, :, None] * there[:, None]
    total = distance.sum((1, 2), keepdim=True).clamp(min=1e-12)
    size = there.sum(1)[:, None, None]
    own = torch.eye(parts.width, device=saliency.device, dtype=torch.float32)
    return (1 - omega) * own + omega * size * distance / total


def peak_places(saliency: Tensor) -> Tensor:
    """Return row and column of the window of 8 x 8 pixels of the highest mean: float32 (B, 2).

    Windows are a 32nd of the shorter side apart: a pixel for CIFAR, as in the authors' code, which has 8 for ImageNet.
    """
    side = min(saliency.shape[1:])
    window, stride = min(PEAK_WINDOW, side), max(1, side // 32)
    means = F.avg_pool2d(saliency.float()[:, None], window, stride)[:, 0]
    place = means.flatten(1).argmax(1)
    return torch.stack([place // means.shape[2], place % means.shape[2]], 1).float()
