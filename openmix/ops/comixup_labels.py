"""Co-Mixup's labeling (Kim et al., ICLR 2021): which of a partition's inputs each cell of each output shows.

The order is the authors': outputs are labeled one after the other, each given all others, sweep by sweep. What is new
is that all partitions of a batch go in step, so that each step is one call on small tensors where they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.comixup_cut import cut_grid

__all__ = ["label_outputs"]

# the authors' constants
BLEND_BONUS = 5e-4  # by which a blend of two inputs is cheaper than the mean of them
BLEND_EDGE = 0.25  # of beta: a blend beside one of its two inputs
CONVERGED = 1e-6  # relative change of the objective in a sweep

NEVER = 1e9  # the cost of a label that there is not; all others are far below


def label_outputs(
    cost: Tensor,
    compat: Tensor,
    initial: Tensor,
    counts: Tensor,
    *,
    beta: float,
    gamma: float,
    tau: float,
    sweeps: int,
) -> Tensor:
    """Label the cells of as many outputs as there are inputs, group by group.

    Minimises, in turns for each output j with the others fixed,

        sum_p c[z_p, p] + beta sum_(neighbours) V(z_p, z_q) + 2 gamma sum_p (A (1[t > tau n^2] t'))[z_p], with t = A t'

    where t' counts in how many cells of the other outputs each input is shown, and n^2 is the number of cells: inputs
    that the others show enough of are avoided. (The authors' code reads so: the threshold is on A t', but what
    is left of t' is multiplied by A once more, and so inputs below the threshold get a little of their neighbours'.)
    V is 1 for different labels. From the second sweep on, an output may also show half-and-half blends of two of the
    inputs that it shows most of: of two, or of three in pairs. They cost the mean, less 5e-4; beside one of
    their inputs V is 1/4. After the last sweep but one, outputs that show the same set of inputs are driven apart:
    the first input of the set costs gamma more for the earlier output, and the second for the later.

    A group is done when a sweep changes the objective without threshold and A by less than 1e-6 of it.

    Args:
        cost: float32 (G, n, cells), c of each of n >= 3 inputs, for a square number of cells, 4 at least.
        compat: float32 (G, n, n), A.
        initial: int64 (G, n, cells), the input that each cell of each output shows at first.
        counts: int64 (G,), how many inputs, and outputs, there are; the rest are fillers.
        beta: smoothness, per edge.
        gamma: diversity, per pair of cells.
        tau: the share of all cells from which on an input is avoided.
        sweeps: over the outputs, >= 1.

    Returns:
        int64 (G, n, cells, 2), the two inputs that each cell shows half of each; twice the same for one alone.

    >>> cost = -torch.eye(3, 4)[None]  # three inputs, each salient in another of four cells
    >>> first, everyone = torch.zeros(1, 3, 4, dtype=torch.int64), torch.tensor([3])
    >>> pairs = label_outputs(cost, torch.eye(3)[None], first, everyone, beta=0.1, gamma=0.0, tau=1.0, sweeps=2)
    >>> pairs[0, 0, :3, 0]
    tensor([0, 1, 2])
    """
    groups, n, cells = cost.shape
    there = torch.arange(n, device=cost.device) < counts[:, None]
    problem = _Labeling(cost.masked_fill(~there[..., None], NEVER), compat, beta, gamma, tau * cells, there)
    outputs = list(initial[..., None].expand(-1, -1, -1, 2).unbind(1))
    apart = cost.new_zeros(n, groups, n)
    done, before = torch.zeros_like(there[:, 0]), problem.objective(outputs)
    for sweep in range(sweeps):
        old = list(outputs)
        shown = [problem.shown(pair, j) for j, pair in enumerate(outputs)]
        total = torch.stack(shown).sum(0)
        for j in range(n):
            outputs[j] = problem.relabel(total - shown[j], shown[j], apart[j], blends=sweep > 0)
            new = problem.shown(outputs[j], j)
            total = total - shown[j] + new
            shown[j] = new
        outputs = [torch.where(done[:, None, None], a, b) for a, b in zip(old, outputs, strict=True)]
        if sweep == sweeps - 2:
            apart = gamma * _collisions(torch.stack(shown, 1) > 0).transpose(0, 1)
        after = problem.objective(outputs)
        done = done | ((before - after).abs() < CONVERGED * after.abs())
        before = after
        if cost.device.type == "cpu" and bool(done.all()):
            break
    return torch.stack(outputs, 1)


@dataclass(frozen=True)
class _Labeling:
    """What stays the same through all sweeps; see :func:`label_outputs`."""

    cost: Tensor
    compat: Tensor
    beta: float
    gamma: float
    limit: float
    there: Tensor

    def shown(self, pair: Tensor, j: int) -> Tensor:
        """Return how many cells of output j show each input: (G, n) for pairs (G, cells, 2)."""
        half = 0.5 * self.there[:, j, None].to(self.cost.dtype)
        return torch.zeros_like(self.cost[:, :, 0]).scatter_add(1, pair.flatten(1), half.expand(-1, pair[0].numel()))

    def relabel(self, others: Tensor, own: Tensor, apart: Tensor, blends: bool) -> Tensor:
        """Return the best labels of one output, (G, cells, 2)."""
        n, cells = self.cost.shape[1:]
        side = round(cells**0.5)
        # products by hand: a matrix product of this size costs more in the waking of threads
        crowded = (self.compat * others[:, None]).sum(2) > self.limit
        avoided = 2 * self.gamma * (self.compat * (others * crowded)[:, None]).sum(2)
        cost = self.cost + (avoided + apart)[..., None]
        pairs, exists = self._labels(own, blends)
        first, second = (cost.gather(1, p[..., None].expand(-1, -1, cells)) for p in pairs.unbind(2))
        unary = (first + second) / 2
        unary[:, n:] -= BLEND_BONUS
        unary = unary.masked_fill(~exists[..., None], NEVER)
        cut = cut_grid(unary.transpose(1, 2).unflatten(1, (side, side)), self.beta * _differences(pairs, n))
        return pairs.gather(1, cut.labels[..., None].expand(-1, -1, 2))

    def _labels(self, own: Tensor, blends: bool) -> tuple[Tensor, Tensor]:
        """Return the inputs that each label shows, (G, n or n + 3, 2), and which labels there are."""
        alone = torch.arange(own.shape[1], device=own.device).expand_as(own)
        pairs = torch.stack([alone, alone], 2)
        if not blends:
            return pairs, self.there
        most = own.sort(dim=1, descending=True, stable=True)
        a, b, c = most.indices[:, :3].unbind(1)
        blended = torch.stack([torch.stack([a, b], 1), torch.stack([a, c], 1), torch.stack([b, c], 1)], 1)
        two, three = (most.values[:, 1:3] > 0).unbind(1)
        return torch.cat([pairs, blended], 1), torch.cat([self.there, torch.stack([two, three, three], 1)], 1)

    def objective(self, outputs: list[Tensor]) -> Tensor:
        """Return the objective without threshold and A: (G,)."""
        pairs = torch.stack(outputs, 1)
        groups, n, cells, _ = pairs.shape
        shares = self.cost.new_zeros(groups, n, cells, n).scatter_add(3, pairs, self.cost.new_full(pairs.shape, 0.5))
        shares = shares * self.there[:, :, None, None]
        side = round(cells**0.5)
        grid = shares.view(groups, n, side, side, n)
        edges = sum(grid.diff(dim=d).square().sum((1, 2, 3, 4)) for d in (2, 3))
        count = shares.sum(2)
        pairs_of_outputs = count.sum(1).square().sum(1) - count.square().sum((1, 2))
        alone = (shares * self.cost.transpose(1, 2)[:, None]).sum((1, 2, 3))
        return alone + self.beta / 2 * edges + self.gamma * pairs_of_outputs


def _differences(pairs: Tensor, n: int) -> Tensor:
    """Return V for each two labels, of which those from n on are blends: float32 (G, L, L)."""
    count = pairs.shape[1]
    unlike = 1 - torch.eye(count, device=pairs.device, dtype=torch.float32).expand(len(pairs), -1, -1)
    if count == n:
        return unlike
    part = F.one_hot(pairs[:, n:], n).sum(2) * (1 - BLEND_EDGE)  # (G, 3, n)
    near = torch.zeros_like(unlike)
    near[:, n:, :n] = part
    near[:, :n, n:] = part.transpose(1, 2)
    return unlike - near


def _collisions(shows: Tensor) -> Tensor:
    """Mark, of outputs (G, n) that show the same two or more inputs, one input each: float32 (G, n, n).

    Of each two such outputs, the first input of the set is marked for the earlier and the second for the later one.
    """
    same = (shows[:, :, None] == shows[:, None]).all(3)
    later, earlier = same.triu(1).any(2), same.tril(-1).any(2)  # there is one after it, before it
    rank = shows.cumsum(2)
    several = (shows.sum(2, keepdim=True) > 1) & shows
    first, second = several & (rank == 1), several & (rank == 2)
    return ((first & later[..., None]) | (second & earlier[..., None])).float()
