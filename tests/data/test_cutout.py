import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from openmix.data.transforms import Cutout
from openmix.errors import UserError


def naive(image, y, x, size, fill):
    """Erase pixel by pixel, as the authors' code does it for even sizes."""
    out = image.clone()
    for c in range(image.shape[0]):
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                if -(size // 2) <= row - y < size - size // 2 and -(size // 2) <= column - x < size - size // 2:
                    out[c, row, column] = fill[c]
    return out


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 30])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_centre_erases_what_a_loop_over_pixels_erases(size, dtype):
    image = torch.arange(1, 3 * 5 * 7 + 1).view(3, 5, 7).to(dtype)
    before = image.clone()
    transform = Cutout(size, fill=(7, 8, 9))
    for y in range(5):
        for x in range(7):
            out = transform.transform(image, {"y": y, "x": x})
            assert torch.equal(out, naive(image, y, x, size, (7, 8, 9))) and out.dtype == dtype
    assert torch.equal(image, before)


def test_the_centre_is_uniform_over_the_pixels():
    torch.manual_seed(0)
    counts = torch.zeros(5, 7)
    image = torch.ones(1, 5, 7, dtype=torch.uint8)
    for _ in range(7000):
        counts += Cutout(1)(image)[0] == 0
    expected = 7000 / 35
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert counts.sum() == 7000
    assert chi_square < 65.2  # the 0.999 quantile of chi-square with 34 degrees of freedom


def test_one_fill_serves_all_channels_and_defaults_to_black():
    image = torch.full((4, 6, 6), 200, dtype=torch.uint8)
    assert set(Cutout(4)(image).unique().tolist()) == {0, 200}
    assert set(Cutout(4, fill=3)(image).unique().tolist()) == {3, 200}


def test_it_works_in_a_v2_pipeline_beside_a_label():
    image = tv_tensors.Image(torch.full((3, 6, 6), 9, dtype=torch.uint8))
    out, label = v2.Compose([Cutout(6), v2.RandomHorizontalFlip()])(image, 4)
    assert label == 4 and out.shape == image.shape and 0 in out


@pytest.mark.parametrize("size", [0, -2])
def test_a_size_below_one_is_refused(size):
    with pytest.raises(UserError, match="in pixels and at least 1"):
        Cutout(size)


def test_what_it_cannot_erase_is_refused():
    with pytest.raises(UserError, match="put ToImage before it"):
        Cutout(4)(Image.new("RGB", (8, 8)))
    with pytest.raises(UserError, match="2 fills for images of 3 channels"):
        Cutout(4, fill=(1, 2))(torch.zeros(3, 8, 8))
