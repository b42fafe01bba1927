"""ResNeXt29_4_24: stages, groups and initial weights. Its forward pass is in test_residual_by_hand.py."""

import math

import pytest
import torch
from torch import nn

from openmix.models import ResNeXt29_4_24


@pytest.mark.parametrize("size", [(32, 32), (33, 18)])
def test_shapes_of_all_stages(size):
    with torch.device("meta"):
        network = ResNeXt29_4_24(in_channels=1)
        features = network(torch.empty(2, 1, *size))
    assert [tuple(f.shape) for f in features] == [
        (2, 256 * 2**i, math.ceil(size[0] / 2**i), math.ceil(size[1] / 2**i)) for i in range(3)
    ]
    assert network.out_channels == (256, 512, 1024)


def test_groups():
    with torch.device("meta"):
        network = ResNeXt29_4_24()
    convs = [block.conv_conv for stage in network.stage_names for block in network.get_submodule(stage)]
    assert [(c.groups, c.in_channels, c.out_channels) for c in convs] == [
        (4, width, width) for width in (96, 192, 384) for _ in range(3)
    ]


def test_initial_weights():
    """He's rule, fan out: standard deviation sqrt(2 / (channels out * kernel area)), groups or not."""
    torch.manual_seed(0)
    for name, conv in ResNeXt29_4_24().named_modules():
        if isinstance(conv, nn.Conv2d):
            expected = math.sqrt(2 / (conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]))
            assert abs(conv.weight.std().item() / expected - 1) < 4 / math.sqrt(2 * conv.weight.numel()), name
            assert conv.bias is None
