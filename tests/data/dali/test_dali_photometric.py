"""Grey, blurred, solarised, sometimes: image by image what torchvision makes of it with the same numbers."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from openmix.data import ArraySource, DaliLoader
from openmix.data.dali.counterparts import counterparts
from openmix.errors import UserError

from .test_dali_loader import inputs_of

pytest.importorskip("nvidia.dali", reason="DALI is not installed")

IMAGES = torch.randint(256, (24, 3, 29, 37), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SOURCE = ArraySource(IMAGES, torch.arange(24), list(map(str, range(24))))
SIZES = torch.tensor([[20, 20]]).expand(20_000, 2)


def through(transform, monkeypatch):
    """Return the images after a transform, and what was drawn for them."""
    loader = DaliLoader(SOURCE, 24, pipeline=[transform])
    drawn = inputs_of(loader, monkeypatch)
    (batch,) = loader.evaluate()
    return batch.images, drawn[0]


def drawn_by(transform):
    (stage,) = counterparts([transform])
    return stage.draw(SIZES, torch.Generator().manual_seed(0))[0]


@pytest.mark.parametrize("kernel", [3, [9, 5], [1, 7], 23])
def test_blurs_are_torchvisions_to_a_grey_level(monkeypatch, kernel):
    images, (sigmas,) = through(v2.GaussianBlur(kernel, (0.1, 3.0)), monkeypatch)
    transform = v2.GaussianBlur(kernel)
    assert sigmas.max() - sigmas.min() > 1.5
    for image, source, sigma in zip(images, IMAGES, sigmas.tolist(), strict=True):
        expected = functional.gaussian_blur(source, list(transform.kernel_size), [sigma, sigma])
        assert (image.int() - expected.int()).abs().max() <= 1


def test_sigmas_are_uniform():
    (sigmas,) = drawn_by(v2.GaussianBlur(3, (0.1, 2.0)))
    assert sigmas.min() >= 0.1 and sigmas.max() <= 2
    assert abs(sigmas.mean() - 1.05) < 0.02 and abs(sigmas.std() - 1.9 / 12**0.5) < 0.02


def test_greys_are_torchvisions_to_a_grey_level(monkeypatch):
    images, (through_it,) = through(v2.RandomGrayscale(0.5), monkeypatch)
    assert 0 < through_it.sum() < 24
    for image, source, grey in zip(images, IMAGES, through_it.tolist(), strict=True):
        if grey:
            assert (image.int() - functional.rgb_to_grayscale(source, 3).int()).abs().max() <= 1
            assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
        else:
            assert torch.equal(image, source)


@pytest.mark.parametrize("threshold", [0, 1, 127.5, 128, 255])
def test_solarised_is_torchvisions(monkeypatch, threshold):
    images, (through_it,) = through(v2.RandomSolarize(threshold, 0.5), monkeypatch)
    assert 0 < through_it.sum() < 24
    for image, source, solarised in zip(images, IMAGES, through_it.tolist(), strict=True):
        assert torch.equal(image, functional.solarize(source, threshold) if solarised else source)


def test_a_threshold_above_white_is_refused():
    with pytest.raises(UserError, match="RandomSolarize's threshold is at most 255, white, not 256"):
        counterparts([v2.RandomSolarize(256)])


@pytest.mark.parametrize("transform", [v2.RandomGrayscale(0.2), v2.RandomSolarize(9, 0.2), v2.RandomApply([len], 0.2)])
def test_probabilities_are_the_transforms(transform):
    if isinstance(transform, v2.RandomApply):
        transform.transforms = [v2.RandomHorizontalFlip()]
    through_it, *rest = drawn_by(transform)
    assert set(through_it.tolist()) == {0, 1} and abs(through_it.float().mean() - 0.2) < 0.01
    for inner in rest:  # drawn apart from it
        assert abs(inner[through_it.bool()].float().mean() - 0.5) < 0.03


def test_some_go_through_all_of_it_and_others_through_nothing(monkeypatch):
    some = v2.RandomApply([v2.RandomSolarize(200, 0.5), v2.RandomHorizontalFlip(0.5)], 0.6)
    images, (through_it, solarised, mirrored) = through(some, monkeypatch)
    kinds = set(zip(through_it.tolist(), solarised.tolist(), mirrored.tolist(), strict=True))
    assert len(kinds) >= 7
    for image, source, *flags in zip(images, IMAGES, through_it, solarised, mirrored, strict=True):
        expected = source
        if flags[0]:
            expected = functional.solarize(expected, 200) if flags[1] else expected
            expected = expected.flip(-1) if flags[2] else expected
        assert torch.equal(image, expected)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_nobody_and_everybody(monkeypatch, probability):
    images, _ = through(v2.RandomApply([v2.RandomHorizontalFlip(1.0)], probability), monkeypatch)
    assert torch.equal(images, IMAGES.flip(-1) if probability else IMAGES)


def test_a_size_that_some_images_have_is_refused():
    loader = DaliLoader(SOURCE, 24, pipeline=[v2.RandomApply([v2.CenterCrop(20)], 0.5)])
    with pytest.raises(UserError, match="a pipeline must end in images of one size"):
        list(loader.evaluate())
