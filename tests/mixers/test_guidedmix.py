"""GuidedMixup against the paper (Kang & Kim, 2023) and its authors' code, restated in NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

import openmix
from openmix.mixers import guidedmix
from openmix.mixers.guidedmix import greedy_cycle


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bumps(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Maps with a bump each in another place, as gradients have them: of any scale."""
    rng = np.random.default_rng(seed)
    maps = rng.exponential(size=(batch, height, width)) * 0.05
    for m in maps:
        y, x = rng.integers(height), rng.integers(width)
        m[max(y - 3, 0) : y + 3, max(x - 4, 0) : x + 4] += 1 + rng.random()
        m *= 10.0 ** rng.integers(-6, 3)
    return torch.from_numpy(maps).float()


def blurred_shares(saliency: np.ndarray) -> np.ndarray:
    """A 7x7 Gaussian of sigma 3 with mirrored borders, then a sum of 1: in double precision."""
    taps = np.exp(-0.5 * (np.arange(-3, 4) / 3) ** 2)
    maps = saliency.astype(np.float64)
    for axis in (1, 2):
        maps = ndimage.correlate1d(maps, taps / taps.sum(), axis, mode="mirror")
    return maps / maps.sum((1, 2), keepdims=True)


def one_cycle(distance: np.ndarray) -> list[int]:
    """The farthest two first, then always the farthest that was not yet visited; the last leads back to the first."""
    n = len(distance)
    if n == 1:
        return [0]
    start = max(((a, b) for a in range(n) for b in range(n) if a != b), key=lambda ab: distance[ab])
    path = list(start)
    while len(path) < n:
        path.append(max((c for c in range(n) if c not in path), key=lambda c: distance[path[-1], c]))
    after = [0] * n
    for here, there in zip(path, [*path[1:], path[0]], strict=True):
        after[here] = there
    return after


@pytest.mark.parametrize("shape", [(6, 3, 12, 17), (5, 1, 20, 8), (2, 3, 9, 9), (1, 2, 8, 8), (16, 3, 32, 32)], ids=str)
@pytest.mark.parametrize("pairing", ["greedy", "random"])
def test_every_pixel_is_shared_by_saliency(make_batch, shape, pairing):
    images, labels = make_batch(*shape)
    saliency = bumps(shape[0], *shape[2:], seed=shape[0])
    mixed = guidedmix(images, labels, saliency=saliency, generator=seeded(0), pairing=pairing)
    shares, partner = blurred_shares(saliency.numpy()), mixed.partner.tolist()
    if pairing == "greedy":
        flat = shares.reshape(len(shares), -1)
        assert partner == one_cycle(np.linalg.norm(flat[:, None] - flat[None], axis=2))
    assert sorted(partner) == list(range(shape[0]))
    own = shares / (shares + shares[partner])
    np.testing.assert_allclose(mixed.masks[:, 0].numpy(), own, rtol=1e-4, atol=1e-6)
    x = images.double().numpy()
    np.testing.assert_allclose(mixed.images.numpy(), own[:, None] * x + (1 - own[:, None]) * x[partner], atol=1e-5)
    np.testing.assert_allclose(mixed.target.weights[:, 0].numpy(), own.mean((1, 2)), atol=1e-5)
    torch.testing.assert_close(mixed.target.weights.sum(1), torch.ones(shape[0]))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 40])
def test_the_cycle_is_greedy_and_goes_through_all(n):
    for seed in range(20):
        points = np.random.default_rng(seed).normal(size=(n, 3))
        distance = np.linalg.norm(points[:, None] - points[None], axis=2)
        given = torch.from_numpy(distance)
        kept = given.clone()
        after = greedy_cycle(given).tolist()
        assert torch.equal(given, kept)
        assert after == one_cycle(distance)
        visited, here = [], 0
        for _ in range(n):
            visited.append(here)
            here = after[here]
        assert here == 0 and sorted(visited) == list(range(n))


def test_the_cycle_where_all_are_alike():
    for n in (2, 3, 6):
        after = greedy_cycle(torch.zeros(n, n)).tolist()
        assert sorted(after) == list(range(n)) and all(i != j for i, j in enumerate(after))


def test_partners_are_farther_apart_than_by_chance(make_batch):
    images, labels = make_batch(24, 3, 16, 16)
    saliency = bumps(24, 16, 16)
    shares = torch.from_numpy(blurred_shares(saliency.numpy()))

    def apart(**hyper) -> float:
        partner = guidedmix(images, labels, saliency=saliency, generator=seeded(1), **hyper).partner
        return float((shares - shares[partner]).flatten(1).norm(dim=1).mean())

    assert apart() > 1.1 * apart(pairing="random")


def test_the_port_pairs_at_random(make_batch):
    images, labels = make_batch(6)
    saliency = bumps(6, 24, 32)
    port = openmix.build_mixer("guidedmix", preset="openmixup")
    partners = {tuple(port(images, labels, saliency=saliency, generator=seeded(s)).partner.tolist()) for s in range(20)}
    assert len(partners) > 15
    greedy = {
        tuple(guidedmix(images, labels, saliency=saliency, generator=seeded(s)).partner.tolist()) for s in range(5)
    }
    assert len(greedy) == 1


@pytest.mark.parametrize("pairing", ["greedy", "random"])
def test_maps_of_zeros_are_uniform(make_batch, pairing):
    images, labels = make_batch(4, 3, 16, 16)
    saliency = bumps(4, 16, 16)
    none = guidedmix(images, labels, saliency=torch.zeros(4, 16, 16), generator=seeded(0), pairing=pairing)
    torch.testing.assert_close(none.masks, torch.full((4, 2, 16, 16), 0.5))
    assert sorted(none.partner.tolist()) == list(range(4))
    one_flat = saliency.clone()
    one_flat[2] = 0
    as_ones = saliency.clone()
    as_ones[2] = 7
    a, b = (guidedmix(images, labels, saliency=s, generator=seeded(0), pairing=pairing) for s in (one_flat, as_ones))
    torch.testing.assert_close(a.images, b.images)


def test_a_pixel_that_is_salient_in_neither_is_shared_equally():
    saliency = torch.zeros(2, 8, 32)
    saliency[0, :, :3] = 1
    saliency[1, :, -3:] = 1
    mixed = guidedmix(torch.rand(2, 3, 8, 32), torch.arange(2), saliency=saliency)
    own = mixed.masks[0, 0]
    # the blur reaches three pixels further than the three
    assert torch.equal(own[:, :6], torch.ones(8, 6)) and torch.equal(own[:, -6:], torch.zeros(8, 6))
    assert torch.equal(own[:, 6:-6], torch.full((8, 20), 0.5))


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 1e37])
def test_scale_does_not_matter(make_batch, scale):
    images, labels = make_batch(5, 3, 16, 16)
    saliency = bumps(5, 16, 16) / 200
    saliency = saliency / saliency.amax((1, 2), keepdim=True)
    a, b = (guidedmix(images, labels, saliency=s, generator=seeded(0)) for s in (saliency, saliency * scale))
    torch.testing.assert_close(a.images, b.images, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 24, 32), (5, 12, 16), (5, 1, 24, 32)], ids=str)
def test_a_map_of_another_shape_is_refused(make_batch, shape):
    images, labels = make_batch()
    with pytest.raises(ValueError, match=r"saliency must be floating point \(5, 24, 32\), one value a pixel"):
        guidedmix(images, labels, saliency=torch.rand(shape))


def test_an_unknown_pairing_is_named(make_batch):
    images, labels = make_batch()
    with pytest.raises(ValueError, match="pairing must be one of 'greedy', 'random'"):
        openmix.build_mixer("guidedmix", pairing="greedily")(images, labels, saliency=torch.rand(5, 24, 32))
