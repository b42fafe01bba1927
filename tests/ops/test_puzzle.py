"""Puzzle Mix's energy against its definition (Kim et al., 2020), block by block, and against closed forms."""

import functools
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from openmix.ops.puzzle import border_contrasts, label_prior, puzzle_energy, saliency_shares

CIFAR = Path(__file__).resolve().parents[3] / "shared/data/cifar10/test.webp"
RATES: dict[str, Any] = {"beta": 1.2, "gamma": 0.5, "eta": 0.2}


def drawn(batch: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, height, width, generator=g)
    return images, torch.rand(batch, height, width, generator=g).square(), torch.randperm(batch, generator=g)


def square_mean(image: Tensor, y: int, x: int, tall: int, wide: int) -> list[float]:
    """The mean of each channel over a rectangle, summed in Python."""
    return [
        sum(float(channel[i][j]) for i in range(y, y + tall) for j in range(x, x + wide)) / (tall * wide)
        for channel in image
    ]


def contrast(first: Tensor, second: Tensor, p: tuple[int, int], q: tuple[int, int], n: int, neigh: int) -> float:
    """How unlike block p of one image and its right or lower neighbour q of another are at their border."""
    height, width = first.shape[1] // n, first.shape[2] // n
    tall, wide = (max(d for d in range(1, neigh + 1) if side % d == 0) for side in (height, width))
    found = []
    if q[0] > p[0]:
        for x in range(p[1] * width, (p[1] + 1) * width, wide):
            a = square_mean(first, q[0] * height - tall, x, tall, wide)
            found.append((a, square_mean(second, q[0] * height, x, tall, wide)))
    else:
        for y in range(p[0] * height, (p[0] + 1) * height, tall):
            a = square_mean(first, y, q[1] * width - wide, tall, wide)
            found.append((a, square_mean(second, y, q[1] * width, tall, wide)))
    differences = [abs(a - b) for pair in found for a, b in zip(*pair, strict=True)]
    return sum(differences) / len(differences)


def neighbours(n: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    cells = list(itertools.product(range(n), range(n)))
    return [((i, j), q) for i, j in cells for q in ((i + 1, j), (i, j + 1)) if max(q) < n]


def energy_by_definition(z, own, partner, u, u_partner, lam, n, n_labels, neigh) -> float:
    """The energy of shares z, a dict from cell to k / (L - 1); products are written as in the authors' code."""
    rate = RATES["beta"] / (16 * n)
    total = 0.0
    for (i, j), share in z.items():
        trials, hits = n_labels - 1, round(share * (n_labels - 1))
        chance = math.comb(trials, hits) * lam**hits * (1 - lam) ** (trials - hits)
        total += share * float(u_partner[i, j]) + (1 - share) * float(u[i, j])
        total += RATES["eta"] / n**2 * -math.log(chance + 1e-8)
    show = {1: own, 0: partner}
    for p, q in neighbours(n):
        total += rate * (z[p] - z[q]) ** 2
        both = (z[p] + z[q] - (z[p] - z[q]) ** 2) / 2  # z_p z_q where shares are 0 or 1
        form = {(1, 1): both, (1, 0): z[p] - both, (0, 1): z[q] - both, (0, 0): 1 - z[p] - z[q] + both}
        for (a, b), weight in form.items():
            total += rate * RATES["gamma"] * weight * contrast(show[a], show[b], p, q, n, neigh)
    return total


@pytest.mark.parametrize(
    ("n", "n_labels", "height", "width", "neigh"),
    [(2, 2, 8, 12, 4), (2, 3, 12, 8, 3), (3, 3, 12, 12, 4), (4, 4, 8, 24, 4), (2, 3, 2, 2, 4), (2, 2, 28, 28, 4)],
)
def test_the_energy_is_the_papers_up_to_a_constant(n, n_labels, height, width, neigh):
    images, saliency, partner = drawn(3, height, width)
    lam = torch.tensor([0.2, 0.5, 0.97])
    shares = saliency_shares(saliency, n, n)
    energy = puzzle_energy(shares, images, partner, lam[:, None, None], n_labels=n_labels, neigh=neigh, **RATES)
    g = torch.Generator().manual_seed(1)
    labelings = torch.randint(n_labels, (4, 3, n, n), generator=g)
    found = torch.stack([energy.of(labels) for labels in labelings]).double()
    for b, other in enumerate(partner.tolist()):
        wanted = [
            energy_by_definition(
                {(i, j): int(labels[b, i, j]) / (n_labels - 1) for i in range(n) for j in range(n)},
                images[b], images[other], shares[b], shares[other], float(lam[b]), n, n_labels, neigh,
            )
            for labels in labelings
        ]  # fmt: skip
        differences = (found[:, b] - torch.tensor(wanted, dtype=torch.float64)).tolist()
        assert differences == pytest.approx([differences[0]] * 4, abs=2e-6)


def test_contrasts_are_named_by_the_image_that_is_shown_first():
    """An own image of zeros beside a partner of ones: alike are blocks of one image."""
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    images[1, :, :, 4:] = 0.25
    down, right = border_contrasts(images, torch.tensor([1, 0]), 2, 4)
    assert right[:, :, 0, 0, 0].tolist() == [[0.75, 1.0], [0.25, 0.0]]
    assert right[:, :, 1, 0, 0].tolist() == [[0.0, 0.25], [1.0, 0.75]]
    assert down[:, :, 0, 0].tolist() == [[[0.0, 0.0], [1.0, 0.25]], [[1.0, 0.25], [0.0, 0.0]]]


def test_the_pixel_range_takes_the_normalisation_back():
    images, saliency, partner = drawn(4, 16, 16)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    shifted = (images - mean[:, None, None]) / std[:, None, None]
    pixel_range = torch.stack([-mean / std, (1 - mean) / std])
    lam = torch.tensor([[[0.5]]])
    common = {"n_labels": 3, "neigh": 4, **RATES}
    shares = saliency_shares(saliency, 4, 4)
    plain = puzzle_energy(shares, images, partner, lam, **common)
    taken_back = puzzle_energy(shares, shifted, partner, lam, pixel_range=pixel_range, **common)
    for name in ("unary", "right", "down"):
        torch.testing.assert_close(getattr(taken_back, name), getattr(plain, name), rtol=0, atol=1e-6)


def test_memory_format_and_half_precision_of_the_images_are_taken():
    images, saliency, partner = drawn(4, 16, 24)
    lam, common = torch.tensor([[[0.5]]]), {"n_labels": 3, "neigh": 4, **RATES}
    shares = saliency_shares(saliency, 4, 4)
    plain = puzzle_energy(shares, images, partner, lam, **common)
    last = puzzle_energy(shares, images.contiguous(memory_format=torch.channels_last), partner, lam, **common)
    half = puzzle_energy(shares, images.bfloat16(), partner, lam, **common)
    assert half.unary.dtype == torch.float32
    torch.testing.assert_close(last.right, plain.right)
    torch.testing.assert_close(half.unary, plain.unary, rtol=0, atol=1e-3)


@functools.cache
def real_images() -> Tensor:
    """The first 8 x 8 of CIFAR-10's test images, from a mosaic of them."""
    from PIL import Image

    corner = Image.open(CIFAR).convert("RGB").crop((0, 0, 256, 256))
    tiles = torch.frombuffer(bytearray(corner.tobytes()), dtype=torch.uint8).view(8, 32, 8, 32, 3)
    return tiles.permute(0, 2, 4, 1, 3).reshape(64, 3, 32, 32).float() / 255


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_weights_stay_above_what_makes_the_energy_solvable(n, gamma):
    """Contrasts are at most 1, so at least b (1 - gamma) is left of a weight b; on real photos, or on noise."""
    images, saliency, partner = drawn(64, 32, 32)
    images = real_images() if CIFAR.is_file() else images
    shares = saliency_shares(saliency, n, n)
    energy = puzzle_energy(
        shares, images, partner, torch.tensor([[[0.3]]]), n_labels=3, beta=1.2, gamma=gamma, eta=0.2, neigh=4
    )
    rate = 1.2 / (16 * n)
    for weights in (energy.right, energy.down):
        assert float(weights.min()) >= rate * (1 - gamma) - 1e-7
        assert float(weights.max()) <= rate * (1 + gamma) + 1e-7


def test_where_blocks_differ_by_a_line_the_image_is_shrunk_first():
    images, saliency, partner = drawn(3, 17, 23)
    shrunk = torch.nn.functional.interpolate(images, size=(16, 20), mode="area")
    lam, common = torch.tensor([[[0.5]]]), {"n_labels": 3, "neigh": 4, **RATES}
    shares = saliency_shares(saliency, 4, 4)
    uneven = puzzle_energy(shares, images, partner, lam, **common)
    torch.testing.assert_close(uneven.right, puzzle_energy(shares, shrunk, partner, lam, **common).right)


# The prior


def test_the_prior_is_binomial():
    lam = torch.tensor([0.1, 0.5, 0.8])
    for row, p in zip(label_prior(lam, 2), lam.tolist(), strict=True):
        assert row.tolist() == pytest.approx([-math.log(1 - p), -math.log(p)], rel=1e-5)
    for row, p in zip(label_prior(lam, 3), lam.tolist(), strict=True):
        wanted = [-2 * math.log(1 - p), -math.log(2 * p * (1 - p)), -2 * math.log(p)]
        assert row.tolist() == pytest.approx(wanted, rel=1e-5)
    for row, p in zip(label_prior(lam, 4), lam.tolist(), strict=True):
        wanted = [(1 - p) ** 3, 3 * p * (1 - p) ** 2, 3 * p**2 * (1 - p), p**3]
        assert (-row).exp().tolist() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_what_is_impossible_has_the_cost_of_the_floor(lam):
    prior = label_prior(torch.tensor(lam), 3)
    assert sorted(prior.tolist()) == pytest.approx([0, -math.log(1e-8), -math.log(1e-8)], abs=1e-5)
    assert int(prior.argmin()) == (2 if lam else 0), "label 2 is the own image alone"


# Saliency


@pytest.mark.parametrize("scale", [1e-38, 1e-12, 1.0, 1e30])
def test_shares_sum_to_one_whatever_the_scale(scale):
    g = torch.Generator().manual_seed(0)
    saliency = torch.rand(3, 12, 8, generator=g)
    shares = saliency_shares(saliency * scale, 4, 4)
    torch.testing.assert_close(shares.sum((1, 2)), torch.ones(3))
    wanted = [
        [float(saliency[0, 3 * i : 3 * i + 3, 2 * j : 2 * j + 2].sum() / saliency[0].sum()) for j in range(4)]
        for i in range(4)
    ]
    torch.testing.assert_close(shares[0], torch.tensor(wanted), rtol=1e-4 if scale > 1e-30 else 1e-2, atol=1e-6)


def test_a_map_without_content_counts_as_uniform():
    maps = torch.ones(4, 8, 8)
    maps[0] = 0
    maps[1, 3, 3] = torch.nan
    maps[2, 3, 3] = torch.inf
    assert saliency_shares(maps, 4, 4).tolist() == torch.full((4, 4, 4), 1 / 16).tolist()


def test_maps_of_any_resolution_are_taken():
    coarse = torch.tensor([[[1.0, 3.0], [0.0, 4.0]]])
    assert (
        saliency_shares(coarse, 4, 4).tolist() == (coarse / 32).repeat_interleave(2, 1).repeat_interleave(2, 2).tolist()
    )
    odd = saliency_shares(torch.rand(2, 7, 9), 4, 4)
    torch.testing.assert_close(odd.sum((1, 2)), torch.ones(2))


def test_no_gradient_flows_into_the_energy():
    images, saliency, partner = drawn(2, 8, 8)
    images.requires_grad_()
    shares = saliency_shares(saliency.requires_grad_(), 2, 2)
    energy = puzzle_energy(shares, images, partner, torch.tensor([[[0.5]]]), n_labels=3, neigh=4, **RATES)
    assert not (energy.unary.requires_grad or energy.right.requires_grad)
