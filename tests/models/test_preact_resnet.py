"""PreActResNet: stages, initial weights and arguments. Its forward pass is in test_residual_by_hand.py."""

import math

import pytest
import torch
from torch import nn

from openmix.models import PreActResNet


@pytest.mark.parametrize(("depth", "expansion"), [(18, 1), (34, 1), (50, 4), (101, 4), (152, 4)])
def test_shapes_of_all_stages(depth, expansion):
    stride, size = (2, (64, 37)) if depth < 100 else (1, (33, 18))
    with torch.device("meta"):
        network = PreActResNet(depth, in_channels=1, stride=stride)
        features = network(torch.empty(2, 1, *size))
    assert [tuple(f.shape) for f in features] == [
        (2, expansion * 64 * 2**i, math.ceil(size[0] / stride / 2**i), math.ceil(size[1] / stride / 2**i))
        for i in range(4)
    ]
    assert network.out_channels == tuple(f.shape[1] for f in features)


def test_nothing_follows_the_last_block():
    """So the map that is pooled has negative values, and no weights past the stages exist."""
    torch.manual_seed(0)
    network = PreActResNet()
    assert (network(torch.rand(2, 3, 16, 16))[-1] < 0).any()
    assert [name for name, _ in network.named_children()] == ["conv1", "layer1", "layer2", "layer3", "layer4"]


def test_initial_weights_are_torchs():
    """Uniform to 1 / sqrt(fan in)."""
    torch.manual_seed(0)
    for name, conv in PreActResNet().named_modules():
        if isinstance(conv, nn.Conv2d):
            bound = 1 / math.sqrt(conv.weight[0].numel())
            assert conv.bias is None
            assert conv.weight.abs().max() <= bound, name
            assert abs(conv.weight.std().item() * math.sqrt(3) / bound - 1) < 5 / math.sqrt(2 * conv.weight.numel())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 20}, "depth must be one of 18, 34, 50, 101, 152, got 20"),
        ({"depth": 18.0}, "depth must be one of .*, got 18.0"),
        ({"stride": 0}, "stride must be one of 1, 2, got 0"),
        ({"stride": 3}, "stride must be one of 1, 2, got 3"),
        ({"stride": 1.5}, "stride must be one of 1, 2, got 1.5"),
        ({"stride": True}, "stride must be one of 1, 2, got True"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PreActResNet(**arguments)
