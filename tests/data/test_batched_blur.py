"""Batched blur against torchvision's."""

import pytest
import torch
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from openmix.data.loaders.batched import batched, floats_of
from openmix.data.loaders.batched_blur import Blur, blur
from openmix.errors import UserError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3), (3, 9), (23, 1), (11, 11)])
def test_blur_is_torchvisions(kernel, channels):
    images = torch.randint(256, (30, channels, 6, 12), dtype=torch.uint8, generator=seeded())
    stage = Blur(v2.GaussianBlur(kernel, (0.1, 3.0)), images.shape[1:])
    draws = stage.draw(30, seeded(1))
    out = stage.apply(images, draws)
    assert out.dtype == torch.uint8 and out.shape == images.shape and stage.shape == images.shape[1:]
    for image, result, sigma in zip(images, out, floats_of(draws[0]).tolist(), strict=True):
        expected = functional.gaussian_blur(image.float(), list(kernel), [sigma, sigma])
        assert (result - expected).abs().max() <= 0.51


def test_what_is_even_stays():
    images = torch.full((4, 3, 6, 7), 93.0)
    assert (blur(images, torch.tensor([0.1, 1.0, 5.0, 100.0]), (5, 6)) - 93).abs().max() < 1e-3


def test_sigma_is_uniform():
    sigma = floats_of(Blur(v2.GaussianBlur(3, (0.1, 2.0)), (3, 8, 8)).draw(20_000, seeded())[0])
    assert stats.kstest(sigma, stats.uniform(0.1, 1.9).cdf).pvalue > 0.001
    assert (floats_of(Blur(v2.GaussianBlur(3, 0.5), (3, 8, 8)).draw(10, seeded())[0]) == 0.5).all()


@pytest.mark.parametrize("shape", [(3, 5, 20), (3, 20, 5)])
def test_a_kernel_that_reaches_beyond_the_other_border_is_refused(shape):
    assert batched([v2.GaussianBlur(9)], shape)[0].shape == shape
    with pytest.raises(UserError, match=r"a kernel of 11 x 11 is too large for images of shape \(3, "):
        batched([v2.GaussianBlur(11)], shape)
