"""Puzzle Mix's transport: which of an image's blocks go where it is shown, so that more of its saliency is seen.

Every place where the image is shown takes a block of its own, at a cost that grows with the square of the way, less the
saliency that the block brings. That is an assignment problem, solved here by Bertsekas' auction (1988), in which places
bid for blocks. Two things make it cheap:

- Prices begin where a transform of distances puts them. Steps from neighbour to neighbour cost less than one long way,
  so no place can gain more than the best block that is not shown, less the cost of the steps to it. Where that is no
  more than what the place has already, which in maps without peaks is nearly everywhere, it never bids.
- The least rise of a price grows from round to round, so that places that want the same blocks equally do not outbid
  each other for ever. What the result may lack for it is known, and returned.

The authors' code (snu-mllab/PuzzleMix) repeats a rule of thumb n times on dense matrices, after which a place may show
less than it could, and places that are not shown may be left empty.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["transport_blocks"]

LEAST_RISE = 1e-6  # of the image's whole saliency
GROWTH = 1.05  # of the least rise, a round
ROUNDS = 32  # where the device cannot be asked whether all are done,
FAST_GROWTH = 1.45  # which takes a least rise of a tenth in the end
TOGETHER = 4  # rounds, on a CPU, before images that are done are left out
BIDDERS = 16  # of an image, in one round


class _Auction(NamedTuple):
    """The state of an auction, in tensors (B, n * n + 1) that are written to; the last column is for nobody.

    Attributes:
        net: each block's saliency, less its price.
        owner: each block's place, or n * n.
        source: each place's block.
        slack: by how much each place may have missed the block that is best for it.
        waiting: whether each place is shown and has no block.
    """

    net: Tensor
    owner: Tensor
    source: Tensor
    slack: Tensor
    waiting: Tensor


def transport_blocks(saliency: Tensor, shown: Tensor, t_eps: float) -> tuple[Tensor, Tensor]:
    """Return which block comes into each place, and how far from the optimum this may be.

    Maximised is ``sum over places j that are shown of saliency[source[j]] - t_eps * way^2``, over sources that differ;
    the way, from source to place, is in units of the grid's side less one.

    Args:
        saliency: float32 (B, n, n), n >= 2; each image's sum is 1.
        shown: bool (B, n, n), the places where anything of the image is seen.
        t_eps: cost of a way along the whole side, > 0.

    Returns:
        source: int64 (B, n * n), a block for each place, row by row. Places that are not shown keep their own. Devices
            other than CPUs are not asked whether all is done: a place that has no block after 32 rounds shows its own,
            which may then be seen twice.
        gap: float32 (B,), >= 0: what the sum lacks of the maximum, at most, but for rounding; infinite where a place
            has no block.

    >>> saliency = torch.tensor([[[0.1, 0.8], [0.0, 0.1]]])
    >>> source, gap = transport_blocks(saliency, torch.tensor([[[True, False], [False, False]]]), 0.2)
    >>> source
    tensor([[1, 1, 2, 3]])
    """
    auction = _begin(saliency, shown, t_eps)
    cost = _costs(saliency.shape[1], t_eps, saliency.device)
    if saliency.device.type == "cpu":
        _until_done(auction, cost)
    else:
        for step in range(ROUNDS):
            _bid(auction, cost, LEAST_RISE * FAST_GROWTH**step)
    source, slack, waiting = (t[:, :-1] for t in (auction.source, auction.slack, auction.waiting))
    source = torch.where(waiting, torch.arange(source.shape[1], device=source.device), source)
    return source, torch.where(waiting, torch.inf, slack).sum(1)


def _costs(n: int, t_eps: float, device: torch.device) -> Tensor:
    """Return the cost of each way: float32 (n * n, n * n)."""
    line = torch.arange(n, dtype=torch.float32, device=device)
    squares = (line[:, None] - line).square()
    return t_eps / (n - 1) ** 2 * (squares[:, None, :, None] + squares[None, :, None, :]).reshape(n * n, n * n)


def _begin(saliency: Tensor, shown: Tensor, t_eps: float) -> _Auction:
    """Give blocks that are shown to their own places, at the highest price that keeps others from bidding.

    A place that could gain, even so, waits for a block, and its own is free.
    """
    n = saliency.shape[1]
    line = torch.arange(n, dtype=torch.float32, device=saliency.device)
    steps = t_eps / (n - 1) ** 2 * (line[:, None] - line).abs()
    reach = torch.where(shown, 0.0, saliency)  # the most that a place can have of blocks that are not shown
    reach = (reach[:, :, None, :] - steps).amax(3)
    reach = (reach[:, None, :, :] - steps[:, :, None]).amax(2)
    waiting = shown & (reach > saliency)
    place = torch.arange(n * n, device=saliency.device).view(n, n)
    net = torch.where(shown, torch.minimum(saliency, reach), saliency)
    owner = torch.where(shown & ~waiting, place, n * n)
    state = (net, owner, place.expand(shown.shape), torch.zeros_like(net), waiting)
    auction = _Auction(*(F.pad(t.flatten(1), (0, 1)) for t in state))
    auction.owner[:, -1] = n * n
    return auction


def _until_done(auction: _Auction, cost: Tensor) -> None:
    """Let places bid until none waits, in images where any does."""
    least = LEAST_RISE
    while len(images := auction.waiting.any(1).nonzero()[:, 0]):
        part = _Auction(*(t[images] for t in auction))
        for _ in range(TOGETHER):
            _bid(part, cost, least)
            least *= GROWTH
        for whole, t in zip(auction, part, strict=True):
            whole[images] = t


def _bid(auction: _Auction, cost: Tensor, least: float) -> None:
    """Let places that wait bid for the block that is worth most to them.

    A bid raises the price by what makes the second best block as good, and by ``least``. The highest wins, of
    equal ones the first place's, and whoever had the block waits.
    """
    net, owner, source, slack, waiting = auction
    n = len(cost)
    order = waiting[:, :n] * torch.arange(n, 0, -1, device=net.device)
    rank, place = order.topk(min(BIDDERS, n), dim=1)  # (B, M); rank 0 is of those that do not wait
    worth = net[:, None, :n] - cost[place]
    best, block = worth.max(2)
    second = worth.scatter_(2, block[..., None], -torch.inf).amax(2)
    rise = torch.where(rank > 0, best - second + least, -torch.inf)

    rival, mine = rise[:, None, :], rise[:, :, None]
    stronger = (rival > mine) | ((rival == mine) & (place[:, None, :] < place[:, :, None]))
    won = (rank > 0) & ~(stronger & (block[:, None, :] == block[:, :, None])).any(2)
    sold, served = torch.where(won, block, n), torch.where(won, place, n)
    evicted = owner.gather(1, sold)
    net.scatter_add_(1, sold, torch.where(won, -rise, 0.0))
    owner.scatter_(1, sold, torch.where(won, place, n))
    source.scatter_(1, served, block)
    slack.scatter_(1, served, least)
    waiting.scatter_(1, served, False).scatter_(1, evicted, True)
    waiting[:, n] = False
