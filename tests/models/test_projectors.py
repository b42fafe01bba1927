"""Projectors: which layers there are, and what they compute."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from openmix.models import ProjectionMLP


def spelt(mlp: ProjectionMLP) -> str:
    """Return the layers as letters: a bias is +, BatchNorm B, without weight and bias b, ReLU r."""
    letters = []
    for layer in mlp.layers:
        match layer:
            case nn.Linear():
                letters.append(f"{layer.out_features}" + "+" * (layer.bias is not None))
            case nn.BatchNorm1d():
                letters.append("B" if layer.affine else "b")
            case nn.ReLU():
                letters.append("r")
    return " ".join(letters)


@pytest.mark.parametrize(
    ("channels", "norm", "layers"),
    [
        ([128], "hidden", "128+"),
        ([128], "first", "128+"),
        ([128], "all", "128 b"),
        ([20, 10], "none", "20+ r 10+"),
        ([20, 20, 10], "first", "20 B r 20+ r 10+"),
        ([20, 20, 10], "hidden", "20 B r 20 B r 10+"),
        ([20, 20, 20], "all", "20 B r 20 B r 20 b"),
    ],
)
def test_layers(channels, norm, layers):
    mlp = ProjectionMLP(6, channels, norm)
    assert spelt(mlp) == layers
    assert mlp.out_channels == channels[-1]
    assert mlp(torch.randn(4, 6)).shape == (4, channels[-1])


def test_what_they_compute():
    mlp, x = ProjectionMLP(3, [5, 2], "all"), torch.randn(7, 3)
    first, norm, _, second, _ = mlp.layers
    nn.init.normal_(norm.weight)
    hidden = x @ first.weight.T
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt() * norm.weight + norm.bias
    out = F.relu(hidden) @ second.weight.T
    out = (out - out.mean(0)) / (out.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(mlp(x), out, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": []}, "one linear layer at least"),
        ({"channels": 128}, "one linear layer at least"),
        ({"channels": [8, 0]}, "each of channels must be an integer of at least 1, got 0"),
        ({"channels": [8], "norm": "batch"}, "norm must be one of 'none', 'first', 'hidden', 'all'"),
        ({"channels": [8], "in_channels": 0}, "in_channels must be"),
    ],
)
def test_what_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        ProjectionMLP(**{"in_channels": 4, **arguments})
