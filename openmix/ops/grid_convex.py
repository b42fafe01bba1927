"""The relaxation of a grid energy whose unaries are convex in the label: one number for each cell.

The labels become numbers t in [0, K], K = L - 1, and all costs piecewise linear between the labels. As both kinds of
costs are convex, rounding t at a threshold common to all cells gives, on average over the thresholds, the same energy:
so the minimum is that of the labelings. It is sought by the primal-dual method of Chambolle and Pock (2011), with
diagonal step sizes (Pock and Chambolle, 2011) and over-relaxed (Condat, 2013); any dual bounds the minimum from below.
Unaries that are not convex are replaced by the greatest convex function below them. The bound holds then too, but may
stay below the minimum.
"""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from openmix.ops.grid_energy import GridEnergy
from openmix.ops.grid_relaxation import OVER_RELAXATION, Relaxation, flow_out, plus, to_batch_last, total

__all__ = ["ConvexRelaxation"]

STEP = 0.16  # of the duals, where labels run from 0 to 1; found on Puzzle Mix's energies


@dataclass
class ConvexRelaxation(Relaxation):
    """One number for each cell, and one dual for each edge.

    Attributes:
        hull: (K, n, n, B); the slopes of the greatest convex function below a cell's costs: ``slopes`` where convex.
        step: (n, n, B); the step size of t.
        offset: (K, n, n, B); hull * step + k.
        value: (n, n, B); t.
        dual: (2, n, n, B); the dual of the difference along the edges to the right and down, over the edge's weight.
        feasible: (2, n, n, B); the dual of the last iterate, before the over-relaxation.
    """

    hull: Tensor
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
        hull = _hull(slopes)
        offset = hull * step + torch.arange(levels, device=slopes.device).view(-1, 1, 1, 1)
        middle = torch.full_like(slopes, 0.5)
        value = torch.full_like(slopes[0], levels / 2)
        zero = torch.zeros_like(weight)
        return cls(base, slopes, weight, middle, hull, step, offset, value, zero, zero.clone())

    def advance(self, iterations: int) -> None:
        """Go on for so many iterations."""
        levels = len(self.slopes)
        rate = STEP / levels**2
        limit = (2 * levels - 1) / levels**2
        kinks = [kink + i * rate for i, kink in enumerate(_kinks(levels))]
        # small batches cost what the calls cost: buffers and views of them are made once
        flow, value, ahead = torch.empty_like(self.dual), torch.empty_like(self.value), torch.empty_like(self.value)
        right, down = flow
        first, *others = self.levels
        entering = (value[:, 1:], right[:, :-1]), (value[1:], down[:-1])
        neighbours = (self.feasible[0, :, :-1], ahead[:, 1:]), (self.feasible[1, :-1], ahead[1:])
        for _ in range(iterations):
            torch.mul(self.dual, self.weight, out=flow)
            torch.add(right, down, out=value)
            for cell, flow_in in entering:
                cell -= flow_in
            torch.addcmul(self.value, value, self.step, value=-1, out=value)
            torch.sub(value, self.offset, out=self.levels).clamp_(0, 1)
            value.copy_(first)
            for other in others:
                value += other
            change = value - self.value
            torch.add(value, change, out=ahead)
            self.value.add_(change, alpha=OVER_RELAXATION)
            torch.add(self.dual, ahead, alpha=rate, out=self.feasible)
            for dual, neighbour in neighbours:
                dual.sub_(neighbour, alpha=rate)
            # the proximal step of the conjugate: what is beyond a kink falls by the rate, but not below the kink
            falls = [softshrink(self.feasible, kink).clamp_(-rate, rate) for kink in kinks]
            for fall in falls:
                self.feasible -= fall
            self.feasible.clamp_(-limit, limit)
            self.dual.lerp_(self.feasible, OVER_RELAXATION)

    def lower_bound(self) -> Tensor:
        """Return a lower bound of the energy of all labelings, from the last iterate: float64 (B,)."""
        flow = self.feasible * self.weight
        cells = (self.hull + flow_out(flow, flow)).clamp_(max=0)
        edges = torch.zeros_like(flow)
        for kink in _kinks(len(self.slopes)):
            edges += softshrink(self.feasible, kink).abs_()
        edges *= self.weight
        return self.base + total(cells) - total(edges)


def _hull(slopes: Tensor) -> Tensor:
    """Return the nearest slopes that do not fall from one to the next (isotonic regression, by its min-max formula)."""
    levels = len(slopes)
    if levels == 1:
        return slopes
    means = {(i, j): plus(slopes[i : j + 1]) / (j + 1 - i) for i in range(levels) for j in range(i, levels)}
    hull = []
    for k in range(levels):
        least = [reduce(torch.minimum, [means[i, j] for j in range(k, levels)]) for i in range(k + 1)]
        hull.append(reduce(torch.maximum, least))
    return torch.stack(hull)


def _kinks(levels: int) -> list[float]:
    """Return the slopes of (d / K)^2, linear between integers, but the last: kinks of its conjugate."""
    return [(2 * k - 1) / levels**2 for k in range(1, levels)]
