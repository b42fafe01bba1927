"""DenseNet, VGG and MobileNetV2 against torchvision's whole networks, with the same weights."""

import copy
import math
import re

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.models.backbones.torchvision_nets import VGG, DenseNet, MobileNetV2
from openmix.models.heads import ClsHead
from openmix.models.mix_points import MixPoints
from openmix.models.necks import GlobalAveragePooling
from openmix.ops.plans import BlendPlan

# ours, torchvision's whole network
IMAGENET = {
    "densenet121": (lambda: DenseNet(121, stem="imagenet"), torchvision.models.densenet121),
    "densenet161": (lambda: DenseNet(161, stem="imagenet"), torchvision.models.densenet161),
    "densenet169": (lambda: DenseNet(169, stem="imagenet"), torchvision.models.densenet169),
    "densenet201": (lambda: DenseNet(201, stem="imagenet"), torchvision.models.densenet201),
    "mobilenet_v2": (lambda: MobileNetV2(stem="imagenet"), torchvision.models.mobilenet_v2),
    "mobilenet_v2_1.4": (
        lambda: MobileNetV2(1.4, stem="imagenet"),
        lambda **arguments: torchvision.models.mobilenet_v2(width_mult=1.4, **arguments),
    ),
    "vgg11_bn": (lambda: VGG(11), torchvision.models.vgg11_bn),
    "vgg13_bn": (lambda: VGG(13), torchvision.models.vgg13_bn),
    "vgg16_bn": (lambda: VGG(16), torchvision.models.vgg16_bn),
    "vgg19_bn": (lambda: VGG(19), torchvision.models.vgg19_bn),
}
SLOW = ("densenet161", "densenet169", "densenet201", "mobilenet_v2_1.4", "vgg13_bn", "vgg19_bn")
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in IMAGENET]

CIFAR = {
    "DenseNet": lambda **arguments: DenseNet(22, **arguments),
    "MobileNetV2": lambda **arguments: MobileNetV2(0.5, **arguments),
    "VGG": lambda **arguments: VGG(11, **arguments),
}


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def awaken(network: nn.Module, images: Tensor) -> None:
    """Let each BatchNorm have weights of its own, and statistics that are not those it was born with."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.1)
        norm.momentum = 0.9
    with torch.no_grad():
        network.train()(images)
    for norm in norms:
        norm.momentum = 0.1


def take_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """Load our weights into torchvision's network, by name."""
    state = {re.sub(r"^(first|layer\d+|last)\.", "features.", key): t for key, t in ours.state_dict().items()}
    assert len(state) == len(ours.state_dict())
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.startswith("classifier.") for key in missing)


@pytest.mark.parametrize("name", NAMES)
def test_forward_and_gradients_are_torchvisions(name):
    make, make_theirs = IMAGENET[name]
    torch.manual_seed(0)
    ours = make()
    images = torch.rand(2, 3, 64, 96)
    awaken(ours, images)
    with torch.device("meta"):
        theirs = make_theirs(num_classes=7)
    if not name.startswith("vgg"):
        theirs.classifier = nn.Linear(ours.out_channels[-1], 7)
    theirs.features.to_empty(device="cpu")
    take_weights(theirs, ours)

    expected = theirs.eval().features(images)
    with torch.no_grad():
        maps = ours.eval()(images)
    if name.startswith("densenet"):
        expected = F.relu(expected)
    torch.testing.assert_close(maps[-1], expected)
    assert expected.shape == (2, ours.out_channels[-1], 2, 3)
    assert tuple(m.shape[1] for m in maps) == ours.out_channels
    if not name.startswith("vgg"):  # whose classifier flattens the map
        logits = theirs.classifier(GlobalAveragePooling()(maps))
        torch.testing.assert_close(logits, theirs(images))

    weights = torch.rand_like(expected)
    (expected * weights).sum().backward()
    (ours(images)[-1] * weights).sum().backward()
    grads = [p.grad for p in theirs.features.parameters()]
    torch.testing.assert_close([p.grad for p in ours.parameters()], grads, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "classes", "expected"),
    [
        (lambda: DenseNet(121, stem="imagenet"), 1000, 7_978_856),  # torchvision's table
        (lambda: DenseNet(161, stem="imagenet"), 1000, 28_681_000),
        (lambda: DenseNet(169, stem="imagenet"), 1000, 14_149_480),
        (lambda: DenseNet(201, stem="imagenet"), 1000, 20_013_928),
        (lambda: DenseNet(100), 10, 769_162),  # the paper's 0.8 M
        (lambda: DenseNet(250, growth_rate=24), 10, 15_324_406),  # 15.3 M
        (lambda: DenseNet(190, growth_rate=40), 10, 25_624_430),  # 25.6 M
        (lambda: MobileNetV2(stem="imagenet"), 1000, 3_504_872),
        (lambda: VGG(11), 10, 9_231_114),  # what CIFAR code bases print
        (lambda: VGG(13), 10, 9_416_010),
        (lambda: VGG(16), 10, 14_728_266),
        (lambda: VGG(19), 10, 20_040_522),
    ],
)
def test_parameter_counts(make, classes, expected):
    with torch.device("meta"):
        network = make()
        assert count(network) + count(ClsHead(classes, network.out_channels[-1])) == expected


def bottleneck_densenet(layers: int, growth: int) -> list[int]:
    """Parameters of each stage of a CIFAR DenseNet-BC, and of its stem and last norm, from the paper."""
    channels, stages = 2 * growth, []
    for stage in range(3):
        parameters = 0
        if stage:
            parameters += 2 * channels + channels * (channels // 2)
            channels //= 2
        for _ in range(layers):
            parameters += 2 * channels + channels * 4 * growth + 2 * 4 * growth + 4 * growth * growth * 9
            channels += growth
        stages.append(parameters)
    return [27 * 2 * growth, *stages, 2 * channels]


@pytest.mark.parametrize("depth, growth", [(40, 12), (100, 12), (190, 40), (22, 5)])
def test_every_part_of_a_densenet(depth, growth):
    with torch.device("meta"):
        network = DenseNet(depth, growth)
    parts = [network.first, *(network.get_submodule(s) for s in network.stage_names), network.last]
    assert [count(part) for part in parts] == bottleneck_densenet((depth - 4) // 6, growth)


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (33, 17), (64, 96)])
def test_shapes_for_small_images(size):
    height, width = size
    with torch.device("meta"):
        images = torch.empty(2, 3, *size)
        dense, mobile, vgg = (make().eval()(images) for make in CIFAR.values())
    for i, m in enumerate(dense):
        assert m.shape[2:] == (height // 2**i, width // 2**i)
    for i, m in enumerate(mobile):
        assert m.shape[2:] == (math.ceil(height / 2**i), math.ceil(width / 2**i))
    for i, m in enumerate(vgg, 1):
        assert m.shape[2:] == (math.ceil(height / 2**i), math.ceil(width / 2**i))


@pytest.mark.parametrize("make", [lambda stem: DenseNet(121, stem=stem), lambda stem: MobileNetV2(stem=stem)])
def test_the_stem_for_small_images_keeps_four_times_as_much(make):
    with torch.device("meta"):
        large = make("imagenet")(torch.empty(2, 3, 128, 64))
        small = make("cifar")(torch.empty(2, 3, 32, 16))
    assert [m.shape for m in large] == [m.shape for m in small]


def test_mobilenets_strides_for_small_images():
    """The known change for CIFAR: of torchvision's network, the stem's stride and that of the second row."""
    torch.manual_seed(0)
    ours = MobileNetV2()
    images = torch.rand(2, 3, 32, 32)
    awaken(ours, images)
    theirs = torchvision.models.mobilenet_v2(num_classes=7)
    theirs.features[0][0].stride = theirs.features[2].conv[1][0].stride = (1, 1)
    take_weights(theirs, ours)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images)[-1], theirs.eval().features(images))


@pytest.mark.parametrize("name", CIFAR)
def test_a_mix_at_each_stage(name):
    torch.manual_seed(0)
    network = CIFAR[name]()
    images = torch.rand(4, 3, 32, 32)
    awaken(network, images)
    points = MixPoints(network.eval(), network.stage_names)
    lam, partner = torch.tensor([0.25, 0.5, 0.9, 0.0]).view(4, 1, 1, 1), torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        plain = network(images)
        for i, stage in enumerate(points.stages):
            with points.armed(stage, BlendPlan(partner, lam)):
                mixed = network(images)
            assert all(torch.equal(m, p) for m, p in zip(mixed[:i], plain[:i], strict=True))
            assert not any(torch.allclose(m, p) for m, p in zip(mixed[i:], plain[i:], strict=True))
            if stage != points.stages[-1]:
                torch.testing.assert_close(mixed[i], lam * plain[i] + (1 - lam) * plain[i][partner])
        assert all(torch.equal(m, p) for m, p in zip(network(images), plain, strict=True))


@pytest.mark.parametrize("name", CIFAR)
def test_channels_last_half_precision_and_a_copy(name):
    torch.manual_seed(0)
    network = CIFAR[name]()
    images = torch.rand(4, 3, 32, 32)
    awaken(network, images)
    with torch.no_grad():
        expected = network.eval()(images)
        last = copy.deepcopy(network).to(memory_format=torch.channels_last)
        for a, b in zip(last(images.to(memory_format=torch.channels_last)), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
        half = copy.deepcopy(network).to(torch.bfloat16)(images.to(torch.bfloat16))
        for a, b in zip(half, expected, strict=True):
            assert a.dtype == torch.bfloat16
            assert (a.float() - b).norm() < 0.1 * b.norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", CIFAR)
def test_compiled(name):
    torch.manual_seed(0)
    network = CIFAR[name]()
    images = torch.rand(4, 3, 32, 32)
    awaken(network, images)
    network.eval()
    grads = []
    for run in (network, torch.compile(network, backend="aot_eager", fullgraph=True)):
        network.zero_grad()
        sum(m.square().mean() for m in run(images)).backward()
        grads.append([p.grad.clone() for p in network.parameters()])
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-4)


def test_dropout_of_a_densenet():
    torch.manual_seed(0)
    network = DenseNet(10, growth_rate=16, drop_rate=0.5)
    images = torch.rand(4, 3, 8, 8)
    stem = network.first(images)
    added = network.layer1(stem)[:, stem.shape[1] :]
    assert 0.45 < (added == 0).float().mean() < 0.55
    assert torch.equal(network.eval()(images)[0], network(images)[0])


@pytest.mark.parametrize("name", CIFAR)
def test_initial_weights(name):
    """He's rule: standard deviation sqrt(2 / fan), fan in for DenseNet and out for the others, as torchvision."""
    torch.manual_seed(0)
    for key, conv in CIFAR[name](in_channels=4).named_modules():
        if isinstance(conv, nn.Conv2d):
            channels = conv.in_channels if name == "DenseNet" else conv.out_channels
            fan = channels // (conv.groups if name == "DenseNet" else 1) * conv.kernel_size[0] * conv.kernel_size[1]
            deviation = conv.weight.std().item() / math.sqrt(2 / fan) - 1
            assert abs(deviation) < 5 / math.sqrt(2 * conv.weight.numel()), key
            assert conv.bias is None or not conv.bias.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DenseNet(122), "depth must be one of 121, 161, 169, 201 or 6n .* 4, got 122"),
        (lambda: DenseNet(121.0), "depth must be an integer of at least 10, got 121.0"),
        (lambda: DenseNet(4), "depth must be an integer of at least 10, got 4"),
        (lambda: DenseNet(40, growth_rate=0), "growth_rate must be an integer of at least 1, got 0"),
        (lambda: DenseNet(40, growth_rate=12.0), "growth_rate must be an integer of at least 1, got 12.0"),
        (lambda: DenseNet(40, drop_rate=1.0), r"drop_rate must be a number in \[0, 1\), got 1.0"),
        (lambda: DenseNet(40, stem="small"), "stem must be one of 'imagenet', 'cifar', got 'small'"),
        (lambda: MobileNetV2(stem="small"), "stem must be one of 'imagenet', 'cifar', got 'small'"),
        (lambda: MobileNetV2(0.0), "width_mult must be a number above 0, got 0.0"),
        (lambda: MobileNetV2(math.nan), "width_mult must be a number above 0, got nan"),
        (lambda: MobileNetV2(math.inf), "width_mult must be a number above 0, got inf"),
        (lambda: VGG(12), "depth must be one of 11, 13, 16, 19, got 12"),
        (lambda: VGG(16.0), "depth must be one of 11, 13, 16, 19, got 16.0"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
