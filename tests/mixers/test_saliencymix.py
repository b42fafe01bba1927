"""SaliencyMix: boxes about a peak that is put into the images, as many pixels as the paper's lam asks for."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import openmix
from openmix.mixers import saliencymix
from openmix.ops.saliency import fine_grained, fine_grained_misread, spectral_residual

SIZE = 24, 40
MEAN, STD = torch.tensor([0.49, 0.48, 0.45]), torch.tensor([0.25, 0.24, 0.26])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spotted(places: Tensor, height: int, width: int) -> Tensor:
    """Gray images with a white spot about each place (y, x), and a black one below, which comes second."""
    images = torch.full((len(places), 3, height, width), 0.5)
    images[:, :, -4:-1, -4:-1] = 0
    for image, (y, x) in zip(images, places.tolist(), strict=True):
        image[:, y - 1 : y + 2, x - 1 : x + 2] = 1
    return images


def peak_of(maps: Tensor) -> list[tuple[int, int]]:
    """The first highest pixel in reading order, by a loop."""
    found = []
    for m in maps.tolist():
        best = max(max(row) for row in m)
        found.append(next((y, x) for y, row in enumerate(m) for x, v in enumerate(row) if v == best))
    return found


def box_about(peak: tuple[int, int], ratio: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The authors' box: half sides by integer division, cut off at the border."""
    box: list[int] = []
    for centre, length in zip(peak, size, strict=True):
        half = int(length * ratio) // 2
        box += [max(centre - half, 0), min(centre + half, length)]
    return box[0], box[1], box[2], box[3]


def boxes_that_may_be(peak: tuple[int, int], size: tuple[int, int]) -> set:
    found = {box_about(peak, r / 5000, size) for r in range(5001)}
    return {b for b in found if b[1] > b[0] and b[3] > b[2]} | {None}


def textured(n: int, seed: int) -> Tensor:
    return torch.rand(n, 3, *SIZE, generator=seeded(seed))


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("detector", ["fine_grained", "spectral_residual", "misread"])
def test_every_pixel_comes_from_own_or_partner_by_a_box_about_the_partners_peak(find_box, detector, per_sample):
    saliency = {"fine_grained": fine_grained, "spectral_residual": spectral_residual, "misread": fine_grained_misread}
    images = textured(5, 3)
    peaks = peak_of(saliency[detector](images))
    for seed in range(8):
        mixed = saliencymix(images, torch.arange(5), generator=seeded(seed), saliency=detector, per_sample=per_sample)
        partner = mixed.partner.tolist()
        assert sorted(partner) == list(range(5))
        for b in range(5):
            box = find_box(mixed.masks[b, 0])
            assert box in boxes_that_may_be(peaks[partner[b if per_sample else 0]], SIZE)
            wanted = images[b].clone()
            if box is not None:
                y0, y1, x0, x1 = box
                wanted[:, y0:y1, x0:x1] = images[partner[b], :, y0:y1, x0:x1]
            area = 0 if box is None else (box[1] - box[0]) * (box[3] - box[2])
            assert torch.equal(mixed.images[b], wanted)
            assert float(mixed.target.weights[b, 1]) == pytest.approx(area / (SIZE[0] * SIZE[1]), abs=1e-6)


def test_the_box_lies_about_what_anybody_sees(find_box):
    """White spots on gray, each in a place of its own: of two the partner's counts."""
    places = torch.tensor([[y, x] for y in (3, 7, 11) for x in (5, 17, 30)])
    images = spotted(places, *SIZE)
    whole = 0
    for seed in range(24):
        mixed = saliencymix(images, torch.arange(9), generator=seeded(seed), per_sample=True)
        for b in range(9):
            box = find_box(mixed.masks[b, 0])
            if box is not None and box[0] > 0 and box[1] < SIZE[0] and box[2] > 0 and box[3] < SIZE[1]:
                whole += 1
                assert [(box[0] + box[1]) // 2, (box[2] + box[3]) // 2] == places[mixed.partner[b]].tolist()
    assert whole > 20


def test_area_follows_beta():
    """Half heights of boxes about the middle have the law that lam ~ Beta(0.5, 0.5) gives them."""
    n, side = 4000, 24
    images = spotted(torch.tensor([[side // 2, side // 2]]), side, side).expand(n, -1, -1, -1)
    mixed = saliencymix(images, torch.zeros(n, dtype=torch.int64), generator=seeded(1), alpha=0.5, per_sample=True)
    half = (mixed.masks[:, 1, :, side // 2].sum(1) / 2).long()
    # int(side * sqrt(1 - lam)) // 2 is at least h where lam is at most this
    lam = [1 - (2 * h / side) ** 2 for h in range(side // 2 + 1)]
    at_least = np.append(stats.beta.cdf(lam, 0.5, 0.5), 0)
    at_least[side // 2] = stats.beta.cdf(2.0**-54, 0.5, 0.5)  # from there on, double precision rounds 1 - lam to 1
    chance = -np.diff(at_least)
    observed = half.bincount(minlength=side // 2 + 1).numpy()
    common = chance * n >= 5
    wanted = chance[common] / chance[common].sum() * observed[common].sum()
    assert common.sum() >= 12 and stats.chisquare(observed[common], wanted).pvalue > 1e-4


def test_one_box_a_batch_or_one_an_image():
    images = textured(8, 5)
    whole = saliencymix(images, torch.arange(8), generator=seeded(2)).masks
    single = saliencymix(images, torch.arange(8), generator=seeded(2), per_sample=True).masks
    assert len(whole.flatten(1).unique(dim=0)) == 1
    assert len(single.flatten(1).unique(dim=0)) == 8


@pytest.mark.parametrize("detector", ["fine_grained", "spectral_residual"])
def test_colours_are_told_by_pixel_range(detector):
    images = (textured(6, 7) * 255).round() / 255
    normalised = (images - MEAN[:, None, None]) / STD[:, None, None]
    pixel_range = torch.stack([-MEAN / STD, (1 - MEAN) / STD])
    mixer = openmix.build_mixer("saliencymix", saliency=detector, per_sample=True)
    for seed in range(4):
        plain = mixer(images, torch.arange(6), generator=seeded(seed))
        told = mixer(normalised, torch.arange(6), generator=seeded(seed), pixel_range=pixel_range)
        assert torch.equal(plain.masks, told.masks)


def test_the_published_wiring_does_not_ask_for_colours():
    x = torch.randn(5, 3, *SIZE, generator=seeded(0))
    pixel_range = torch.tensor([[-2.0] * 3, [2.0] * 3])
    mixer = openmix.build_mixer("saliencymix", preset="openmixup")
    for seed in range(4):
        mixed = mixer(x, torch.arange(5), generator=seeded(seed), pixel_range=pixel_range)
        again = saliencymix(x, torch.arange(5), generator=seeded(seed), saliency="misread")
        assert torch.equal(mixed.images, again.images)


def test_images_of_one_colour_mix_about_the_first_pixel(find_box):
    images = torch.linspace(0, 1, 4)[:, None, None, None].expand(4, 3, *SIZE).contiguous()
    boxes = set()
    for seed in range(20):
        mixed = saliencymix(images, torch.arange(4), generator=seeded(seed))
        boxes.add(find_box(mixed.masks[0, 0]))
    assert boxes <= boxes_that_may_be((0, 0), SIZE) and len(boxes) > 5


@pytest.mark.parametrize(
    ("hyper", "named"),
    [({"alpha": 0}, "alpha"), ({"saliency": "finegrained"}, "saliency must be one of 'fine_grained'")],
)
def test_wrong_values_fail_where_they_are_written(hyper, named):
    with pytest.raises(ValueError, match=named):
        openmix.build_mixer("saliencymix", **hyper)
