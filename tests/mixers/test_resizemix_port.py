"""ResizeMix as OpenMixup ported it: one CutMix box a batch, whose side ratio is tau, the partner squeezed into it."""

from collections import Counter

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

import openmix
from openmix.mixers import resizemix

Box = tuple[int, int, int, int]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build_port(**hyper):
    return openmix.build_mixer("resizemix", preset="openmixup", **hyper)


def port(images: Tensor, labels: Tensor, seed: int, **hyper):
    return build_port(**hyper)(images, labels, generator=seeded(seed))


def clipped_boxes(height: int, width: int, scope: tuple[float, float]) -> set[Box]:
    """All boxes that a tau in the scope and a centre can give; those of no area are left out."""
    low, high = scope
    breaks = {i / height for i in range(height + 1)} | {j / width for j in range(width + 1)}
    taus = [low, *sorted(b for b in breaks if low < b < high), high]
    boxes = set()
    for tau in taus:
        half_h, half_w = int(height * tau + 1e-9) // 2, int(width * tau + 1e-9) // 2
        for y in range(height):
            for x in range(width):
                box = max(y - half_h, 0), min(y + half_h, height), max(x - half_w, 0), min(x + half_w, width)
                if box[1] > box[0] and box[3] > box[2]:
                    boxes.add(box)
    return boxes


def assert_resized_to_the_box(images: Tensor, mixed, b: int, box: Box | None) -> None:
    height, width = images.shape[2:]
    if box is None:
        assert torch.equal(mixed.images[b], images[b])
        assert mixed.target.weights[b].tolist() == [1, 0]
        return
    y0, y1, x0, x1 = box
    wanted = images[b].clone()
    partner = images[mixed.partner[b]][None]
    wanted[:, y0:y1, x0:x1] = F.interpolate(partner, size=(y1 - y0, x1 - x0))[0]
    assert torch.equal(mixed.images[b], wanted)
    kept = 1 - (y1 - y0) * (x1 - x0) / (height * width)
    assert float(mixed.target.weights[b, 0]) == pytest.approx(kept, abs=1e-7)


@pytest.mark.parametrize("shape", [(5, 24, 40), (4, 33, 17), (1, 32, 32)])
def test_port_resizes_the_partner_to_the_clipped_box(make_coordinates, find_box, shape):
    batch, height, width = shape
    images = make_coordinates(batch, height, width)
    legal = clipped_boxes(height, width, (0.1, 0.8))
    for seed in range(40):
        mixed = port(images, torch.arange(batch), seed)
        boxes = {find_box(m) for m in mixed.masks[:, 0]}
        assert len(boxes) == 1, "one box a batch"
        box = boxes.pop()
        assert box is None or box in legal
        for b in range(batch):
            assert_resized_to_the_box(images, mixed, b, box)


@pytest.mark.parametrize("per_sample", [False, True])
def test_clipped_placement_with_a_box_an_image(make_coordinates, find_box, per_sample):
    images = make_coordinates(16, 29, 22)
    legal = clipped_boxes(29, 22, (0.2, 0.9))
    for seed in range(6):
        mixed = resizemix(
            images,
            torch.arange(16),
            generator=seeded(seed),
            scope=(0.2, 0.9),
            placement="clip",
            per_sample=per_sample,
        )
        boxes = [find_box(m) for m in mixed.masks[:, 0]]
        assert len(set(boxes)) > 4
        for b, box in enumerate(boxes):
            assert box is None or box in legal
            assert_resized_to_the_box(images, mixed, b, box)


def test_port_equals_interpolate_for_every_box_side(make_coordinates, find_box):
    """Nearest indices are computed in single precision there, which is not ``floor(i * H / h)`` for every pair."""
    side = 59
    images, sides = make_coordinates(1, side, side), set()
    for step in range(1, 60):
        tau = step / 59
        mixed = port(images, torch.zeros(1, dtype=torch.int64), step, scope=(tau, tau))
        box = find_box(mixed.masks[0, 0])
        assert_resized_to_the_box(images, mixed, 0, box)
        sides |= {box[1] - box[0], box[3] - box[2]} if box else set()
    assert len(sides) > 30


def test_port_leaves_the_image_alone_where_the_box_has_no_area(make_batch):
    images, labels = make_batch(4, 3, 12, 12)
    for seed in range(5):  # int(12 * 0.1) // 2 == 0
        mixed = port(images, labels, seed, scope=(0.1, 0.1))
        assert torch.equal(mixed.images, images)
        assert mixed.target.weights.tolist() == [[1.0, 0.0]] * 4
        assert bool((mixed.masks[:, 0] == 1).all())


def test_port_centre_is_uniform_and_clipped():
    generator, n, side = seeded(41), 1500, 20
    mixer = build_port(scope=(0.5, 0.5))
    images, labels = torch.zeros(1, 1, side, side), torch.zeros(1, dtype=torch.int64)
    pasted = torch.cat([mixer(images, labels, generator=generator).masks[:, 1] for _ in range(n)])
    for axis in (2, 1):
        filled = pasted.amax(axis)
        ends = zip(filled.argmax(1).tolist(), filled.sum(1).int().tolist(), strict=True)
        observed = Counter((start, start + length) for start, length in ends)
        exact = Counter((max(c - 5, 0), min(c + 5, side)) for c in range(side))
        assert set(observed) <= set(exact)
        assert stats.chisquare([observed[e] for e in exact], [n * k / side for k in exact.values()]).pvalue > 1e-4


def test_port_accepts_overrides():
    mixed = port(torch.zeros(4, 1, 40, 40), torch.arange(4), 3, scope=(0.5, 0.5), per_sample_box=True)
    assert mixed.masks[:, 1].flatten(1).unique(dim=0).shape[0] > 1


def test_bilinear_apply_of_the_port_resizes_to_the_box(make_batch, find_box):
    images, labels = make_batch(4, 3, 24, 40)
    for seed in range(10):
        mixed = port(images, labels, seed, scope=(0.2, 0.8))
        box = find_box(mixed.masks[0, 0])
        assert box is not None
        y0, y1, x0, x1 = box
        wanted = F.interpolate(images[mixed.partner], size=(y1 - y0, x1 - x0), mode="bilinear")
        patch = mixed.apply(images, interpolation="bilinear")[:, :, y0:y1, x0:x1]
        torch.testing.assert_close(patch, wanted, rtol=0, atol=1e-5)


def mean_own_share(mixer, generator: torch.Generator, n: int = 2500) -> float:
    images, labels = torch.zeros(1, 1, 32, 32), torch.zeros(1, dtype=torch.int64)
    return float(
        torch.stack([mixer(images, labels, generator=generator).target.weights[0, 0] for _ in range(n)]).mean()
    )


def test_mean_own_share_of_the_authors_and_of_the_port():
    """At 32 px clipping leaves 0.840 of the own image where the authors leave 0.769."""
    # The standard deviation is 0.18, so 4 standard errors of the mean are 0.014.
    assert mean_own_share(openmix.build_mixer("resizemix"), seeded(51)) == pytest.approx(0.769, abs=0.014)
    assert mean_own_share(build_port(), seeded(52)) == pytest.approx(0.840, abs=0.014)
