"""PyramidNet against a functional one that is written from the papers, ShakeDrop's noise included."""

import copy
import math
from collections.abc import Iterator
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openmix.models import ClsHead
from openmix.models.backbones.pyramidnet import PyramidNet
from openmix.models.shake import ShakeDrop

# two blocks a stage of 16 + 3 k channels
TINY = {
    "basic": lambda **kw: PyramidNet(14, 18, **kw),
    "bottleneck": lambda **kw: PyramidNet(20, 18, bottleneck=True, **kw),
}


def make(name: str, **arguments) -> nn.Module:
    """With norms that are not the identity, and in double precision."""
    torch.manual_seed(0)
    network = TINY[name](**arguments).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def images(batch: int = 3, height: int = 8, width: int = 12) -> Tensor:
    return torch.randn(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# the oracle

Weights = dict[str, Tensor]


def norm(p: Weights, name: str, x: Tensor, training: bool) -> Tensor:
    mean, var = p[f"{name}.running_mean"], p[f"{name}.running_var"]
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    mean, var, scale, shift = (v[:, None, None] for v in (mean, var, p[f"{name}.weight"], p[f"{name}.bias"]))
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def branch(p: Weights, name: str, x: Tensor, stride: int, bottleneck: bool, training: bool) -> Tensor:
    x = norm(p, f"{name}.bn1", x, training)
    if bottleneck:
        x = norm(p, f"{name}.bn2", F.conv2d(x, p[f"{name}.conv1.weight"]), training).relu()
        x = F.conv2d(x, p[f"{name}.conv2.weight"], stride=stride, padding=1)
        x = norm(p, f"{name}.bn3", x, training).relu()
        return norm(p, f"{name}.bn4", F.conv2d(x, p[f"{name}.conv3.weight"]), training)
    x = F.conv2d(x, p[f"{name}.conv1.weight"], stride=stride, padding=1)
    x = norm(p, f"{name}.bn2", x, training).relu()
    return norm(p, f"{name}.bn3", F.conv2d(x, p[f"{name}.conv2.weight"], padding=1), training)


def halved(x: Tensor) -> Tensor:
    """The means over 2x2 pixels, of those that there are at odd edges."""
    height, width = (math.ceil(size / 2) for size in x.shape[2:])
    out = x.new_zeros(*x.shape[:2], height, width)
    for i in range(height):
        for j in range(width):
            out[:, :, i, j] = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((2, 3))
    return out


def oracle(p: Weights, x: Tensor, bottleneck: bool, noise: Iterator[tuple], training: bool) -> list[Tensor]:
    """Return the stages' maps and, last, what is pooled, of networks with two blocks a stage."""
    x = norm(p, "bn1", F.conv2d(x, p["conv1.weight"], padding=1), training)
    maps = []
    for stage in (1, 2, 3):
        for block in (0, 1):
            strided = stage > 1 and block == 0
            y = branch(p, f"layer{stage}.{block}", x, 2 if strided else 1, bottleneck, training)
            alpha, beta = next(noise)
            y = beta * y + ((alpha - beta) * y).detach()
            shortcut = halved(x) if strided else x
            zeros = shortcut.new_zeros(len(x), y.shape[1] - x.shape[1], *y.shape[2:])
            x = y + torch.cat((shortcut, zeros), 1)
        maps.append(x)
    return [*maps, norm(p, "bn_final", x, training).relu()]


def certain(shakedrop: float) -> Iterator[tuple]:
    """The means of the factors: the share of six blocks that stay, from the first to the last."""
    for k in range(1, 7):
        yield 1 - shakedrop * k / 6, 1 - shakedrop * k / 6


def noise_of(seed: int, shakedrop: float, count: int) -> Iterator[tuple]:
    """Replay the draws of a network: for each block the gate, then alphas and betas."""
    torch.manual_seed(seed)
    for keep, _ in certain(shakedrop):
        stays = torch.rand(()) < keep
        alpha, beta = torch.rand(2, count, 1, 1, 1).double()
        yield (1.0, 1.0) if stays else (2 * alpha - 1, beta)


@pytest.mark.parametrize("shakedrop", [0.0, 0.6])
@pytest.mark.parametrize("size", [(8, 12), (9, 7)])
@pytest.mark.parametrize("name", TINY)
def test_evaluation(name, size, shakedrop):
    network = make(name, shakedrop=shakedrop).eval()
    x = images(2, *size)
    expected = oracle(dict(network.state_dict()), x, name == "bottleneck", certain(shakedrop), False)
    assert network.out_channels == tuple(m.shape[1] for m in expected[:3])
    torch.testing.assert_close(network(x), (*expected[:2], expected[3]))
    torch.testing.assert_close(network.layer3(network(x)[1]), expected[2])


@pytest.mark.parametrize(("shakedrop", "level"), [(0.0, "image"), (1.0, "image"), (1.0, "batch")])
@pytest.mark.parametrize("name", TINY)
def test_training_and_its_gradients(name, shakedrop, level):
    network = make(name, shakedrop=shakedrop, level=level).train()
    weights = dict(network.named_parameters())
    copies = {k: p.detach().clone().requires_grad_() for k, p in weights.items()}
    noise = noise_of(7, shakedrop, 3 if level == "image" else 1)
    expected = oracle({**network.state_dict(), **copies}, images(), name == "bottleneck", noise, True)
    torch.manual_seed(7)
    features = network(images())
    torch.testing.assert_close(features, (*expected[:2], expected[3]))
    ours = torch.autograd.grad(features[-1].square().sum(), weights.values())
    theirs = torch.autograd.grad(expected[-1].square().sum(), copies.values())
    torch.testing.assert_close(ours, theirs)
    assert all(torch.isfinite(g).all() for g in ours)


# sizes


def count(depth: int, alpha: int, bottleneck: bool, classes: int) -> int:
    """Parameters of a network with a linear classifier: weights of convolutions, and two a channel for each norm."""
    blocks = (depth - 2) // (3 if bottleneck else 2)
    total, channels = 27 * 16 + 2 * 16, 16
    for k in range(1, blocks + 1):
        width = round(16 + Fraction(alpha * k, blocks))
        if bottleneck:
            total += 2 * channels + channels * width + 2 * width + 9 * width**2 + 2 * width + 4 * width**2 + 8 * width
            channels = 4 * width
        else:
            total += 2 * channels + 9 * channels * width + 2 * width + 9 * width**2 + 2 * width
            channels = width
    return total + 2 * channels + (channels + 1) * classes


# depth, alpha, bottleneck, the authors' millions of parameters and channels of the last map, parameters for 10 classes
PUBLISHED = [
    (110, 48, False, 1.7, 64, 1_772_706),
    (110, 84, False, 3.8, 100, 3_904_446),
    (110, 270, False, 28.3, 286, 28_485_477),
    (164, 48, True, 1.7, 256, 1_715_442),
    (164, 84, True, 3.8, 400, 3_757_494),
    (164, 270, True, 27.0, 1144, 27_216_021),
    (200, 240, True, 26.6, 1024, 26_752_702),
    (236, 220, True, 26.8, 944, 26_969_046),
    (272, 200, True, 26.0, 864, 26_210_842),
]


@pytest.mark.parametrize(("depth", "alpha", "bottleneck", "millions", "channels", "parameters"), PUBLISHED)
def test_parameters(depth, alpha, bottleneck, millions, channels, parameters):
    """The authors' millions are those of their first code; their last map is exactly ours."""
    with torch.device("meta"):
        network = PyramidNet(depth, alpha, bottleneck, shakedrop=0.5)
        heads = [ClsHead(classes, channels) for classes in (10, 100)]
    assert network.out_channels[-1] == channels
    body = sum(p.numel() for p in network.parameters())
    totals = [body + sum(p.numel() for p in head.parameters()) for head in heads]
    assert totals == [count(depth, alpha, bottleneck, 10), count(depth, alpha, bottleneck, 100)]
    assert totals[0] == parameters
    assert abs(parameters / 1e6 / millions - 1) < 0.05


def widths_of(*arguments) -> list[int]:
    with torch.device("meta"):
        network = PyramidNet(*arguments)
    return [block.conv1.out_channels for name in network.stage_names for block in network.get_submodule(name)]


def test_widths_round_ties_to_even():
    widths = widths_of(110, 270, True)  # by 7.5 a block, which adds up without an error
    assert widths[:6] == [24, 31, 38, 46, 54, 61]
    assert widths[-1] == 286


def test_widths_are_added_up_as_the_authors_do():
    """By 45 / 54 a block: what would be 23.5, 33.5 and 48.5 is a little less or more."""
    widths = widths_of(110, 45)
    assert [widths[block - 1] for block in (9, 21, 39)] == [23, 33, 49]
    near = [Fraction(16) + Fraction(45 * block, 54) for block in range(1, 55)]
    assert all(abs(width - exact) <= Fraction(1, 2) for width, exact in zip(widths, near, strict=True))


@pytest.mark.parametrize("bottleneck", [False, True])
def test_stages(bottleneck):
    with torch.device("meta"):
        network = PyramidNet(29 if bottleneck else 20, 90, bottleneck)
        maps = network(torch.empty(2, 3, 32, 32))
    channels = [c * (4 if bottleneck else 1) for c in (46, 76, 106)]
    assert [tuple(m.shape) for m in maps] == [(2, c, s, s) for c, s in zip(channels, (32, 16, 8), strict=True)]
    assert network.out_channels == tuple(channels)
    assert [len(network.get_submodule(name)) for name in network.stage_names] == [3, 3, 3]


def test_names_are_the_authors():
    """Of everything that is saved, but for the classifier ``fc``."""
    norm_keys = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    for bottleneck, convs in ((False, 2), (True, 3)):
        with torch.device("meta"):
            network = PyramidNet(20, 9, bottleneck, shakedrop=0.5)
        blocks = [f"layer{stage}.{i}" for stage in (1, 2, 3) for i in range(2 if bottleneck else 3)]
        expected = {"conv1.weight", *(f"{name}.{key}" for name in ("bn1", "bn_final") for key in norm_keys)}
        expected |= {f"{block}.conv{i + 1}.weight" for block in blocks for i in range(convs)}
        expected |= {f"{block}.bn{i + 1}.{key}" for block in blocks for i in range(convs + 1) for key in norm_keys}
        assert set(network.state_dict()) == expected


def test_blocks_are_dropped_the_more_the_later_they_are():
    network = PyramidNet(20, 9, shakedrop=0.5, level="batch")
    noises = [m for m in network.modules() if isinstance(m, ShakeDrop)]
    assert [m.keep_prob for m in noises] == pytest.approx([1 - 0.5 * k / 9 for k in range(1, 10)])
    assert {m.level for m in noises} == {"batch"}
    assert not any(isinstance(m, ShakeDrop) for m in PyramidNet(20, 9).modules())


def test_initial_weights():
    torch.manual_seed(0)
    for name, module in PyramidNet(20, 48).named_modules():
        if isinstance(module, nn.Conv2d):
            expected = math.sqrt(2 / (9 * module.out_channels))
            assert abs(module.weight.std().item() / expected - 1) < 5 / math.sqrt(2 * module.weight.numel()), name
            assert module.bias is None
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 112}, r"depth must be 6n \+ 2 with n >= 1, got 112"),
        ({"depth": 2}, r"depth must be 6n \+ 2 with n >= 1, got 2"),
        ({"depth": 110.0}, r"depth must be 6n \+ 2 with n >= 1, got 110.0"),
        ({"depth": 14, "bottleneck": True}, r"depth must be 9n \+ 2 with n >= 1, got 14"),
        ({"bottleneck": "no"}, "bottleneck must be True or False, got 'no'"),
        ({"alpha": -1}, "alpha must be an integer of at least 0, got -1"),
        ({"alpha": "48"}, "alpha must be an integer of at least 0, got '48'"),
        ({"shakedrop": 1.5}, r"shakedrop must be a number in \[0, 1\], got 1.5"),
        ({"level": "pixel"}, "level must be one of 'batch', 'image', got 'pixel'"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PyramidNet(**{"depth": 8, "alpha": 3, **arguments})


# ways to run them


@pytest.mark.parametrize("name", TINY)
def test_channels_last_and_bfloat16(name):
    network = make(name, shakedrop=1.0).float().train()
    x = images().float()
    results = []
    for way in ("plain", "channels_last", "bf16"):
        net = copy.deepcopy(network)
        layout = torch.channels_last if way == "channels_last" else torch.contiguous_format
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=way == "bf16"):
            features = net.to(memory_format=layout)(x.contiguous(memory_format=layout))
        assert all(f.is_contiguous(memory_format=layout) for f in features)
        assert features[-1].dtype == (torch.bfloat16 if way == "bf16" else torch.float32)
        features[-1].float().mean((2, 3)).logsumexp(1).sum().backward()
        gradients = [p.grad for p in net.parameters()]
        assert all(torch.isfinite(g).all() and g.dtype == torch.float32 for g in gradients)
        results.append(([f.float() for f in features], torch.cat([g.flatten() for g in gradients])))
    (maps, gradient), (maps_cl, gradient_cl), (maps_bf, gradient_bf) = results
    torch.testing.assert_close(maps_cl, maps, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient_cl, gradient, rtol=1e-3, atol=1e-4)
    assert max((a - b).norm() / b.norm() for a, b in zip(maps_bf, maps, strict=True)) < 0.05
    assert F.cosine_similarity(gradient_bf, gradient, dim=0) > 0.9


def test_compiled_with_the_same_noise():
    torch.compiler.reset()
    torch.manual_seed(0)
    network = PyramidNet(8, 6, shakedrop=1.0).double().train()
    results = []
    for forward in (network, torch.compile(network, backend="aot_eager", fullgraph=True)):
        torch.manual_seed(5)
        features = forward(images())
        results.append([*features, *torch.autograd.grad(features[-1].square().sum(), list(network.parameters()))])
    torch.testing.assert_close(results[1], results[0])
