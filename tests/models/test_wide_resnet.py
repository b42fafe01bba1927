"""WideResNet: stages, initial weights, dropout and arguments. Its forward pass is in test_residual_by_hand.py."""

import math

import pytest
import torch
from torch import nn

from openmix.models import WideResNet

VARIANTS = ["paper", "faa", "rmix", "openmixup"]


@pytest.fixture(params=VARIANTS)
def variant(request) -> str:
    return request.param


@pytest.mark.parametrize("size", [(32, 32), (33, 31), (1, 5)])
def test_shapes_of_all_stages(variant, size):
    with torch.device("meta"):
        network = WideResNet(16, 8, variant, in_channels=1)
        features = network(torch.empty(2, 1, *size))
    (h1, h2, h3), (w1, w2, w3) = ([math.ceil(side / 2**i) for i in range(3)] for side in size)
    assert [tuple(f.shape) for f in features] == [(2, 128, h1, w1), (2, 256, h2, w2), (2, 512, h3, w3)]
    assert network.out_channels == (128, 256, 512)
    assert [len(network.get_submodule(stage)) for stage in network.stage_names] == [2, 2, 2]


def test_initial_weights(variant):
    """He's rule has deviation sqrt(2 / (channels out * kernel area)); torch's own is uniform, to 1 / sqrt(fan in)."""
    torch.manual_seed(0)
    for name, conv in WideResNet(10, 2, variant).named_modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        area = conv.kernel_size[0] * conv.kernel_size[1]
        bound = 1 / math.sqrt(conv.in_channels * area)
        he = variant in ("paper", "openmixup")
        expected = math.sqrt(2 / (conv.out_channels * area)) if he else bound / math.sqrt(3)
        assert abs(conv.weight.std().item() / expected - 1) < 5 / math.sqrt(2 * conv.weight.numel()), name
        assert (conv.weight.abs().max() <= bound) == (not he), name
        if variant == "paper":
            assert conv.bias is None
        else:
            assert bool((conv.bias == 0).all()) is he
            assert conv.bias.abs().max() <= bound


@pytest.mark.parametrize(
    ("variant", "inner", "last"),
    [
        ("paper", (0.1, 1e-5), (0.1, 1e-5)),
        ("faa", (0.1, 1e-5), (0.1, 1e-5)),
        ("rmix", (0.1, 1e-5), (0.9, 1e-5)),
        ("openmixup", (0.001, 0.001), (0.001, 0.001)),
    ],
)
def test_batch_norms(variant, inner, last):
    network = WideResNet(10, 1, variant)
    norms = [(m.momentum, m.eps) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [inner] * 6 + [last]


def test_where_dropout_is(variant):
    """What is dropped reaches the second convolution as it is, or through BatchNorm and ReLU."""
    torch.manual_seed(0)
    block = WideResNet(10, 1, variant, drop_rate=0.3).layer2[0]
    (dropout,) = [m for m in block.modules() if isinstance(m, nn.Dropout)]
    assert dropout.p == 0.3
    seen = {}
    dropout.register_forward_hook(lambda m, args, out: out.zero_().add_(torch.arange(32.0)[:, None, None]))
    for name in ("bn2", "conv2"):
        block.get_submodule(name).register_forward_hook(lambda m, args, out, name=name: seen.update({name: args[0]}))
    block(torch.rand(4, 16, 6, 6))
    early = variant in ("faa", "rmix")
    marked = seen["bn2" if early else "conv2"]
    assert torch.equal(marked, torch.arange(32.0)[:, None, None].expand_as(marked))


def test_dropout_is_for_training_alone():
    torch.manual_seed(0)
    network = WideResNet(10, 2, drop_rate=0.5)
    images = torch.rand(2, 3, 16, 16)
    one, two = network(images)[-1], network(images)[-1]
    assert not torch.equal(one, two)
    network.eval()
    assert torch.equal(network(images)[-1], network(images)[-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 18}, r"depth must be 6n \+ 4 with n >= 1, got 18"),
        ({"depth": 4}, r"depth must be 6n \+ 4 with n >= 1, got 4"),
        ({"depth": 28.0}, r"depth must be 6n \+ 4 with n >= 1, got 28.0"),
        ({"depth": "28"}, r"depth must be 6n \+ 4 with n >= 1, got '28'"),
        ({"depth": -2}, r"depth must be 6n \+ 4"),
        ({"widen_factor": 0}, "widen_factor must be an integer of at least 1, got 0"),
        ({"widen_factor": 2.5}, "widen_factor must be an integer of at least 1, got 2.5"),
        ({"variant": "classic"}, "variant must be one of 'paper', 'faa', 'rmix', 'openmixup', got 'classic'"),
        ({"variant": ["paper"]}, r"variant must be one of .*, got \['paper'\]"),
        ({"drop_rate": 1.0}, r"drop_rate must be a number in \[0, 1\), got 1.0"),
        ({"drop_rate": "0.3"}, r"drop_rate must be a number in \[0, 1\), got '0.3'"),
        ({"drop_rate": -0.1}, r"drop_rate must be a number in \[0, 1\)"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WideResNet(**{"depth": 10, "widen_factor": 1, **arguments})
