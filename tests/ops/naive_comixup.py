"""Co-Mixup for one group of images, from the paper and its authors' code restated as loops; the sub-solver is a guest.

Also the saliency of real images, for tests and the benchmark.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

REAL = Path(__file__).resolve().parents[3] / "shared/data/cifar10"
Solve = Callable[[np.ndarray, np.ndarray], np.ndarray]  # unary (cells, L), pairwise (L, L) -> labels (cells,)


def edges(cells: int) -> list[tuple[int, int]]:
    """The pairs of neighbouring cells of a square grid."""
    side = round(cells**0.5)
    grid = np.arange(cells).reshape(side, side)
    pairs = np.concatenate([np.stack([grid[:, :-1], grid[:, 1:]], 2), np.stack([grid[:-1], grid[1:]], 2)], axis=None)
    return [(a, b) for a, b in pairs.reshape(-1, 2).tolist()]


def energy(unary: np.ndarray, pairwise: np.ndarray, labels: np.ndarray) -> float:
    total = sum(float(unary[p, z]) for p, z in enumerate(labels))
    return total + sum(float(pairwise[labels[p], labels[q]]) for p, q in edges(len(unary)))


def brute_force(unary: np.ndarray, pairwise: np.ndarray) -> np.ndarray:
    """The best of all labelings."""
    cells, count = unary.shape
    every = np.array(list(itertools.product(range(count), repeat=cells)))
    cost = sum(unary[p, every[:, p]] for p in range(cells))
    cost = cost + sum(pairwise[every[:, p], every[:, q]] for p, q in edges(cells))
    return every[int(np.argmin(cost))]


def swap(unary: np.ndarray, pairwise: np.ndarray) -> np.ndarray:
    """The authors' solver: alpha-beta swap of the gco library, on costs in float32, as they call it."""
    import gco

    side, count = round(len(unary) ** 0.5), unary.shape[1]
    scale = float(pairwise.max())  # costs of 1 at most, and the weight of an edge
    grid = np.ascontiguousarray(unary.reshape(side, side, count), dtype=np.float32)
    down, right = (np.full(shape, scale, np.float32) for shape in ((side - 1, side), (side, side - 1)))
    return gco.cut_grid_graph(grid, (pairwise / scale).astype(np.float32), down, right, algorithm="swap")


def costs(saliency: np.ndarray, prior: np.ndarray, blocks: int, eta: float) -> np.ndarray:
    """c (n, cells), for maps (n, s, s) whose side the blocks divide."""
    n, step = len(saliency), saliency.shape[1] // blocks
    result = np.zeros((n, blocks * blocks))
    for k in range(n):
        for p in range(blocks * blocks):
            i, j = divmod(p, blocks)
            cell = saliency[k, i * step : (i + 1) * step, j * step : (j + 1) * step]
            result[k, p] = -cell.sum() / saliency[k].sum() - eta / blocks**2 * np.log(prior[k] + 1e-8)
    return result


def repulsion(saliency: np.ndarray, omega: float) -> np.ndarray:
    """A (n, n), for maps of CIFAR's size: peaks of the mean over 8 x 8 pixels, at every pixel."""
    n, places = len(saliency), saliency.shape[1] - 7
    peaks = []
    for s in saliency:
        means = [[s[i : i + 8, j : j + 8].mean() for j in range(places)] for i in range(places)]
        peaks.append(divmod(int(np.argmax(means)), places))
    distance = np.array([[abs(a[0] - b[0]) + abs(a[1] - b[1]) for b in peaks] for a in peaks], dtype=float)
    return (1 - omega) * np.eye(n) + omega * distance / distance.sum() * n


def label_group(
    cost: np.ndarray,
    compat: np.ndarray,
    initial: np.ndarray,
    solve: Solve,
    *,
    beta: float,
    gamma: float,
    tau: float,
    sweeps: int,
) -> np.ndarray:
    """Shares (outputs, cells, inputs) of one group; beta and gamma have been divided by the number of cells."""
    n, cells = cost.shape
    shares = np.zeros((n, cells, n))
    for j in range(n):
        for p in range(cells):
            shares[j, p, initial[j, p]] = 1
    apart, before = np.zeros((n, n)), objective(cost, shares, beta, gamma)
    for sweep in range(sweeps):
        for j in range(n):
            own = shares[j].sum(0)
            others = shares.sum((0, 1)) - own
            above = compat @ others > tau * cells
            penalty = 2 * gamma * ((above * compat) @ others)  # numpy's way to mask the columns
            pairs = blends(own) if sweep else []
            unary, pairwise = subproblem(cost + (penalty + gamma * apart[j])[:, None], pairs)
            labels = solve(unary, beta * pairwise)
            shares[j] = 0
            for p, label in enumerate(labels):
                for k in pairs[label - n] if label >= n else (label, label):
                    shares[j, p, k] += 0.5
        if sweep == sweeps - 2:
            apart = collisions(shares)
        after = objective(cost, shares, beta, gamma)
        if abs(before - after) / abs(after) < 1e-6:
            break
        before = after
    return shares


def blends(own: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of inputs that an output may blend."""
    used = int((own > 0).sum())
    if used < 2:
        return []
    most = sorted(range(len(own)), key=lambda k: (-own[k], k))
    return [(most[0], most[1])] if used == 2 else list(itertools.combinations(most[:3], 2))


def subproblem(cost: np.ndarray, pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    n = len(cost)
    unary = np.stack([*cost, *((cost[a] + cost[b]) / 2 - 5e-4 for a, b in pairs)], axis=1)
    pairwise = 1 - np.eye(n + len(pairs))
    for i, (a, b) in enumerate(pairs):
        for k in (a, b):
            pairwise[n + i, k] = pairwise[k, n + i] = 0.25
    return unary, pairwise


def collisions(shares: np.ndarray) -> np.ndarray:
    n, sets = len(shares), [tuple(np.flatnonzero(s.sum(0))) for s in shares]
    marked = np.zeros((n, n))
    for a, b in itertools.combinations(range(n), 2):
        if sets[a] == sets[b] and len(sets[a]) > 1:
            marked[a, sets[a][0]] = marked[b, sets[b][1]] = 1
    return marked


def objective(cost: np.ndarray, shares: np.ndarray, beta: float, gamma: float) -> float:
    total = float((cost.T[None] * shares).sum())
    total += beta / 2 * sum(float(((shares[:, p] - shares[:, q]) ** 2).sum()) for p, q in edges(cost.shape[1]))
    counts = shares.sum(1)
    for a, b in itertools.permutations(range(len(shares)), 2):
        total += gamma * float(counts[a] @ counts[b])
    return total


def real_saliency(count: int) -> Tensor | None:
    """RMS input gradients (count, 32, 32) of CIFAR-10 images, by a small network trained on them for a few steps."""
    if not REAL.is_dir():
        return None
    rows = -(-count // 100)
    mosaic = np.asarray(Image.open(REAL / "test.webp").convert("RGB"))[: 32 * rows, :3200]
    pixels = mosaic.reshape(rows, 32, 100, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)[:count]
    images = torch.from_numpy(pixels.copy()).float() / 128 - 1
    labels = torch.from_numpy(np.load(REAL / "test_labels.npy")[:count]).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 10),
        )  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()
    x = images.requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(net(x), labels, reduction="sum"), x)
    return gradient.square().mean(1).sqrt()
