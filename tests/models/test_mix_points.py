"""Mix points: a network with empty slots is the network; an armed slot mixes there, and only there."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from openmix.models import ConvNet
from openmix.models.mix_points import MixPoints
from openmix.ops.plans import BlendPlan


def swap_halves(batch: int, own: float = 0.25) -> BlendPlan:
    return BlendPlan(torch.arange(batch).flip(0), torch.full((batch, 1, 1, 1), own))


@pytest.mark.parametrize("network", [lambda: ConvNet([4, 6]), lambda: resnet18(num_classes=3)])
def test_empty_slots_change_nothing(network):
    torch.manual_seed(0)
    net = network().eval()
    images = torch.rand(2, 3, 32, 32)
    before, keys = net(images), list(net.state_dict())
    names = [n for n, m in net.named_children() if isinstance(m, nn.Sequential)]
    MixPoints(net, names)
    torch.testing.assert_close(net(images), before, rtol=0, atol=0)
    assert list(net.state_dict()) == keys


def test_an_armed_stage_of_any_network_is_mixed():
    """Nested names, too."""
    torch.manual_seed(0)
    net = resnet18(num_classes=3).eval()
    points = MixPoints(net, ["layer2.0", "layer3"])
    images, plan = torch.rand(4, 3, 32, 32), swap_halves(4)
    with points.armed("layer2.0", plan):
        mixed = net(images)
    x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
    x = net.layer2[0](net.layer1(x))
    x = 0.25 * x + 0.75 * x.flip(0)
    x = net.layer4(net.layer3(net.layer2[1](x)))
    torch.testing.assert_close(mixed, net.fc(x.mean((2, 3))))
    assert not torch.equal(net(images), mixed)


def test_nothing_armed():
    net = ConvNet([4]).eval()
    points, images = MixPoints(net, ["stage1"]), torch.rand(2, 3, 4, 4)
    with points.armed(None, swap_halves(2)):
        torch.testing.assert_close(net(images), net(images))


def test_disarmed_after_an_error():
    net = ConvNet([4]).eval()
    points, images = MixPoints(net, ["stage1"]), torch.rand(2, 3, 4, 4)
    plain = net(images)
    with pytest.raises(ZeroDivisionError), points.armed("stage1", swap_halves(2)):
        _ = 1 / 0
    torch.testing.assert_close(net(images), plain, rtol=0, atol=0)


def test_a_stage_that_is_not_there():
    with pytest.raises(ValueError, match="ConvNet has no stage 'stage9'; it has: stage1, "):
        MixPoints(ConvNet([4]), ["stage9"])
