"""Plans made of plans: one that acts on some images of a batch, and several of one batch, one after the other."""

from __future__ import annotations

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
        weights = self.plan.weights
        return torch.where(self.chosen[:, None], weights, _first_alone(weights))

    @property
    def masks(self) -> Tensor | None:
        """The plan's; 1 for an image that is left alone."""
        masks = self.plan.masks
        return None if masks is None else torch.where(self.chosen[:, None, None, None], masks, _first_alone(masks))

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Apply the plan, and keep what it makes of the chosen images."""
        return torch.where(self.chosen[:, None, None, None], self.plan.apply(x, interpolation), x)


def _first_alone(like: Tensor) -> Tensor:
    """Return 1 for the first of the K sources and 0 for the rest, like a (B, K, ...) tensor."""
    return torch.cat([torch.ones_like(like[:, :1]), torch.zeros_like(like[:, 1:])], dim=1)


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
        return torch.cat([self._filled(p.sources, p.sources[:, :1]) for p in self.plans])

    @property
    def weights(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        return torch.cat([self._filled(p.weights, torch.zeros_like(p.weights[:, :1])) for p in self.plans])

    @property
    def masks(self) -> Tensor | None:
        """See :class:`~openmix.ops.plans.Plan`; None if any plan's are."""
        masks = [p.masks for p in self.plans]
        known = [m for m in masks if m is not None]
        if len(known) < len(masks):
            return None
        size = max((m.shape[2:] for m in known), key=lambda s: s[0] * s[1])
        filled = [self._filled(m, torch.zeros_like(m[:, :1])) for m in known]
        return torch.cat([m.expand(-1, -1, *size) for m in filled])

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Apply every plan to (B, C, H, W) and return (n * B, C, H, W)."""
        return torch.cat([plan.apply(x, interpolation) for plan in self.plans])

    def _filled(self, own: Tensor, filler: Tensor) -> Tensor:
        missing = max(p.sources.shape[1] for p in self.plans) - own.shape[1]
        return torch.cat([own, *[filler] * missing], dim=1) if missing else own
