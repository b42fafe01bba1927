"""The relaxation of a grid energy with any unaries: one number for each cell and each label but the first.

A label l becomes the K = L - 1 numbers x_k = [l > k], and the cost of an edge (Ishikawa, 2003) a sum over pairs of
them: (v(l) - v(m))^2 = sum_jk c_jk (x_j(l) - x_k(m))_+ + the same with l and m exchanged, where c_jk is 1 / K^2 for
j = k, 2 / K^2 for j > k and else 0. This is a minimum cut, so with numbers in [0, 1] and x_0 >= x_1 >= ... the minimum
is still that of the labelings. The method is that of :mod:`openmix.ops.grid_convex`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.grid_energy import GridEnergy
from openmix.ops.grid_relaxation import OVER_RELAXATION, Relaxation, flow_out, to_batch_last, total

__all__ = ["LevelRelaxation"]

STEP = 0.05  # of the duals


@dataclass
class LevelRelaxation(Relaxation):
    """K numbers for each cell, K * K duals for each edge, and K - 1 for the order of a cell's numbers.

    Attributes:
        step: (K, n, n, B); the step size of the numbers.
        value: (K, n, n, B); the numbers.
        dual: (2, K, K, n, n, B); the dual of x_j at the edge's start less x_k at its end, over the edge's weight.
        order: (K - 1, n, n, B); the multiplier of x_k >= x_(k + 1), over ``scale``.
        scale: (B,); a typical slope.
        feasible: (2, K, K, n, n, B); the dual of the last iterate, before the over-relaxation.
    """

    step: Tensor
    value: Tensor
    dual: Tensor
    order: Tensor
    scale: Tensor
    feasible: Tensor

    @classmethod
    def of(cls, energy: GridEnergy) -> "LevelRelaxation":
        """Begin: all numbers are 1/2, and the duals are 0."""
        base, slopes, weight = to_batch_last(energy)
        levels = len(slopes)
        degree = flow_out(weight, -weight).expand_as(slopes) * levels
        scale = degree.mean((0, 1, 2)) + slopes.abs().mean((0, 1, 2))
        degree = degree.clone()
        degree[:-1] += scale
        degree[1:] += scale
        value = torch.full_like(slopes, 0.5)
        dual = weight.new_zeros(2, levels, levels, *weight.shape[1:])
        step = 1 / (2 * STEP * degree.clamp(min=1e-30))
        order = torch.zeros_like(value[1:])
        return cls(base, slopes, weight, value, step, value.clone(), dual, order, scale, dual.clone())

    def advance(self, iterations: int) -> None:
        """Go on for so many iterations."""
        low, high = self._limits()
        for _ in range(iterations):
            pull = self._pull(self.dual) + self.slopes
            excess = self.order * self.scale
            pull[:-1] -= excess
            pull[1:] += excess
            self.levels = torch.addcmul(self.value, pull, self.step, value=-1).clamp_(0, 1)
            change = self.levels - self.value
            ahead = self.levels + change
            self.value.add_(change, alpha=OVER_RELAXATION)
            self.feasible = torch.add(self.dual, ahead[:, None], alpha=STEP)
            self.feasible[0, :, :, :, :-1].sub_(ahead[:, :, 1:], alpha=STEP)
            self.feasible[1, :, :, :-1].sub_(ahead[:, 1:], alpha=STEP)
            self.feasible = self.feasible.clamp_(low, high)
            self.dual.lerp_(self.feasible, OVER_RELAXATION)
            self.order.lerp_((self.order + STEP * ahead.diff(dim=0)).clamp_(min=0), OVER_RELAXATION)
        self.levels = self.levels.cummin(0).values

    def lower_bound(self) -> Tensor:
        """Return a lower bound of the energy of all labelings, from the last iterate: float64 (B,)."""
        label = torch.zeros_like(self.labels)
        least = label
        for rise in self._pull(self.feasible) + self.slopes:
            label = label + rise
            least = torch.minimum(least, label)
        return self.base + total(least)

    def _pull(self, dual: Tensor) -> Tensor:
        """Return what the edges add to the slopes of the numbers: (K, n, n, B)."""
        flow = dual * self.weight[:, None, None]
        return flow_out(flow.sum(2), flow.sum(1))

    def _limits(self) -> tuple[Tensor, Tensor]:
        """Return the least and the greatest dual of each pair of levels: (K, K, 1, 1, 1) each."""
        levels = len(self.slopes)
        ones = self.slopes.new_ones(levels, levels)
        high = (ones.tril() + ones.tril(-1)) / levels**2
        return -high.T[..., None, None, None], high[..., None, None, None]
