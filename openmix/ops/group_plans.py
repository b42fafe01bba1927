"""Plans made of plans: one that acts on some images of a batch, and several of one batch, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.plans import OnDevice, Plan

__all__ = ["PartPlan", "StackPlan"]


@dataclass(frozen=True)
class PartPlan(OnDevice):
    """Mixes the chosen images by another plan and leaves the others alone.

    Attributes:
        plan: of the whole batch.
        chosen: which images take part, bool (B,).
    """

    plan: Plan
    chosen: Tensor

    @property
    def sources(self) -> Tensor:
        """The plan's; an image that is left alone is its own partner."""
        sources = self.plan.sources
        return torch.where(self.chosen[:, None], sources, sources[:, :1])

    @property
    def weights(self) -> Tensor:
        """The plan's; 1 for an image that is left alone."""
        return self.keep(self.plan.weights)

    @property
    def masks(self) -> Tensor | None:
        """The plan's; 1 for an image that is left alone."""
        masks = self.plan.masks
        return None if masks is None else self.keep(masks)

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Apply the plan, and keep what it makes of the chosen images."""
        return torch.where(self.chosen[:, None, None, None], self.plan.apply(x, interpolation), x)

    def keep(self, shares: Tensor) -> Tensor:
        """Return shares (B, K, ...) for the chosen images, and 1, 0, ... for the others."""
        alone = torch.cat([torch.ones_like(shares[:, :1]), torch.zeros_like(shares[:, 1:])], dim=1)
        return torch.where(self.chosen.view(-1, *(1 for _ in shares.shape[1:])), shares, alone)


@dataclass(frozen=True)
class StackPlan(OnDevice):
    """Mixes one batch of B images n times: n * B images, the first mix of all before the second.

    Attributes:
        plans: n plans of the same batch. Where they have different numbers of sources, the shorter are filled up with
            the image itself at weight 0.
    """

    plans: tuple[Plan, ...]

    @property
    def sources(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`; they count within the B images that went in: int64 (n * B, K)."""
        sources = [p.sources for p in self.plans]
        k = max(s.shape[1] for s in sources)
        return torch.cat([torch.cat([s, s[:, :1].expand(-1, k - s.shape[1])], dim=1) for s in sources])

    @property
    def weights(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        return self.fill([p.weights for p in self.plans])

    @property
    def masks(self) -> Tensor | None:
        """See :class:`~openmix.ops.plans.Plan`; None if any plan's are."""
        masks = [m for p in self.plans if (m := p.masks) is not None]
        if len(masks) < len(self.plans):
            return None
        height, width = max(tuple(m.shape[2:]) for m in masks)  # those that are constant are 1 x 1
        return self.fill([m.expand(-1, -1, height, width) for m in masks])

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Apply every plan to (B, C, H, W) and return (n * B, C, H, W)."""
        return torch.cat([plan.apply(x, interpolation) for plan in self.plans])

    def fill(self, shares: Sequence[Tensor]) -> Tensor:
        """Put the plans' shares (B, K, ...) together: (n * B, max K, ...), 0 for the sources that a plan lacks."""
        k = max(s.shape[1] for s in shares)
        return torch.cat([torch.cat([s, s.new_zeros(len(s), k - s.shape[1], *s.shape[2:])], dim=1) for s in shares])
