"""ResNet and ResNeXt with both stems, against torchvision's and timm's networks."""

import math
import re

import pytest
import timm
import torch
import torchvision
from torch import nn

from openmix.models import ResNet, ResNet_CIFAR, ResNeXt, ResNeXt_CIFAR

RESNETS = {
    18: torchvision.models.resnet18,
    34: torchvision.models.resnet34,
    50: torchvision.models.resnet50,
    101: torchvision.models.resnet101,
    152: torchvision.models.resnet152,
}
NETWORKS = [(ResNet, 18), (ResNet, 50), (ResNet_CIFAR, 18), (ResNet_CIFAR, 34), (ResNet_CIFAR, 50)]
NETWORKS += [(ResNeXt, 50), (ResNeXt_CIFAR, 50)]


def reference(ours: nn.Module, depth: int, in_channels: int = 3) -> nn.Module:
    """torchvision's network, with the stem changed as every CIFAR code base does, and our weights."""
    grouped = isinstance(ours, ResNeXt | ResNeXt_CIFAR)
    with torch.device("meta"):
        net = torchvision.models.resnext50_32x4d() if grouped else RESNETS[depth]()
        if isinstance(ours, ResNet_CIFAR | ResNeXt_CIFAR):
            net.conv1 = nn.Conv2d(in_channels, 64, 3, stride=1, padding=1, bias=False)
            net.maxpool = nn.Identity()
        net.fc = nn.Identity()
    net.load_state_dict(ours.state_dict(), assign=True)
    return net


def awaken(network: nn.Module) -> None:
    """Blocks that start as the identity would hide most of the network from a test."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)


every_network = pytest.mark.parametrize(("build", "depth"), NETWORKS)


@every_network
def test_shapes_of_all_stages(build, depth):
    channels = tuple(width * (4 if depth == 50 else 1) for width in (64, 128, 256, 512))
    reduction = 4 if build in (ResNet, ResNeXt) else 1
    with torch.device("meta"):
        network = build(depth).eval()
        for size in [(32, 32), (33, 31), (7, 20), (1, 1)]:
            features = network(torch.empty(2, 3, *size))
            assert [tuple(f.shape) for f in features] == [
                (2, c, *(math.ceil(side / reduction / 2**i) for side in size)) for i, c in enumerate(channels)
            ]
    assert network.out_channels == channels
    assert network.stage_names == ("layer1", "layer2", "layer3", "layer4")


@every_network
def test_forward_is_torchvisions(build, depth):
    torch.manual_seed(depth)
    ours = build(depth).eval()
    awaken(ours)
    theirs = reference(ours, depth).eval()
    images = torch.rand(2, 3, 9, 12)
    with torch.no_grad():
        features = ours(images)
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
        for layer, feature in zip((theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), features, strict=True):
            x = layer(x)
            torch.testing.assert_close(feature, x)
        torch.testing.assert_close(features[-1].mean((2, 3)), theirs(images))


def test_training_forward_and_gradients_are_torchvisions():
    torch.manual_seed(0)
    ours = ResNet_CIFAR(18, in_channels=1)
    awaken(ours)
    theirs = reference(ours, 18, in_channels=1)
    images = torch.rand(2, 1, 8, 8)
    ours(images)[-1].mean((2, 3)).square().sum().backward()
    grads = [p.grad.clone() for p in ours.parameters()]
    ours.zero_grad()
    theirs(images).square().sum().backward()
    torch.testing.assert_close([p.grad for p in theirs.parameters()], grads)


@pytest.mark.parametrize(
    ("network", "depth", "name"),
    [(ResNet, depth, f"resnet{depth}") for depth in (18, 34, 50, 101, 152, 200)]
    + [(ResNeXt, depth, f"resnext{depth}_32x4d") for depth in (50, 101)],
)
def test_names_and_shapes_of_weights_are_timms(network, depth, name):
    """Which has depth 200 too, and torchvision's names."""
    with torch.device("meta"):
        ours = network(depth).state_dict()
        theirs = timm.create_model(name, pretrained=False, num_classes=0).state_dict()
        small = {ResNet: ResNet_CIFAR, ResNeXt: ResNeXt_CIFAR}[network](depth).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert small["conv1.weight"].shape == (64, 3, 3, 3)
    assert {k: v.shape for k, v in small.items() if k != "conv1.weight"} == {
        k: v.shape for k, v in ours.items() if k != "conv1.weight"
    }


@pytest.mark.parametrize("depth", RESNETS)
def test_names_and_shapes_of_weights_are_torchvisions(depth):
    with torch.device("meta"):
        ours = ResNet(depth).state_dict()
        theirs = RESNETS[depth]().state_dict()
    left = {k: v.shape for k, v in theirs.items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in ours.items()} == left


@pytest.mark.parametrize("given", [None, False, True])
@pytest.mark.parametrize(
    ("build", "depth", "default"),
    [(ResNet, 18, False), (ResNet_CIFAR, 18, True), (ResNeXt, 50, False), (ResNeXt_CIFAR, 50, True)],
)
def test_whether_every_block_starts_as_the_identity(build, depth, default, given):
    network = build(depth) if given is None else build(depth, zero_init_residual=given)
    expected = default if given is None else given
    blocks = [block for stage in network.stage_names for block in network.get_submodule(stage)]
    assert len(blocks) == {18: 8, 50: 16}[depth]
    for block in blocks:
        norms = [m for name, m in block.named_children() if name.startswith("bn")]
        assert [bool((m.weight == 0).all()) for m in norms] == [False] * (len(norms) - 1) + [expected]
        assert all((m.weight == 1).all() for m in norms[:-1])
    x = torch.rand(2, network.out_channels[0], 4, 4)
    assert torch.equal(network.layer1[1](x), x) is expected


def test_groups():
    with torch.device("meta"):
        conv = ResNeXt_CIFAR(50, groups=8, width_per_group=6).layer2[1].conv2
    assert (conv.groups, conv.in_channels, conv.out_channels) == (8, 96, 96)


@pytest.mark.parametrize("network", [ResNet, ResNet_CIFAR])
def test_initial_weights(network):
    """He's rule, fan out: standard deviation sqrt(2 / (channels out * kernel area))."""
    torch.manual_seed(0)
    for name, conv in network(18).named_modules():
        if isinstance(conv, nn.Conv2d):
            expected = math.sqrt(2 / (conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]))
            deviation = conv.weight.std().item() / expected - 1
            assert abs(deviation) < 4 / math.sqrt(2 * conv.weight.numel()), name
            assert conv.bias is None


@pytest.mark.parametrize("depth", [18, 50])
def test_initial_weights_of_a_seed_are_those_of_earlier_runs(depth):
    """torchvision's whole network with one class is drawn first, the stem after it."""
    torch.manual_seed(5)
    whole = RESNETS[depth](num_classes=1, zero_init_residual=True)
    whole.conv1 = nn.Conv2d(1, 64, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(whole.conv1.weight, mode="fan_out", nonlinearity="relu")
    torch.manual_seed(5)
    ours = ResNet_CIFAR(depth, in_channels=1).state_dict()
    expected = {k: v for k, v in whole.state_dict().items() if not k.startswith("fc.")}
    assert list(ours) == list(expected)
    assert all(torch.equal(ours[k], expected[k]) for k in expected)


@pytest.mark.parametrize("depth", [0, 20, "18", 50.0, [50]])
@pytest.mark.parametrize(
    ("network", "known"),
    [
        (ResNet, "18, 34, 50, 101, 152, 200"),
        (ResNet_CIFAR, "18, 34, 50, 101, 152, 200"),
        (ResNeXt, "50, 101, 152"),
        (ResNeXt_CIFAR, "50, 101, 152"),
    ],
)
def test_other_depths_are_refused(network, known, depth):
    with pytest.raises(ValueError, match=re.escape(f"depth must be one of {known}, got {depth!r}")):
        network(depth)


@pytest.mark.parametrize("network", [ResNeXt, ResNeXt_CIFAR])
@pytest.mark.parametrize("argument", ["groups", "width_per_group"])
@pytest.mark.parametrize("value", [0, -2, 4.0, "4"])
def test_other_groups_are_refused(network, argument, value):
    with pytest.raises(ValueError, match=f"^{argument} must be an integer of at least 1, got {value!r}"):
        network(50, **{argument: value})


@pytest.mark.parametrize(("network", "depth"), [(ResNet, 18), (ResNet_CIFAR, 18), (ResNeXt, 50), (ResNeXt_CIFAR, 50)])
def test_a_word_is_no_yes_or_no(network, depth):
    with pytest.raises(ValueError, match="zero_init_residual must be True or False, got 'no'"):
        network(depth, zero_init_residual="no")
