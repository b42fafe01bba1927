"""Backbones: shapes, names, sizes as published, and a forward pass written out."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.models import resnet18, resnet34, resnet50

from openmix.models import ClsHead, ConvNet, GlobalAveragePooling, ResNet_CIFAR


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("net", "shapes"),
    [
        (ConvNet(), [(32, 20, 12), (64, 10, 6), (128, 5, 3)]),
        (ConvNet([3, 5], in_channels=3), [(3, 20, 12), (5, 10, 6)]),
        (ResNet_CIFAR(18), [(64, 20, 12), (128, 10, 6), (256, 5, 3), (512, 3, 2)]),
        (ResNet_CIFAR(50), [(256, 20, 12), (512, 10, 6), (1024, 5, 3), (2048, 3, 2)]),
    ],
)
def test_shapes_and_names_of_the_stages(net, shapes):
    features = net(torch.rand(2, 3, 20, 12))
    assert [tuple(f.shape) for f in features] == [(2, *shape) for shape in shapes]
    assert net.out_channels == tuple(shape[0] for shape in shapes)
    assert len(net.stage_names) == len(shapes)
    outputs = {}
    for name in net.stage_names:
        net.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: outputs.update({name: o}))
    features = net(torch.rand(2, 3, 20, 12))
    assert all(outputs[name] is feature for name, feature in zip(net.stage_names, features, strict=True))


def test_sizes():
    """11,173,962 is what the 3x3-stem ResNet-18 has in the CIFAR literature, with its head for 10 classes."""
    assert count(ResNet_CIFAR(18)) == 11_168_832
    assert count(ResNet_CIFAR(18)) + count(ClsHead(10, 512)) == 11_173_962
    assert count(ConvNet()) == 287_648  # 0.29 M, as its docstring says
    for depth, full in ((18, resnet18), (34, resnet34), (50, resnet50)):
        with torch.device("meta"):
            stem = 64 * 3 * (7 * 7 - 3 * 3)  # the only parameters in which they differ, but for the classifier
            reference = full()
            assert count(ResNet_CIFAR(depth)) == count(reference) - count(reference.fc) - stem


def test_convnet_takes_the_multiplications_of_its_docstring():
    net, taken = ConvNet(), []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda m, i, o: taken.append(m.weight.numel() * o.shape[2] * o.shape[3]))
    net(torch.zeros(1, 3, 32, 32))
    assert len(taken) == 6
    assert round(sum(taken) / 1e6) == 39


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("training", [False, True])
def test_forward_is_torchvisions_without_its_stem(depth, training):
    """torchvision's own network, its 7x7 convolution exchanged and its max-pool left out, with the same weights."""
    torch.manual_seed(0)
    ours = ResNet_CIFAR(depth).train(training)
    theirs = {18: resnet18, 34: resnet34, 50: resnet50}[depth]().train(training)
    theirs.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert missing.missing_keys == ["fc.weight", "fc.bias"]
    assert missing.unexpected_keys == []
    images = torch.rand(3, 3, 16, 16)
    x = F.relu(theirs.bn1(theirs.conv1(images)))
    for layer, feature in zip((theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), ours(images), strict=True):
        x = layer(x)
        torch.testing.assert_close(feature, x)


def test_every_block_starts_as_the_identity():
    """Where nothing changes shape: BatchNorm's last weight is 0."""
    net = ResNet_CIFAR(18).eval()
    x = torch.rand(1, 64, 8, 8)
    torch.testing.assert_close(net.layer1(x), x)


def test_channels_of_the_images():
    assert ResNet_CIFAR(18, in_channels=1)(torch.rand(1, 1, 8, 8))[-1].shape == (1, 512, 1, 1)
    with pytest.raises(ValueError, match="depth must be one of 18, 34, 50, got 20"):
        ResNet_CIFAR(20)


def test_pooling_is_the_mean_of_the_last_map():
    features = (torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 6))
    pooled = GlobalAveragePooling()(features)
    for b in range(2):
        for c in range(5):
            assert pooled[b, c].item() == pytest.approx(sum(features[1][b, c].flatten().tolist()) / 24)
