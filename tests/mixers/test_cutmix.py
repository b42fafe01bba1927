"""CutMix against the paper (Yun et al., 2019) and its authors' code (clovaai/CutMix-PyTorch), restated as loops."""

from collections import Counter

import pytest
import torch
from scipy import stats

import openmix
from openmix.mixers import cutmix

Box = tuple[int, int, int, int]


def half_sides(height: int, width: int) -> list[tuple[float, tuple[int, int]]]:
    """Half sides in the order of growing side ratio r in [0, 1], each with the r at which it begins."""
    breaks = sorted({i / height for i in range(height + 1)} | {j / width for j in range(width + 1)})
    # 1e-9 steps over the rounding of H * (i / H).
    return [(r, (int(height * r + 1e-9) // 2, int(width * r + 1e-9) // 2)) for r in breaks]


def clipped(centre: int, half: int, size: int) -> tuple[int, int]:
    return max(centre - half, 0), min(centre + half, size)


def box_probabilities(height: int, width: int, alpha: float) -> dict[Box | None, float]:
    """The exact distribution of the clipped box; None is the empty one."""
    table: Counter[Box | None] = Counter()
    steps = half_sides(height, width)
    # r = sqrt(1 - lam) reaches 1 where double precision rounds 1 - lam to it.
    lams = [*(1 - r**2 for r, _ in steps[:-1]), 2**-54, 0.0]
    for (_, (half_h, half_w)), high, low in zip(steps, lams, lams[1:], strict=False):
        chance = stats.beta.cdf(high, alpha, alpha) - stats.beta.cdf(low, alpha, alpha)
        for y in range(height):
            for x in range(width):
                y0, y1 = clipped(y, half_h, height)
                x0, x1 = clipped(x, half_w, width)
                box = (y0, y1, x0, x1) if y1 > y0 and x1 > x0 else None
                table[box] += chance / (height * width)
    return {box: chance for box, chance in table.items() if chance > 0}


def legal_boxes(height: int, width: int) -> set[Box | None]:
    return set(box_probabilities(height, width, 1.0))


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("shape", [(5, 3, 12, 20), (4, 1, 17, 9), (1, 2, 8, 8)])
def test_every_pixel_comes_from_own_or_partner_by_a_legal_box(make_batch, find_box, shape, per_sample):
    batch, channels, height, width = shape
    images, labels = make_batch(batch, channels, height, width)
    legal = legal_boxes(height, width)
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        mixed = cutmix(images, labels, generator=generator, per_sample=per_sample)
        assert mixed.masks.shape == (batch, 2, height, width)
        partner = mixed.sources[:, 1].tolist()
        assert sorted(partner) == list(range(batch))
        x, out = images.tolist(), mixed.images.tolist()
        for b in range(batch):
            box = find_box(mixed.masks[b, 0])
            assert box in legal
            y0, y1, x0, x1 = box or (0, 0, 0, 0)
            kept = 1 - (y1 - y0) * (x1 - x0) / (height * width)
            assert float(mixed.target.weights[b, 0]) == pytest.approx(kept, abs=1e-7)
            assert float(mixed.target.weights[b, 1]) == pytest.approx(1 - kept, abs=1e-7)
            for c in range(channels):
                for i in range(height):
                    for j in range(width):
                        source = partner[b] if y0 <= i < y1 and x0 <= j < x1 else b
                        assert out[b][c][i][j] == x[source][c][i][j]


def test_one_box_a_batch_or_one_an_image(make_batch, find_box):
    images, labels = make_batch(batch=8)
    whole = cutmix(images, labels, generator=torch.Generator().manual_seed(0))
    single = cutmix(images, labels, generator=torch.Generator().manual_seed(0), per_sample=True)
    assert len({find_box(m) for m in whole.masks[:, 0]}) == 1
    assert len({find_box(m) for m in single.masks[:, 0]}) > 4


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(6, 8), (7, 4)])
def test_boxes_per_sample_follow_the_exact_distribution(alpha, shape):
    """Side ratio, uniform centre, halving and clipping at once: chi-square over all boxes that can occur."""
    n, (height, width) = 40_000, shape
    mixed = cutmix(
        torch.zeros(n, 1, height, width),
        torch.zeros(n, dtype=torch.int64),
        generator=torch.Generator().manual_seed(21),
        alpha=alpha,
        per_sample=True,
    )
    assert_distributed(boxes_of(mixed.masks[:, 1]), box_probabilities(height, width, alpha))


def test_boxes_per_batch_follow_the_exact_distribution():
    generator = torch.Generator().manual_seed(22)
    images, labels = torch.zeros(1, 1, 4, 6), torch.zeros(1, dtype=torch.int64)
    masks = [cutmix(images, labels, generator=generator, alpha=0.5).masks[0, 1] for _ in range(2500)]
    assert_distributed(boxes_of(torch.stack(masks)), box_probabilities(4, 6, 0.5))


def boxes_of(pasted: torch.Tensor) -> Counter:
    """Count the boxes of many (N,H,W) masks that are 1 inside; first and last filled row and column."""
    rows, columns = pasted.amax(2), pasted.amax(1)

    def ends(filled: torch.Tensor) -> torch.Tensor:
        return torch.stack([filled.argmax(1), filled.shape[1] - filled.flip(1).argmax(1)], 1)

    boxes = torch.cat([ends(rows), ends(columns)], 1)
    filled = pasted.flatten(1).any(1)
    return Counter(tuple(b) if f else None for b, f in zip(boxes.tolist(), filled.tolist(), strict=True))


def assert_distributed(counts: Counter, exact: dict[Box | None, float]) -> None:
    n = sum(counts.values())
    assert set(counts) <= set(exact)
    common = [box for box, chance in exact.items() if n * chance >= 5]
    observed, wanted = [counts[box] for box in common], [n * exact[box] for box in common]
    if n - sum(wanted) >= 5:
        observed, wanted = [*observed, n - sum(observed)], [*wanted, n - sum(wanted)]
    scale = sum(observed) / sum(wanted)
    assert stats.chisquare(observed, [w * scale for w in wanted]).pvalue > 1e-4


def test_centre_is_uniform_over_the_rows_and_columns():
    """A box that no border cuts shows its centre; those that can be seen whole are equally frequent."""
    n, side = 40_000, 16
    mixed = cutmix(
        torch.zeros(n, 1, side, side),
        torch.zeros(n, dtype=torch.int64),
        generator=torch.Generator().manual_seed(23),
        per_sample=True,
    )
    for axes in ((0, 1), (2, 3)):
        centres: Counter[int] = Counter()
        for box, count in boxes_of(mixed.masks[:, 1]).items():
            # Half sides of 2: centres 3..13 can be told from clipped boxes on both sides.
            if box is not None and all(box[a] > 0 and box[a + 1] < side and box[a + 1] - box[a] == 4 for a in (0, 2)):
                centres[(box[axes[0]] + box[axes[1]]) // 2] += count
        assert sorted(centres) == list(range(3, 14))
        assert stats.chisquare(list(centres.values())).pvalue > 1e-4


def test_partner_is_a_uniform_permutation():
    generator = torch.Generator().manual_seed(25)
    images, labels = torch.zeros(3, 1, 4, 4), torch.zeros(3, dtype=torch.int64)
    counts = Counter(tuple(cutmix(images, labels, generator=generator).partner.tolist()) for _ in range(1500))
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("name", ["cutmix", "fmix"])
def test_openmixups_partners_are_drawn_again_where_one_is_the_image_itself(name):
    images, labels = torch.rand(6, 1, 8, 8), torch.arange(6)

    def own_partners(mixer) -> int:
        count = 0
        for seed in range(300):
            mixed = mixer(images, labels, generator=torch.Generator().manual_seed(seed))
            count += bool((mixed.partner == torch.arange(6)).any())
        return count

    # of all permutations of six, 265 of 720 leave none in its place
    assert abs(own_partners(openmix.build_mixer(name)) - 300 * (1 - 265 / 720)) < 40
    assert own_partners(openmix.build_mixer(name, preset="openmixup")) <= 10  # (455 / 720) ** 10 = 1 %
    assert own_partners(openmix.build_mixer(name, tries=60)) == 0
