"""Normalising: (x / 255 - mean) / std for bytes, (x - mean) / std for floats."""

import pytest
import torch

from openmix.data import Batch
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import Preprocessor
from openmix.errors import UserError

MEAN, STD = (0.5, 0.25, 0.1), (0.2, 0.5, 1.0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_formula(dtype):
    images = torch.randint(256, (2, 3, 4, 5))
    images = images.to(dtype) if dtype == torch.uint8 else (images / 255).to(dtype)
    normalised = Normalize(Preprocessor(MEAN, STD))(images)
    assert normalised.dtype == torch.float32
    for b, c, y, x in ((0, 0, 0, 0), (1, 1, 2, 3), (1, 2, 3, 4)):
        value = float(images[b, c, y, x]) / (255 if dtype == torch.uint8 else 1)
        assert normalised[b, c, y, x].item() == pytest.approx((value - MEAN[c]) / STD[c], rel=1e-5, abs=1e-5)


def test_one_value_for_all_channels():
    images = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(Normalize(Preprocessor((0.5,), (0.25,)))(images), (images - 0.5) / 0.25)


def test_nothing_said_is_division_by_255():
    images = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8)
    torch.testing.assert_close(Normalize(Preprocessor())(images), images / 255)


def test_every_view_and_not_in_place():
    views = tuple(torch.randint(256, (2, 1, 4, 4), dtype=torch.uint8) for _ in range(2))
    before = [v.clone() for v in views]
    batch = Normalize(Preprocessor((0.5,), (0.5,))).batch(Batch(views, torch.arange(2), torch.arange(2)))
    for view, original in zip(batch.views, before, strict=True):
        torch.testing.assert_close(view, original / 127.5 - 1)
    assert all(torch.equal(a, b) for a, b in zip(views, before, strict=True))
    assert batch.labels.tolist() == [0, 1]


def test_bytes_become_planes():
    images = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8).to(memory_format=torch.channels_last)
    normalize = Normalize(Preprocessor(MEAN, STD))
    assert normalize(images).is_contiguous() and torch.equal(normalize(images), normalize(images.contiguous()))


def test_memory_format_of_floats_is_kept():
    images = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
    assert Normalize(Preprocessor(MEAN, STD))(images).is_contiguous(memory_format=torch.channels_last)


def test_other_channels():
    with pytest.raises(UserError, match="mean and std for 3 channels, the images have 1"):
        Normalize(Preprocessor(MEAN, STD))(torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.25]), ([0.49, 0.48, 0.45], [0.2, 0.3, 0.4])])
def test_a_batch_is_told_what_black_and_white_have_become(mean, std):
    normalize = Normalize(Preprocessor(mean=mean, std=std))
    black, white = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    for images, row in ((black, 0), (white, 1)):
        batch = normalize.batch(Batch((images, images), torch.arange(2), torch.arange(2)))
        told = batch.pixel_range[row][:, None, None].expand(3, 4, 4)
        for view in batch.views:
            torch.testing.assert_close(view[0], told, rtol=1e-6, atol=1e-6)
    assert batch.to("meta").pixel_range.device.type == "meta"
