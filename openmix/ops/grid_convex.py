"""The relaxation of a grid energy whose unaries are convex in the label: one number for each cell.

The labels become numbers t in [0, K], K = L - 1, and all costs piecewise linear between the labels. As both kinds of
costs are convex, rounding t at a threshold common to all cells gives, on average over the thresholds, the same energy:
so the minimum is that of the labelings. It is sought by the primal-dual method of Chambolle and Pock (2011), with
diagonal step sizes (Pock and Chambolle, 2011) and over-relaxed (Condat, 2013); any dual bounds the minimum from below.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from openmix.ops.grid_energy import GridEnergy
from openmix.ops.grid_relaxation import OVER_RELAXATION, Relaxation, flow_out, to_batch_last

__all__ = ["ConvexRelaxation"]

STEP = 0.16  # of the duals, where labels run from 0 to 1; found on Puzzle Mix's energies


@dataclass
class ConvexRelaxation(Relaxation):
    """One number for each cell, and one dual for each edge.

    Attributes:
        step: (n, n, B); the step size of t.
        offset: (K, n, n, B); slopes * step + k.
        value: (n, n, B); t.
        dual: (2, n, n, B); the dual of the difference along the edges to the right and down, over the edge's weight.
        feasible: (2, n, n, B); the dual of the last iterate, before the over-relaxation.
    """

    step: Tensor
    offset: Tensor
    value: Tensor
    dual: Tensor
    feasible: Tensor

    @classmethod
    def of(cls, energy: GridEnergy) -> "ConvexRelaxation":
        """Begin: t is in the middle, and the duals are 0."""
        base, slopes, weight = to_batch_last(energy)
        levels = len(slopes)
        step = levels**2 / (2 * STEP * flow_out(weight, -weight).clamp(min=1e-30))
        offset = slopes * step + torch.arange(levels, device=slopes.device).view(-1, 1, 1, 1)
        middle = torch.full_like(slopes, 0.5)
        zero = torch.zeros_like(weight)
        return cls(base, slopes, weight, middle, step, offset, middle.sum(0), zero, zero.clone())

    def advance(self, iterations: int) -> None:
        """Go on for so many iterations."""
        rate = STEP / len(self.slopes) ** 2
        for _ in range(iterations):
            flow = self.dual * self.weight
            moved = torch.addcmul(self.value, flow_out(flow, flow), self.step, value=-1)
            self.levels = (moved - self.offset).clamp_(0, 1)
            change = self.levels.sum(0) - self.value
            self.value += change
            ahead = self.value + change
            self.value.add_(change, alpha=OVER_RELAXATION - 1)
            self.feasible = torch.add(self.dual, ahead, alpha=rate)
            self.feasible[0, :, :-1].sub_(ahead[:, 1:], alpha=rate)
            self.feasible[1, :-1].sub_(ahead[1:], alpha=rate)
            self._shrink(self.feasible, rate)
            self.dual.lerp_(self.feasible, OVER_RELAXATION)

    def _shrink(self, dual: Tensor, rate: float) -> None:
        """Take the proximal step of the conjugate of (difference / K)^2, linear between integers: it falls to kinks."""
        levels = len(self.slopes)
        falls = [softshrink(dual, kink + i * rate).clamp_(-rate, rate) for i, kink in enumerate(_kinks(levels))]
        for fall in falls:
            dual -= fall
        limit = (2 * levels - 1) / levels**2
        dual.clamp_(-limit, limit)

    def lower_bound(self) -> Tensor:
        """Return a lower bound of the energy of all labelings, from the last iterate: float64 (B,)."""
        flow = self.feasible * self.weight
        cells = (self.slopes + flow_out(flow, flow)).clamp_(max=0)
        edges = torch.zeros_like(flow)
        for kink in _kinks(len(self.slopes)):
            edges += softshrink(self.feasible, kink).abs_()
        edges *= self.weight
        return self.base + cells.sum((0, 1, 2), dtype=torch.float64) - edges.sum((0, 1, 2), dtype=torch.float64)


def _kinks(levels: int) -> list[float]:
    """Return the slopes of (d / K)^2, linear between integers, but the last: kinks of its conjugate."""
    return [(2 * k - 1) / levels**2 for k in range(1, levels)]
