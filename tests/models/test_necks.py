"""Pooling."""

import torch

from openmix.models import GlobalAveragePooling


def test_the_mean_of_the_last_map():
    maps = (torch.full((2, 9, 8, 8), 1e6), torch.rand(2, 3, 4, 5))
    pooled = GlobalAveragePooling()(maps)
    assert pooled.shape == (2, 3)
    for image, row in zip(maps[1].tolist(), pooled.tolist(), strict=True):
        for channel, value in zip(image, row, strict=True):
            flat = [v for line in channel for v in line]
            assert abs(sum(flat) / 20 - value) < 1e-6


def test_it_has_no_weights():
    assert not list(GlobalAveragePooling().parameters())
