"""The exact minimum of a grid energy by dynamic programming over broken profiles."""

import torch
from torch import Tensor

from openmix.ops.grid_energy import GridEnergy

__all__ = ["minimise_by_profile"]


def minimise_by_profile(energy: GridEnergy) -> Tensor:
    """Return a labeling of least energy of each grid: int64 (B, n, n), for any unaries.

    The cells are visited row by row. The least energy of those visited is kept for each labeling of the last n of them,
    the broken profile, which is all that the cells to come can see: L ** n states, n * n steps. Everything that is
    computed is kept for the way back: 4 (n * n - n) L ** n bytes a grid, which is 1.5 MB at n = 8 and L = 3.

    >>> energy = GridEnergy(torch.rand(5, 3, 3, 2), torch.rand(5, 3, 2), torch.rand(5, 2, 3))
    >>> minimise_by_profile(energy).shape
    torch.Size([5, 3, 3])
    """
    batch, n, _, levels = energy.unary.shape
    # batch last: all that follows then runs along contiguous memory
    unary = energy.unary.flatten(1, 2).permute(1, 2, 0).contiguous()
    right, down = (edges.permute(1, 2, 0).contiguous() for edges in (energy.right, energy.down))
    value = torch.arange(levels, dtype=torch.float32, device=unary.device) / (levels - 1)
    cost = (value[:, None] - value).square()

    # best[s]: s has the labels of the last cells as its digits in base L, the earliest cell first
    best = unary.new_zeros(1, batch)
    history: list[Tensor] = []
    for cell in range(n * n):
        i, j = divmod(cell, n)
        above = best[:, None]  # (states, 1 or L new labels, B)
        if i:
            history.append(best.view(levels, -1, batch))
            above = _without_first(history[-1], down[i - 1, j])
        if j:
            beside = cost[..., None] * right[i, j - 1] + unary[cell]
            best = above.view(-1, levels, above.shape[1], batch) + beside
        else:
            best = above + unary[cell]
        best = best.view(-1, batch)

    state = best.argmin(0)
    found = []
    for cell in reversed(range(n * n)):
        i, j = divmod(cell, n)
        label = state % levels
        state = state // levels
        found.append(label)
        if i:
            before = history.pop()
            reached = before.gather(1, state.expand(levels, 1, batch))[:, 0]
            first = (reached + down[i - 1, j] * cost[label].T).argmin(0)
            state = state + first * before.shape[1]
    return torch.stack(found[::-1], dim=1).view(batch, n, n)


def _without_first(best: Tensor, weight: Tensor) -> Tensor:
    """Return min_k best[k, m] + weight * (v(k) - v(l))^2 over the first digit k: (M, L, B) for (L, M, B) and (B,)."""
    levels, states, batch = best.shape
    reached = best.new_empty(states, levels, batch)
    for label in range(levels):
        lowest = best[label]
        for other in range(levels):
            if other != label:
                lowest = torch.minimum(lowest, best[other] + weight * ((other - label) / (levels - 1)) ** 2)
        reached[:, label] = lowest
    return reached
