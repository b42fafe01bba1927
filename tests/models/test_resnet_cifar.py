"""ResNet_CIFAR against torchvision's own layers."""

import math

import pytest
import torch
import torchvision
from torch import nn

from openmix.models import ClsHead, ResNet_CIFAR

REFERENCES = {18: torchvision.models.resnet18, 34: torchvision.models.resnet34, 50: torchvision.models.resnet50}


def reference(depth: int, ours: nn.Module, in_channels: int = 3) -> nn.Module:
    """torchvision's network with the stem changed, as every CIFAR code base does, and our weights."""
    with torch.device("meta"):
        net = REFERENCES[depth](num_classes=10)
        net.conv1 = nn.Conv2d(in_channels, 64, 3, stride=1, padding=1, bias=False)
        net.maxpool = nn.Identity()
        net.fc = nn.Identity()
    net.load_state_dict(ours.state_dict(), assign=True)
    return net


def awaken(network: nn.Module) -> None:
    """At its start every block is the identity, which would hide most of the network from a test."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)


@pytest.fixture(params=[18, 34, 50])
def depth(request) -> int:
    return request.param


@pytest.mark.parametrize("size", [(32, 32), (33, 31), (7, 20), (1, 1)])
def test_shapes_of_all_stages(depth, size):
    with torch.device("meta"):
        network = ResNet_CIFAR(depth)
        features = network(torch.empty(2, 3, *size))
    expected, (height, width) = [], size
    for stage, channels in enumerate((64, 128, 256, 512)):
        if stage:
            height, width = math.ceil(height / 2), math.ceil(width / 2)
        expected.append((2, channels * (4 if depth == 50 else 1), height, width))
    assert [tuple(f.shape) for f in features] == expected
    assert network.out_channels == tuple(shape[1] for shape in expected)
    assert network.stage_names == ("layer1", "layer2", "layer3", "layer4")


@pytest.mark.parametrize(
    ("depth", "classes", "expected"),
    # 18, 10: the number that CIFAR-10 code bases print; the others: torchvision's count with the stem and head replaced
    [(18, 10, 11_173_962), (34, 100, 21_328_292), (50, 100, 23_705_252)],
)
def test_parameter_counts(depth, classes, expected):
    with torch.device("meta"):
        network = ResNet_CIFAR(depth)
        head = ClsHead(classes, network.out_channels[-1])
        whole = REFERENCES[depth](num_classes=classes)
    count = sum(p.numel() for module in (network, head) for p in module.parameters())
    stem = 64 * 3 * (7 * 7 - 3 * 3)
    assert count == expected == sum(p.numel() for p in whole.parameters()) - stem


def test_forward_is_torchvisions(depth):
    torch.manual_seed(depth)
    ours = ResNet_CIFAR(depth).eval()
    awaken(ours)
    theirs = reference(depth, ours).eval()
    images = torch.rand(2, 3, 9, 12)
    with torch.no_grad():
        features = ours(images)
        x = theirs.relu(theirs.bn1(theirs.conv1(images)))
        for layer, feature in zip((theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), features, strict=True):
            x = layer(x)
            torch.testing.assert_close(feature, x)
        torch.testing.assert_close(features[-1].mean((2, 3)), theirs(images))


def test_training_forward_and_gradients_are_torchvisions():
    torch.manual_seed(0)
    ours = ResNet_CIFAR(18, in_channels=1)
    awaken(ours)
    theirs = reference(18, ours, in_channels=1)
    images = torch.rand(2, 1, 8, 8)
    ours(images)[-1].mean((2, 3)).square().sum().backward()
    grads = [p.grad.clone() for p in ours.parameters()]
    ours.zero_grad()
    theirs(images).square().sum().backward()
    torch.testing.assert_close([p.grad for p in theirs.parameters()], grads)


def test_every_block_starts_as_the_identity(depth):
    torch.manual_seed(0)
    network = ResNet_CIFAR(depth)
    blocks = [block for stage in network.stage_names for block in network.get_submodule(stage)]
    for block in blocks:
        norms = [m for name, m in block.named_children() if name.startswith("bn")]
        assert [bool((m.weight == 0).all()) for m in norms] == [False] * (len(norms) - 1) + [True]
        assert all((m.weight == 1).all() for m in norms[:-1])
    x = torch.rand(2, network.out_channels[0], 4, 4)
    assert torch.equal(network.layer1[1](x), x)


def test_initial_weights():
    """He's rule, fan out: standard deviation sqrt(2 / (channels out * kernel area))."""
    torch.manual_seed(0)
    network = ResNet_CIFAR(18)
    for name, conv in network.named_modules():
        if isinstance(conv, nn.Conv2d):
            expected = math.sqrt(2 / (conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]))
            deviation = conv.weight.std().item() / expected - 1
            assert abs(deviation) < 4 / math.sqrt(2 * conv.weight.numel()), name
            assert conv.bias is None


def test_two_networks_of_one_seed_are_equal():
    torch.manual_seed(5)
    one = ResNet_CIFAR(18).state_dict()
    torch.manual_seed(5)
    two = ResNet_CIFAR(18).state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("depth", [0, 20, 101, "18"])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=f"depth must be one of 18, 34, 50, got {depth}"):
        ResNet_CIFAR(depth)
