"""Grid energies for tests and benchmarks, and what gco and brute force make of them."""

import importlib.util
import itertools
import json
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from openmix.ops.grid_energy import GridEnergy
from openmix.ops.puzzle import puzzle_energy, saliency_shares

CIFAR = Path(__file__).resolve().parents[3] / "shared/data/cifar10/unpack.py"
# the authors' settings for CIFAR and Tiny ImageNet
SETTINGS = {"beta": 1.2, "gamma": 0.5, "eta": 0.2, "neigh": 4}


def any_energy(count, n, n_labels, seed=0, strength=0.3):
    """Unaries in [0, 1] without any order, weights in [0, strength]."""
    g = torch.Generator().manual_seed(seed)
    unary = torch.rand(count, n, n, n_labels, generator=g)
    right, down = torch.rand(count, n, n - 1, generator=g), torch.rand(count, n - 1, n, generator=g)
    return GridEnergy(unary, strength * right, strength * down)


def random_puzzle(count, n, n_labels, seed=0):
    """Puzzle Mix's energies of noise: colours uniform, saliency the square of a normal number, lam uniform."""
    g = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 32, 32, generator=g)
    return _puzzle(images, torch.randn(count, 32, 32, generator=g).square(), n, n_labels, g)


def real_puzzle(count, n, n_labels, seed=0):
    """Puzzle Mix's energies of CIFAR-10 images and a trained network's gradients, lam uniform."""
    g = torch.Generator().manual_seed(seed)
    images, saliency = _images_and_gradients()
    chosen = torch.randint(len(images), (count,), generator=g)
    return _puzzle(images[chosen], saliency[chosen], n, n_labels, g)


def brute_force(energy):
    """The least energy of each grid among all labelings: float32 (B,)."""
    n = energy.unary.shape[1]
    every = torch.tensor(list(itertools.product(range(energy.n_labels), repeat=n * n))).view(-1, n, n)
    ones = (energy.take(slice(b, b + 1)) for b in range(len(energy.unary)))
    return torch.stack([one.take(torch.zeros(len(every), dtype=torch.long)).of(every).min() for one in ones])


def gco_inputs(energy):
    """Each grid as gco takes it, in whole numbers; the unaries are finer than the authors' by (L - 1) squared."""
    n, trials = energy.unary.shape[1], energy.n_labels - 1
    label = torch.arange(energy.n_labels, dtype=torch.int32)
    pairwise = (label[:, None] - label).square().numpy()
    scale = 1000 * n * n
    unary = (energy.unary * (scale * trials**2)).round().int().numpy()
    right, down = ((edges * scale).round().int().numpy() for edges in (energy.right, energy.down))
    return [(unary[b], pairwise, down[b], right[b]) for b in range(len(unary))]


def gco_swap(inputs):
    """The labelings that gco's alpha-beta swaps end at: int64 (B, n, n)."""
    import gco

    found = [torch.from_numpy(gco.cut_grid_graph(*one, n_iter=-1, algorithm="swap")) for one in inputs]
    n = inputs[0][0].shape[0]
    return torch.stack(found).long().view(-1, n, n)


def _puzzle(images, saliency, n, n_labels, g):
    partner = torch.randperm(len(images), generator=g)
    lam = torch.rand(len(images), 1, 1, generator=g)
    return puzzle_energy(saliency_shares(saliency, n, n), images, partner, lam, n_labels=n_labels, **SETTINGS)


@cache
def _images_and_gradients():
    """4,000 of CIFAR-10's test images, and the RMS gradients of a small network, trained for 60 steps on the others."""
    spec = importlib.util.spec_from_file_location("unpack_real_cifar10", CIFAR)
    assert spec and spec.loader
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    shards = json.loads(CIFAR.with_name("index.json").read_text())["shards"]
    digest = next(shard["pixels_sha256"] for shard in shards if shard["name"] == "test")
    pixels, labels = unpack.read_shard("test", digest)
    images = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(labels).long()
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(60):
        batch = torch.randint(4000, 10000, (128,))
        loss = F.cross_entropy(net(4 * images[batch] - 2), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, labels = images[:4000], labels[:4000]
    gradients = []
    for x, y in zip(images.split(500), labels.split(500), strict=True):
        x = x.clone().requires_grad_()
        gradients += torch.autograd.grad(F.cross_entropy(net(4 * x - 2), y, reduction="sum"), x)
    return images, torch.cat(gradients).square().mean(1).sqrt()
