"""Which of many unordered labels each cell of a small grid shows, at the least cost: Co-Mixup's sub-problem.

The authors' code calls a graph cut on the CPU (alpha-beta swap), once an output and sweep, which often stops above the
minimum (docs/benchmarks/comixup.md). Here many grids are solved at once, where the costs are, in three steps:

1. of all labels those are kept that can be somewhere in an optimum;
2. rows and columns, as chains, yield a lower bound of the energy with a given label in a given cell;
3. dynamic programming finds the best of all labelings that use each cell's labels of the lowest bounds.

What was left out in 1 or 3 has a bound too: where none is below the energy found, that energy is the minimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GridCut", "cut_grid", "label_bounds"]

# docs/benchmarks/comixup.md says how often answers are proven so
LABELS, CANDIDATES, ROUNDS = 12, 5, 8


@dataclass(frozen=True)
class GridCut:
    """Labelings of low energy, and how low.

    Attributes:
        labels: int64 (B, n * n), the cells row by row.
        energy: float32 (B,), of the labels.
        gap: float32 (B,), >= 0: the energy less a proven lower bound of the minimum; up to rounding 0 where the labels
            are proven to be a minimum.
    """

    labels: Tensor
    energy: Tensor
    gap: Tensor


def cut_grid(
    unary: Tensor, pairwise: Tensor, labels: int = LABELS, candidates: int = CANDIDATES, rounds: int = ROUNDS
) -> GridCut:
    """Minimise E(z) = sum_p unary[p, z_p] + sum over neighbours p, q of pairwise[z_p, z_q], for each of B grids.

    Args:
        unary: float32 (B, n, n, L), finite, n >= 2: the cost of each label in each cell.
        pairwise: float32 (B, L, L), symmetric, >= 0, with a diagonal of zeros.
        labels: how many labels to keep in the first step, at most.
        candidates: how many labels a cell may choose from in the last step, at most: its tables have candidates ** n
            entries.
        rounds: of the ascent that lifts the bounds.

    >>> unary = torch.tensor([[[[0.0, 3.0], [0.0, 3.0]], [[0.0, 3.0], [1.0, 0.0]]]])
    >>> cut = cut_grid(unary, 0.75 * (1 - torch.eye(2))[None])  # the last cell does as its neighbours do
    >>> cut.labels, cut.energy, cut.gap
    (tensor([[0, 0, 0, 0]]), tensor([1.]), tensor([0.]))
    """
    lowest = unary.amin(3, keepdim=True)
    kept, dropped_bound = _keep_labels(unary - lowest, pairwise, labels)
    grid = kept[:, None, None].expand(-1, *unary.shape[1:3], -1)
    unary_of_kept = unary.gather(3, grid) - lowest
    rows = pairwise.gather(1, kept[:, :, None].expand(-1, -1, pairwise.shape[2]))
    pairwise_of_kept = rows.gather(2, kept[:, None].expand(-1, kept.shape[1], -1))
    ranked = label_bounds(unary_of_kept, pairwise_of_kept, rounds).flatten(1, 2).sort(dim=2, stable=True)
    chosen = ranked.indices[:, :, :candidates]
    excess, found = _best_labeling(unary_of_kept.flatten(1, 2), pairwise_of_kept, chosen, unary.shape[1])
    bound = dropped_bound
    if ranked.values.shape[2] > candidates:
        bound = torch.minimum(bound, ranked.values[:, :, candidates].amin(1))
    return GridCut(kept.gather(1, found), excess + lowest.sum((1, 2, 3)), (excess - bound).clamp(min=0))


def _keep_labels(unary: Tensor, pairwise: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the labels that are nearest to being used, (B, count), and a bound of energies with any other one.

    A label that costs more in a cell than the cheapest there and all the cell's edges together is in no optimum. The
    unary costs are 0 at the least in every cell.
    """
    n = unary.shape[1]
    inner = torch.arange(n, device=unary.device)
    sides = 2 - (inner == 0).to(unary.dtype) - (inner == n - 1).to(unary.dtype)  # neighbours along one axis
    edges = (sides[:, None] + sides)[..., None] * pairwise.amax((1, 2))[:, None, None, None]
    ranked = (unary - edges).amin((1, 2)).sort(dim=1, stable=True)
    kept, rest = ranked.indices[:, :count], ranked.indices[:, count:]
    if not rest.shape[1]:
        return kept, unary.new_full((len(unary),), float("inf"))
    alone = unary.amin((1, 2)).gather(1, rest)
    return kept, torch.where(ranked.values[:, count:] > 0, float("inf"), alone).amin(1)


def label_bounds(unary: Tensor, pairwise: Tensor, rounds: int = ROUNDS) -> Tensor:
    """Return for each cell and label a lower bound of the energy of all labelings with that label there.

    The energy is split among rows and columns, of which each has its edges and a part of each of its cells' costs.
    Their minima are known exactly and add up to a bound; each round moves cost from the one to the other where they
    disagree about a label, which on the whole lifts it. It is a bound whatever was moved.

    Args:
        unary: float32 (B, n, n, L).
        pairwise: float32 (B, L, L), symmetric.
        rounds: >= 1.

    Returns:
        float32 (B, n, n, L).
    """
    n = unary.shape[1]
    parts = torch.stack([unary, unary.transpose(1, 2)], 1) / 2  # (B, 2, n, n, L): rows, and columns likewise
    best = _chain_minima(parts, pairwise)
    for _ in range(rounds - 1):
        # the whole of the difference, shared by the chain's n cells: twice the step that never lowers the bound
        moved = (best[:, 0] - best[:, 1].transpose(1, 2)) / n
        parts = parts - torch.stack([moved, -moved.transpose(1, 2)], 1)
        best = _chain_minima(parts, pairwise)
    minimum = best[:, :, :, 0].amin(3)  # of each chain, (B, 2, n)
    others = minimum.sum((1, 2))[:, None, None] - minimum[:, 0, :, None] - minimum[:, 1, None, :]
    return best[:, 0] + best[:, 1].transpose(1, 2) + others[..., None]


def _chain_minima(unary: Tensor, pairwise: Tensor) -> Tensor:
    """Return for each cell and label of chains (..., n, L) the least energy of the chain with that label there."""
    pairs = pairwise[:, None, None, None]
    ways = torch.stack([unary, unary.flip(-2)], 1)  # from the one end, and from the other
    messages = [torch.zeros_like(ways[..., 0, :])]  # of the cells before, by this cell's label
    for cell in ways.unbind(-2)[:-1]:
        messages.append(((messages[-1] + cell).unsqueeze(-1) + pairs).amin(-2))
    onward, backward = torch.stack(messages, -2).unbind(1)
    return unary + onward + backward.flip(-2)


def _best_labeling(unary: Tensor, pairwise: Tensor, choice: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the least energy (B,) of the labelings by each cell's choice (B, n * n, K), and its labels (B, n * n).

    Cells are added one by one. All that the rest needs to know is the last n cells' labels: for each combination of
    these, a table holds the least energy of what has been added.
    """
    batch, cells, k = choice.shape
    cost = unary.gather(2, choice)
    up = _edge_costs(pairwise, choice, n)
    left = _edge_costs(pairwise, choice, 1) + cost[:, 1:, None]  # and the cell's own cost
    tables = [cost[:, 0]]
    for p in range(1, cells):
        table = tables[-1].unsqueeze(-1)
        if p >= n:  # the cell above is known no more after this
            table = (table.view(batch, k, -1, 1) + up[:, p - n, :, None]).amin(1)
        table = table.unflatten(1, (-1, k)) + left[:, p - 1, None] if p % n else table + cost[:, p, None]
        tables.append(table.flatten(1))
    energy, state = tables[-1].amin(1), tables[-1].argmin(1)  # min() of both wakes threads for the smallest tensors
    labels = []
    for p in range(cells - 1, n - 1, -1):  # which label the cell had that was forgotten then
        mine = state % k
        state = state // k
        above = tables[p - 1].view(batch, k, -1).gather(2, state[:, None, None].expand(-1, k, 1))[..., 0]
        above = above + up[:, p - n].gather(2, mine[:, None, None].expand(-1, k, 1))[..., 0]
        state = state + above.argmin(1) * k ** (n - 1)
        labels.append(mine)
    for _ in range(n):
        labels.append(state % k)
        state = state // k
    return energy, choice.gather(2, torch.stack(labels[::-1], 1)[..., None])[..., 0]


def _edge_costs(pairwise: Tensor, choice: Tensor, distance: int) -> Tensor:
    """Return what cells cost together with those ``distance`` further on: (B, cells - distance, K, K)."""
    first, second = choice[:, :-distance], choice[:, distance:]
    number = first[..., :, None] * pairwise.shape[2] + second[..., None, :]
    return pairwise.flatten(1).gather(1, number.flatten(1)).view_as(number)
