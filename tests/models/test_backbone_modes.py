"""Backbones compute the same in every memory format, precision and way to run them."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from openmix.models import PreActResNet, ResNet, ResNet_CIFAR, ResNeXt29_4_24, ResNeXt_CIFAR, WideResNet

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ResNet": lambda: ResNet(18),
    "ResNet_CIFAR": lambda: ResNet_CIFAR(18),
    "ResNeXt_CIFAR": lambda: ResNeXt_CIFAR(50, groups=4),
    "WideResNet-paper": lambda: WideResNet(10, 2, "paper"),
    "WideResNet-faa": lambda: WideResNet(10, 2, "faa"),
    "WideResNet-openmixup": lambda: WideResNet(10, 2, "openmixup"),
    "PreActResNet": lambda: PreActResNet(18),
    "ResNeXt29_4_24": lambda: ResNeXt29_4_24(),
}
ONE_OF_EACH_FILE = ["ResNet_CIFAR", "WideResNet-openmixup", "PreActResNet", "ResNeXt29_4_24"]


def make(name: str) -> nn.Module:
    """With BatchNorms that let every block be seen."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
    return network


def images() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """The largest relative distance between two of the maps."""
    pairs = zip(ours, theirs, strict=True)
    return max(((a.double() - b.double()).norm() / b.double().norm()).item() for a, b in pairs)


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last(name):
    network = make(name).eval()
    with torch.no_grad():
        expected = network(images())
        features = network.to(memory_format=torch.channels_last)(images().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    assert all(f.is_contiguous(memory_format=torch.channels_last) for f in features)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16(name):
    """8 bits of mantissa are 0.4 per cent a rounding; some dozens of them follow one another."""
    network = make(name).eval()
    with torch.no_grad():
        expected = network(images())
        with torch.autocast("cpu", torch.bfloat16):
            mixed = network(images())
        pure = network.bfloat16()(images().bfloat16())
    assert distance(mixed, expected) < 0.02
    assert all(f.dtype == torch.bfloat16 for f in pure)
    assert distance(pure, expected) < 0.02


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_finite_and_reach_every_weight(name):
    network = make(name).train()
    loss = network(images())[-1].mean((2, 3)).logsumexp(1).sum()
    loss.backward()
    for key, p in network.named_parameters():
        assert torch.isfinite(p.grad).all(), key
        assert p.grad.abs().sum() > 0, key


def compiled(network: nn.Module, backend: str) -> nn.Module:
    """Compile into one graph, or fail."""
    torch.compiler.reset()
    return torch.compile(network, backend=backend, fullgraph=True)


@pytest.mark.parametrize("name", ONE_OF_EACH_FILE)
def test_compiled(name):
    network = make(name).double().eval()
    with torch.no_grad():
        expected = network(images().double())
        torch.testing.assert_close(compiled(network, "aot_eager")(images().double()), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet_CIFAR", "WideResNet-openmixup"])
def test_training_step_compiled_with_inductor(name):
    """Gradients, and the running statistics that it leaves behind."""
    one, two = make(name).double(), make(name).double()
    for forward in (one, compiled(two, "inductor")):
        forward(images().double())[-1].mean((2, 3)).logsumexp(1).sum().backward()
    for (key, p), q in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-6, atol=1e-9, msg=lambda m, key=key: f"{key}: {m}")
    torch.testing.assert_close(two.state_dict(), one.state_dict())
