"""ResizeMix against its authors' procedure with ``F.interpolate`` as the resizer.

They shrink the whole batch with ``F.interpolate(x, scale_factor=tau)`` (tau ~ U(scope), nearest, so the source index is
``floor(i / tau)`` and not ``floor(i * H / h)``), paste each small partner at a centre that is uniform over the image
and then shifted inside, and weigh by the area that the paste covers.
"""

from collections import Counter
from fractions import Fraction
from math import floor

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from openmix.mixers import resizemix

Box = tuple[int, int, int, int]
FULL = (0.0, float("inf"))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tau_interval(patch: Tensor, height: int, width: int) -> tuple[float, float]:
    """The scale factors that explain a patch (3,h,w) of coordinates: by its size, and by the rows and columns taken."""
    low, high = 0.0, float("inf")
    for sources, size in ((patch[1, :, 0], height), (patch[2, 0, :], width)):
        low, high = max(low, len(sources) / size), min(high, (len(sources) + 1) / size)
        for i, source in enumerate(sources.tolist()):
            # floor(i / tau) == source
            low = max(low, i / (source + 1))
            high = min(high, i / source) if source else high
    return low, high


def assert_authors_patch(coordinates: Tensor, patch: Tensor, partner: int, bounds: tuple[float, float]) -> None:
    low, high = bounds
    assert low < high, "no scale factor explains this patch"
    small = F.interpolate(coordinates, scale_factor=(low + high) / 2)
    assert torch.equal(patch, small[partner])


@pytest.mark.parametrize("per_sample_box", [True, False])
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("shape", [(5, 24, 40), (4, 33, 17), (1, 16, 16)])
def test_patch_is_the_authors_small_image(make_coordinates, find_box, shape, per_sample, per_sample_box):
    batch, height, width = shape
    coordinates = make_coordinates(batch, height, width)
    labels = torch.arange(batch)
    for seed in range(8):
        mixed = resizemix(
            coordinates, labels, generator=seeded(seed), per_sample=per_sample, per_sample_box=per_sample_box
        )
        partner = mixed.sources[:, 1].tolist()
        assert sorted(partner) == list(range(batch))
        shared = FULL
        for b in range(batch):
            box = find_box(mixed.masks[b, 0])
            assert box is not None
            y0, y1, x0, x1 = box
            outside = mixed.masks[b, 0].bool()
            assert torch.equal(mixed.images[b, :, outside], coordinates[b, :, outside])
            patch = mixed.images[b, :, y0:y1, x0:x1]
            bounds = tau_interval(patch, height, width)
            assert_authors_patch(coordinates, patch, partner[b], bounds)
            assert bounds[1] >= 0.1 and bounds[0] <= 0.8
            shared = max(shared[0], bounds[0]), min(shared[1], bounds[1])
            kept = 1 - patch[0].numel() / (height * width)
            assert float(mixed.target.weights[b, 0]) == pytest.approx(kept, abs=1e-7)
            assert float(mixed.target.weights[b, 1]) == pytest.approx(1 - kept, abs=1e-7)
        if not per_sample:
            assert shared[0] < shared[1], "one tau a batch"
            if not per_sample_box:
                assert len({find_box(m) for m in mixed.masks[:, 0]}) == 1


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (97, 64)])
@pytest.mark.parametrize("tau", [0.1, 0.25, 0.3, 1 / 3, 0.37, 0.45, 0.5, 0.6, 2 / 3, 0.7, 0.75, 0.8, 0.93, 1.0])
def test_known_scale_factor_bit_for_bit(make_batch, make_coordinates, find_box, size, tau):
    """With a scope of one value tau is known, so nothing is inferred: also where i / tau is a whole number."""
    for images in (make_coordinates(3, *size), make_batch(3, 3, *size)[0]):
        small = F.interpolate(images, scale_factor=tau)
        for per_sample in (False, True):
            mixed = resizemix(images, torch.arange(3), generator=seeded(1), scope=(tau, tau), per_sample=per_sample)
            for b in range(3):
                box = find_box(mixed.masks[b, 0])
                assert box is not None
                y0, y1, x0, x1 = box
                assert torch.equal(mixed.images[b, :, y0:y1, x0:x1], small[mixed.partner[b]])


@pytest.mark.parametrize(("side", "tau", "patch"), [(10, 0.7, 7), (30, 0.3, 9), (100, 0.29, 28), (30, 0.6, 18)])
def test_patch_side_is_rounded_down_as_interpolate_does(side, tau, patch):
    """0.7 * 10 is 7 in double precision and 6.9999998 in single."""
    assert F.interpolate(torch.zeros(1, 1, side, side), scale_factor=tau).shape[-1] == patch
    mixed = resizemix(torch.zeros(2, 1, side, side), torch.arange(2), generator=seeded(0), scope=(tau, tau))
    assert mixed.masks[:, 1].sum((1, 2)).tolist() == [patch**2] * 2


@pytest.mark.parametrize("per_sample", [False, True])
def test_tau_is_uniform_over_the_scope(per_sample):
    height, scope = 64, (0.1, 0.8)
    if per_sample:
        drawn = resizemix(
            torch.zeros(3000, 1, height, 8),
            torch.zeros(3000, dtype=torch.int64),
            generator=seeded(31),
            per_sample=True,
        ).masks[:, 1]
    else:
        generator = seeded(32)
        images, labels = torch.zeros(1, 1, height, 16), torch.zeros(1, dtype=torch.int64)
        drawn = torch.cat([resizemix(images, labels, generator=generator).masks[:, 1] for _ in range(1500)])
    # A patch that is 0 wide shows no rows; 8 * 0.1 < 1, so such taus are left out of the per-sample count.
    rows = drawn.amax(2).sum(1).int().tolist()
    lowest = 8 if per_sample else 6
    counts = Counter(h for h in rows if h > lowest)
    assert max(counts) == 51
    exact = [max(0.0, min(scope[1], (h + 1) / height) - h / height) for h in range(lowest + 1, 52)]
    observed = [counts[h] for h in range(lowest + 1, 52)]
    total = sum(observed)
    assert stats.chisquare(observed, [total * e / sum(exact) for e in exact]).pvalue > 1e-4
    share = sum(exact) / (scope[1] - scope[0])
    assert total == pytest.approx(len(rows) * share, abs=4 * (len(rows) * share * (1 - share)) ** 0.5 + 1)


def test_narrower_scope_bounds_the_patch():
    mixed = resizemix(
        torch.zeros(500, 1, 50, 50),
        torch.zeros(500, dtype=torch.int64),
        generator=seeded(33),
        scope=(0.4, 0.5),
        per_sample=True,
    )
    sides = mixed.masks[:, 1].sum((1, 2)).sqrt()
    assert sorted(set(sides.tolist())) == [20, 21, 22, 23, 24]


@pytest.mark.parametrize(("alpha", "scope"), [(1.0, (0.1, 0.8)), (0.2, (0.1, 0.8)), (2.0, (0.3, 0.6))])
def test_use_alpha_draws_from_beta_and_falls_back_to_the_scope(alpha, scope):
    """tau ~ Beta(alpha, alpha), drawn again from U(scope) where it fell outside."""
    side, n = 40, 3000
    mixed = resizemix(
        torch.zeros(n, 1, side, side),
        torch.zeros(n, dtype=torch.int64),
        generator=seeded(34),
        scope=scope,
        use_alpha=True,
        alpha=alpha,
        per_sample=True,
    )
    counts = Counter(mixed.masks[:, 1].sum((1, 2)).sqrt().int().tolist())
    inside = stats.beta.cdf(scope[1], alpha, alpha) - stats.beta.cdf(scope[0], alpha, alpha)

    def chance(low: float, high: float) -> float:
        low, high = max(low, scope[0]), min(high, scope[1])
        if high <= low + 1e-9:
            return 0.0
        direct = stats.beta.cdf(high, alpha, alpha) - stats.beta.cdf(low, alpha, alpha)
        return float(direct + (1 - inside) * (high - low) / (scope[1] - scope[0]))

    exact = {h: chance(h / side, (h + 1) / side) for h in range(side + 1)}
    assert sum(exact.values()) == pytest.approx(1)
    assert all(exact[h] > 0 for h in counts)
    sides = [h for h in exact if exact[h] > 0]
    assert stats.chisquare([counts[h] for h in sides], [n * exact[h] for h in sides]).pvalue > 1e-4


def placed(n: int, height: int, width: int, **hyper) -> tuple[list[int], list[int]]:
    mixed = resizemix(
        torch.zeros(n, 1, height, width), torch.zeros(n, dtype=torch.int64), generator=seeded(35), **hyper
    )
    pasted = mixed.masks[:, 1]
    return pasted.amax(2).argmax(1).tolist(), pasted.amax(1).argmax(1).tolist()


@pytest.mark.parametrize(("height", "width", "tau"), [(32, 32, 0.5), (32, 20, 0.8), (15, 22, 0.4)])
def test_placement_is_a_uniform_centre_shifted_inside(height, width, tau):
    n = 6000
    tops, lefts = placed(n, height, width, scope=(tau, tau))
    for starts, size in ((tops, height), (lefts, width)):
        side = floor(size * tau)
        exact = Counter(min(max(c - side // 2, 0), size - side) for c in range(size))
        observed = Counter(starts)
        assert set(observed) == set(exact)
        assert stats.chisquare([observed[s] for s in exact], [n * k / size for k in exact.values()]).pvalue > 1e-4
    # Rows and columns are drawn apart.
    kinds = Counter((y == 0, x == 0) for y, x in zip(tops, lefts, strict=True))
    table = [[kinds[a, b] for b in (True, False)] for a in (True, False)]
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_placement_prefers_the_edges_as_the_authors_do():
    """H = 32, h = 16: top 0 in 9 of 32 draws, top 16 in 8, every other in 1."""
    n = 8000
    tops, _ = placed(n, 32, 32, scope=(0.5, 0.5))
    observed = Counter(tops)
    for top, share in {0: Fraction(9, 32), 16: Fraction(8, 32), **{t: Fraction(1, 32) for t in range(1, 16)}}.items():
        p = float(share)
        assert observed[top] / n == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5)


def test_partner_is_a_uniform_permutation():
    generator = seeded(36)
    images, labels = torch.zeros(3, 1, 10, 10), torch.zeros(3, dtype=torch.int64)
    counts = Counter(tuple(resizemix(images, labels, generator=generator).partner.tolist()) for _ in range(1500))
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_input_too_small_for_a_patch(find_box):
    """0.1 of 6 pixels is no pixel; at most one is pasted, and the label knows."""
    images = torch.rand(3, 1, 6, 6, generator=seeded(0))
    mixed = resizemix(images, torch.arange(3), generator=seeded(1), scope=(0.1, 0.1))
    for b in range(3):
        y0, y1, x0, x1 = find_box(mixed.masks[b, 0]) or (0, 0, 0, 0)
        assert (y1 - y0, x1 - x0) in {(0, 0), (1, 1)}
        assert float(mixed.target.weights[b, 1]) == pytest.approx((y1 - y0) * (x1 - x0) / 36)
        kept = mixed.masks[b, 0] == 1
        assert torch.equal(mixed.images[b, :, kept], images[b, :, kept])


# Bilinear, for those who ask for it, and for heat maps beside nearest images.


@pytest.mark.parametrize("tau", [0.25, 0.37, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("per_sample", [False, True])
def test_bilinear_apply_is_the_bilinear_small_image(make_batch, find_box, tau, per_sample):
    images, labels = make_batch(3, 3, 24, 40)
    small = F.interpolate(images, scale_factor=tau, mode="bilinear")
    mixed = resizemix(images, labels, generator=seeded(1), scope=(tau, tau), per_sample=per_sample)
    told = mixed.apply(images, interpolation="bilinear")
    for b in range(3):
        box = find_box(mixed.masks[b, 0])
        assert box is not None
        y0, y1, x0, x1 = box
        patch = told[b, :, y0:y1, x0:x1]
        torch.testing.assert_close(patch, small[mixed.partner[b]], rtol=0, atol=1e-5)
        kept = mixed.masks[b, 0] == 1
        assert torch.equal(told[b, :, kept], images[b, :, kept])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_bilinear_apply_on_half_precision_reads_the_same_places(dtype):
    """Coordinates in bfloat16 have 8 bits: they would be off by a pixel from column 128 on."""
    images = torch.rand(2, 1, 96, 224, generator=seeded(0)).to(dtype)
    mixed = resizemix(images, torch.arange(2), generator=seeded(1), scope=(0.7, 0.7))
    half = mixed.apply(images, interpolation="bilinear")
    full = mixed.apply(images.float(), interpolation="bilinear")
    assert half.dtype == dtype
    torch.testing.assert_close(half, full.to(dtype))


def test_bilinear_apply_refuses_class_numbers(make_batch):
    """An average of two classes is a third one."""
    images, labels = make_batch(3, 1, 32, 32)
    mixed = resizemix(images, labels, generator=seeded(0))
    with pytest.raises(TypeError, match="int64"):
        mixed.apply(images.long(), interpolation="bilinear")
