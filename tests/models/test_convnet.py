"""The small network: its shape, its size, and the sum that it computes."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from openmix.models import ConvNet


def test_shapes_and_names():
    network = ConvNet((4, 6, 10, 12), in_channels=2)
    features = network(torch.rand(3, 2, 17, 24))
    assert [tuple(f.shape) for f in features] == [(3, 4, 17, 24), (3, 6, 8, 12), (3, 10, 4, 6), (3, 12, 2, 3)]
    assert network.stage_names == ("layer1", "layer2", "layer3", "layer4")
    assert network.out_channels == (4, 6, 10, 12)


def test_size_and_cost_are_what_the_docstring_says():
    network = ConvNet()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 32, 32))
    said = re.search(r"(\S+) M parameters and takes (\S+) M multiply-adds for a 32x32", ConvNet.__doc__)
    parameters = sum(p.numel() for p in network.parameters())
    assert (f"{parameters / 1e6:.2f}", f"{counter.get_total_flops() / 2e6:.0f}") == said.groups()


def test_forward_by_hand():
    torch.manual_seed(0)
    network = ConvNet((4, 8)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 0)  # below what arrives, so that ReLU lets most of it past
            nn.init.uniform_(module.running_var, 0.5, 2)
    x = images = torch.rand(2, 3, 8, 6)
    for stage, feature in zip((network.layer1, network.layer2), network(images), strict=True):
        convs = [m for m in stage if isinstance(m, nn.Conv2d)]
        norms = [m for m in stage if isinstance(m, nn.BatchNorm2d)]
        if stage is network.layer2:
            x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
        assert len(convs) == len(norms) == 2
        for conv, norm in zip(convs, norms, strict=True):
            x = F.conv2d(x, conv.weight, padding=1)
            x = (x - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + norm.eps).sqrt()
            x = (x * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)
        torch.testing.assert_close(feature, x)
        assert 0.1 < (x > 0).float().mean() < 1, "the test would not see every layer"


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ((), r"widths must be the channels of one stage at least, got \(\)"),
        (32, "widths must be the channels of one stage at least, got 32"),
        ((4, 0), "each of widths must be an integer of at least 1, got 0"),
        ((4.0,), "each of widths must be an integer of at least 1, got 4.0"),
    ],
)
def test_what_is_refused(widths, message):
    with pytest.raises(ValueError, match=message):
        ConvNet(widths)
