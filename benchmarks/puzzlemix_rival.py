"""Puzzle Mix as it is usually written: what benchmarks/puzzlemix.py is held to.

From the method's description (Kim et al., 2020): the energy from pooled whole images, gco's alpha-beta swap image by
image in one process, n rounds of transport on dense cost matrices (the squared ways are made once), and products with
dense matrices to move the blocks.
"""

import math
from functools import cache

import gco
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["rival"]


def rival(
    x: Tensor,
    s: Tensor,
    n: int,
    *,
    n_labels: int,
    beta: float,
    gamma: float,
    eta: float,
    neigh: int,
    t_size: int | None,
    t_eps: float,
) -> tuple[Tensor, Tensor]:
    """Mix images (B, 3, S, S) in [0, 1] by their saliency (B, S, S); return them and the own labels' weights."""
    partner, lam = torch.randperm(len(x)), float(torch.distributions.Beta(1.0, 1.0).sample())
    side = x.shape[2] // n
    z = gco_masks(x, s, partner, lam, n, n_labels=n_labels, beta=beta, gamma=gamma, eta=eta, neigh=min(neigh, side))
    size = side if t_size is None else min(t_size, side)
    parts = x.shape[2] // size
    z = F.interpolate(z[:, None], size=(parts, parts))[:, 0]
    fine = F.avg_pool2d(s, size)
    fine = fine / fine.sum((1, 2), keepdim=True)
    own = moved(x, rounds(z, fine, t_eps), size)
    other = moved(x[partner], rounds(1 - z, fine[partner], t_eps), size)
    mask = F.interpolate(z[:, None], size=x.shape[2:])
    return mask * own + (1 - mask) * other, mask.mean((1, 2, 3))


def gco_masks(
    x: Tensor,
    s: Tensor,
    partner: Tensor,
    lam: float,
    n: int,
    *,
    n_labels: int,
    beta: float,
    gamma: float,
    eta: float,
    neigh: int,
) -> Tensor:
    """Build the energy from whole images, and cut it image by image: shares (B, n, n)."""
    side = x.shape[2] // n
    rate, facing = beta / n / 16, side // neigh
    u = F.avg_pool2d(s, side)
    u = u / u.sum((1, 2), keepdim=True)
    pooled = F.avg_pool2d(x, neigh)
    own, other = u[partner].clone(), u.clone()  # the costs of showing the own image, and the partner
    edges = {}
    for axis, name in ((2, "down"), (3, "right")):
        phi = {}
        for a, first in ((1, pooled), (0, pooled[partner])):
            for b, second in ((1, pooled), (0, pooled[partner])):
                count = first.shape[axis]
                d = (first.narrow(axis, 0, count - 1) - second.narrow(axis, 1, count - 1)).abs().mean(1)
                at = torch.arange(facing - 1, count - 1, facing)
                kernel = (1, facing) if axis == 2 else (facing, 1)
                phi[a, b] = rate * gamma * F.avg_pool2d(d.index_select(axis - 1, at), kernel)
        for cost, key in ((own, 1), (other, 0)):
            cost.narrow(axis - 1, 0, n - 1).add_((phi[key, 1] + phi[key, 0]) / 2)
            cost.narrow(axis - 1, 1, n - 1).add_((phi[1, key] + phi[0, key]) / 2)
        edges[name] = rate + (phi[1, 0] + phi[0, 1] - phi[1, 1] - phi[0, 0]) / 2
    share = np.linspace(1, 0, n_labels)
    ways = np.array([math.comb(n_labels - 1, k) for k in range(n_labels)])
    chance = ways * lam ** (share * (n_labels - 1)) * (1 - lam) ** ((1 - share) * (n_labels - 1))
    prior = -eta * np.log(chance + 1e-8) / n**2
    own, other, right, down = (t.numpy() for t in (own, other, edges["right"], edges["down"]))
    scale = 1000 * n**2
    pairwise = ((share[:, None] - share) ** 2).astype(np.float32)
    masks = []
    for b in range(len(x)):
        unary = np.stack([z * own[b] + (1 - z) * other[b] + p for z, p in zip(share, prior, strict=True)], axis=-1)
        unary, r, d = ((scale * t).astype(np.int32) for t in (unary, right[b], down[b]))
        masks.append(gco.cut_grid_graph(unary, pairwise, d, r, n_iter=-1, algorithm="swap"))
    return torch.from_numpy(1 - np.stack(masks).reshape(-1, n, n) / (n_labels - 1)).float()


@cache
def squared_ways(n: int) -> Tensor:
    line = torch.arange(n, dtype=torch.float32)
    squares = (line[:, None] - line).square()
    return (squares[:, None, :, None] + squares[None, :, None, :]).reshape(n * n, n * n) / (n - 1) ** 2


def rounds(z: Tensor, s: Tensor, t_eps: float) -> Tensor:
    """Rows are blocks, columns are places: each block picks a place, each place keeps the cheapest, losers pay."""
    n = z.shape[1]
    cost = t_eps * squared_ways(n) - s.flatten(1)[:, :, None] * (z > 0).flatten(1)[:, None, :]
    plan = torch.zeros_like(cost)
    for _ in range(n):
        plan = torch.zeros_like(cost).scatter_(2, cost.argmin(2, keepdim=True), 1)
        best = (cost * plan).argmin(1, keepdim=True)
        won = plan * torch.zeros_like(cost).scatter_(1, best, 1)
        cost = cost + plan - won
        plan = won
    return plan


def moved(x: Tensor, plan: Tensor, size: int) -> Tensor:
    """Move the blocks of ``size`` pixels by a product with the plan (B, blocks, places)."""
    batch, channels, side, _ = x.shape
    n = side // size
    blocks = x.view(batch, channels, n, size, n, size).permute(0, 1, 3, 5, 2, 4).reshape(batch, -1, n * n)
    placed = (blocks @ plan).view(batch, channels, size, size, n, n)
    return placed.permute(0, 1, 4, 2, 5, 3).reshape(x.shape)
