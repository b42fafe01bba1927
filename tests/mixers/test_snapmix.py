"""SnapMix against its authors' code (Huang et al., 2021), restated: where boxes lie is read off what was mixed."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

import openmix
from openmix.mixers import snapmix

SIZE = 20, 32
Box = tuple[int, int, int, int]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(batch: int, height: int, width: int, seed: int = 3) -> Tensor:
    return torch.randn(batch, height, width, generator=seeded(seed)) * 5 + 2


@pytest.fixture
def read_boxes(find_box, make_coordinates):
    """Read the pasted box and the partner's back: the corners of one show the corners of the other."""

    def read(mixed) -> tuple[Box, Box] | None:
        batch = len(mixed.images)
        boxes = {find_box(own) for own in mixed.masks[:, 0]}
        (box,) = boxes  # one for all
        if box is None:
            return None
        y0, y1, x0, x1 = box
        told = mixed.apply(make_coordinates(batch, *SIZE))[0]
        low, high = told[1:, y0, x0].long().tolist(), told[1:, y1 - 1, x1 - 1].long().tolist()
        # of a box of one row, only the first of the partner's rows is seen
        return box, (low[0], high[0] + 1, low[1], high[1] + 1)

    return read


def mass(share: Tensor, box: Box) -> float:
    y0, y1, x0, x1 = box
    return sum(float(share[y, x]) for y in range(y0, y1) for x in range(x0, x1))


def shares(cam: Tensor) -> Tensor:
    """Resized, least value 0, sum 1: in double precision."""
    full = F.interpolate(cam.double()[:, None], SIZE, mode="bilinear", align_corners=False)[:, 0]
    full = full - full.amin((1, 2), keepdim=True)
    return full / full.sum((1, 2), keepdim=True)


def legible(found: tuple[Box, Box] | None) -> bool:
    """Whether the pasted box has two rows and columns, without which the partner's cannot be read off it."""
    return found is not None and found[0][1] - found[0][0] > 1 and found[0][3] - found[0][2] > 1


@pytest.mark.parametrize("grid", [SIZE, (4, 4), (5, 8)], ids=str)
def test_images_and_weights(make_batch, read_boxes, grid):
    images, _ = make_batch(5, 3, *SIZE)
    labels = torch.tensor([0, 1, 1, 2, 0])
    cam, legible_ones, alike = drawn(5, *grid), 0, 0
    for seed in range(30):
        mixed = snapmix(images, labels, cam=cam, generator=seeded(seed), alpha=2.0)
        found, partner = read_boxes(mixed), mixed.partner.tolist()
        if not legible(found):
            continue
        legible_ones += 1
        (y0, y1, x0, x1), crop = found
        wanted = images.clone()
        cut = images[partner][:, :, crop[0] : crop[1], crop[2] : crop[3]]
        wanted[:, :, y0:y1, x0:x1] = F.interpolate(cut, (y1 - y0, x1 - x0), mode="bilinear", align_corners=True)
        torch.testing.assert_close(mixed.images, wanted, rtol=0, atol=1e-5)
        share = shares(cam)
        for b in range(5):
            own, other = 1 - mass(share[b], found[0]), mass(share[partner[b]], crop)
            if labels[b] == labels[partner[b]]:
                own = other = own + other
                alike += 1
            assert mixed.target.weights[b].tolist() == pytest.approx([own, other], abs=1e-5)
    assert legible_ones >= 15 and alike >= 10


def test_each_box_has_cutmixs_law(find_box, read_boxes):
    """How often no, some, and much of the image is pasted into, and cut out, is alike for both boxes."""
    areas: list[list[int]] = [[], []]
    images, labels = torch.zeros(2, 1, *SIZE), torch.arange(2)
    for seed in range(600):
        generator = seeded(seed)
        found = read_boxes(snapmix(images, labels, cam=torch.zeros(2, 1, 1), generator=generator))
        if legible(found):
            for n, box in enumerate(found):
                areas[n].append((box[1] - box[0]) * (box[3] - box[2]))
    reference = []
    for seed in range(3000):
        box = find_box(openmix.mixers.cutmix(images, labels, generator=seeded(seed)).masks[0, 0])
        if box is not None and box[1] - box[0] > 1 and box[3] - box[2] > 1:
            reference.append((box[1] - box[0]) * (box[3] - box[2]))
    for one in areas:
        assert stats.mannwhitneyu(one, reference).pvalue > 1e-3
        assert stats.levene(one, reference).pvalue > 1e-3
    assert abs(float(np.corrcoef(areas[0], areas[1])[0, 1])) < 0.15


def test_nothing_is_mixed_unless_both_boxes_hold_a_pixel(make_batch, find_box):
    images, labels = make_batch(4, 3, *SIZE)
    mixed_or_not = Counter()
    for seed in range(200):
        mixed = snapmix(images, labels, cam=drawn(4, 4, 4), generator=seeded(seed), alpha=0.05)
        if find_box(mixed.masks[0, 0]) is None:
            assert torch.equal(mixed.images, images)
            assert mixed.target.weights.tolist() == [[1, 0]] * 4
        mixed_or_not[find_box(mixed.masks[0, 0]) is None] += 1
    # each box is empty in about half of all draws with so small an alpha
    assert 0.6 < mixed_or_not[True] / 200 < 0.9


def test_a_flat_map_is_uniform(make_batch, read_boxes):
    images, labels = make_batch(3, 3, *SIZE)
    labels = torch.arange(3)
    for value in (0.0, -4.0, 0.3, 1e30):
        for seed in range(6):
            mixed = snapmix(images, labels, cam=torch.full((3, 4, 4), value), generator=seeded(seed), alpha=5.0)
            found = read_boxes(mixed)
            if legible(found):
                area = [(box[1] - box[0]) * (box[3] - box[2]) / (SIZE[0] * SIZE[1]) for box in found]
                own, other = 1 - area[0], area[1]
                for b, partner in enumerate(mixed.partner.tolist()):
                    wanted = [own, other] if partner != b else [own + other] * 2
                    assert mixed.target.weights[b].tolist() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_and_offset_do_not_matter(make_batch, scale):
    images, labels = make_batch(4, 3, *SIZE)
    cam = drawn(4, 5, 8).abs()
    a, b = (snapmix(images, labels, cam=c, generator=seeded(1)) for c in (cam, cam * scale))
    torch.testing.assert_close(a.target.weights, b.target.weights)
    b = snapmix(images, labels, cam=cam + 3, generator=seeded(1))
    torch.testing.assert_close(a.target.weights, b.target.weights, rtol=1e-4, atol=1e-5)


def test_weights_are_not_the_visible_shares(make_batch):
    """A map that lies within the box to be pasted over leaves nothing of the own label."""
    images, labels = make_batch(2, 3, *SIZE)
    labels = torch.tensor([0, 1])
    for seed in range(20):
        mixed = snapmix(images, labels, cam=torch.zeros(2, 1, 1), generator=seeded(seed))
        inside = mixed.masks[0, 1].bool()
        if inside.any() and mixed.partner[0] == 1:
            cam = torch.stack([inside.float(), torch.ones(SIZE)])
            again = snapmix(images, labels, cam=cam, generator=seeded(seed))
            assert float(again.target.weights[0, 0]) == pytest.approx(0, abs=1e-6)


def test_classes_are_copied_whole(make_coordinates):
    """With 'nearest', each pixel of the box shows the pixel nearest to where it is on the partner."""
    addresses = make_coordinates(3, *SIZE).long()
    for seed in range(20):
        mixed = snapmix(torch.zeros(3, 1, *SIZE), torch.arange(3), cam=torch.zeros(3, 1, 1), generator=seeded(seed))
        told, exact = mixed.apply(addresses), mixed.apply(addresses.float(), interpolation="bilinear")
        assert told.dtype == torch.int64
        own = mixed.masks[:, 0].bool()
        assert torch.equal(told[:, 0], torch.where(own, addresses[:, 0], addresses[mixed.partner, 0]))
        assert bool(((told[:, 1:] - exact[:, 1:]).abs() <= 0.5001).all())


@pytest.mark.parametrize(
    ("hyper", "cam", "named"),
    [
        ({"alpha": 0}, (5, 4, 4), "alpha"),
        ({}, (4, 4, 4), r"cam must be floating point \(5, h, w\)"),
        ({}, (5, 10, 4, 4), r"cam must be floating point \(5, h, w\)"),
    ],
)
def test_wrong_values_are_named(make_batch, hyper, cam, named):
    images, labels = make_batch()
    with pytest.raises(ValueError, match=named):
        snapmix(images, labels, cam=torch.rand(cam), **hyper)
