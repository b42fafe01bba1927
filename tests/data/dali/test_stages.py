"""What the stages draw is torchvision's rule."""

import pytest
import torch
from torchvision.transforms import v2

from openmix.data.dali.counterparts import counterparts
from openmix.errors import UserError

SIZES = torch.tensor([[h, w] for h in range(30, 72) for w in range(31, 90, 7)])


def only(transform):
    (stage,) = counterparts([transform])
    return stage


def ramp(height: int, width: int) -> torch.Tensor:
    """Return an image, float (1, H, W), whose every pixel is another number, none of them 0."""
    return torch.arange(1.0, height * width + 1).view(1, height, width)


@pytest.mark.parametrize("size", [32, 41, [30, 44], [50, 20]])
def test_centre_crops_are_torchvisions(size):
    stage = only(v2.CenterCrop(size))
    (corners,), after = stage.draw(SIZES, torch.Generator())
    for (height, width), (y, x) in zip(SIZES.tolist(), corners.tolist(), strict=True):
        expected = v2.CenterCrop(size)(ramp(height, width))
        place = (expected > 0).nonzero()[0]  # the first pixel that is not padding
        assert expected[tuple(place)] == ramp(height, width)[0, y + place[1], x + place[2]]
    assert after.tolist() == [list(expected.shape[1:])] * len(SIZES)


@pytest.mark.parametrize("size", [32, 41, 71, [40, 33]])
def test_sizes_after_resizing_are_torchvisions(size):
    (sizes,), after = only(v2.Resize(size)).draw(SIZES, torch.Generator())
    assert torch.equal(sizes.long(), after)
    for (height, width), new in zip(SIZES.tolist(), after.tolist(), strict=True):
        assert new == list(v2.Resize(size)(torch.empty(1, height, width)).shape[1:])


def test_random_crops_are_uniform_over_the_places_that_fit():
    sizes = torch.tensor([[6, 5]]).expand(20_000, 2)
    (corners,), after = only(v2.RandomCrop(5, padding=(1, 2))).draw(sizes, torch.Generator().manual_seed(0))
    assert after[0].tolist() == [5, 5]
    for axis, places in ((0, [*range(-2, 4)]), (1, [*range(-1, 2)])):
        found, counts = corners[:, axis].unique(return_counts=True)
        assert found.tolist() == places
        # three standard deviations of a binomial
        expected = 20_000 / len(places)
        assert (counts - expected).abs().max() < 3 * expected**0.5


def test_flips_come_with_their_probability():
    (mirrored,), _ = only(v2.RandomHorizontalFlip(0.3)).draw(SIZES.repeat(50, 1), torch.Generator().manual_seed(0))
    assert set(mirrored.tolist()) == {0, 1} and abs(mirrored.float().mean() - 0.3) < 0.015


def test_factors_are_uniform_within_torchvisions_ranges():
    jitter = v2.ColorJitter(0.4, (0.5, 0.9), 0, 0.1)
    drawn, _ = only(jitter).draw(SIZES.repeat(50, 1), torch.Generator().manual_seed(0))
    for row, (low, high) in zip(drawn, [(0.6, 1.4), (0.5, 0.9), (1, 1), (-0.1, 0.1)], strict=True):
        assert low <= row.min() and row.max() <= high
        assert abs(row.mean() - (low + high) / 2) < 0.01 and abs(row.std() - (high - low) / 12**0.5) < 0.01


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (v2.RandomPosterize(3), "DaliLoader has no counterpart of RandomPosterize"),
        (v2.Resize(None, max_size=8), "takes a size and no max_size"),
        (v2.Resize(8, max_size=9), "takes a size and no max_size"),
        (v2.Resize(8, v2.InterpolationMode.LANCZOS), "does not interpolate by lanczos"),
        (v2.RandomCrop(8, padding_mode="reflect", padding=2), "constant padding"),
        (v2.RandomCrop(8, pad_if_needed=True), "constant padding"),
        (v2.RandAugment(fill=[1, 2, 3]), "fills with one value"),
        (len, "no counterpart of len"),
    ],
)
def test_what_has_no_counterpart_is_named(transform, message):
    with pytest.raises(UserError, match=message):
        counterparts([transform])


def test_a_crop_larger_than_the_image_is_named():
    with pytest.raises(UserError, match=r"RandomCrop cannot cut \(8, 8\) out of an image of \(5, 9\)"):
        only(v2.RandomCrop(8)).draw(torch.tensor([[9, 9], [5, 9]]), torch.Generator())
