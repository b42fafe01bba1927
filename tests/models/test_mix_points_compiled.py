"""Slots inside compiled networks of timm's: armed after the network was compiled, they count on every step."""

import copy

import pytest
import timm
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

import openmix
from openmix.mixers import manifoldmix
from openmix.models.mix_points import MixPoints

STAGES = {"test_resnet": ("layer1", "layer3"), "test_convnext": ("stages.0", "stages.2")}
CLASSES = 5


def build(name: str) -> nn.Module:
    """In double precision: BatchNorm over four values magnifies what kernels round differently."""
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, num_classes=CLASSES).double().train()


def step(net: nn.Module, forward: nn.Module, points: MixPoints, number: int) -> tuple[Tensor, str | None]:
    """Take a step, but for the update, that mixes at one layer or another; return the loss and the stage."""
    generator = torch.Generator().manual_seed(number)
    images = torch.rand(4, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (4,), generator=generator)
    mix = manifoldmix(labels, generator=generator, stages=points.stages, layers=[number % 3])
    net.zero_grad()
    images = mix.plan.apply(images) if mix.stage is None else images
    with points.armed(mix.stage, mix.plan):
        loss = openmix.mix_cross_entropy(forward(images), mix.target)
    loss.backward()
    return loss.detach(), mix.stage


def check(name: str, backend: object, wrapped: bool) -> None:
    """Compare a compiled network, first run with empty slots, with an eager one: losses and gradients of each step."""
    torch._dynamo.reset()
    eager = build(name)
    net = copy.deepcopy(eager)
    eager_points, points = MixPoints(eager, STAGES[name]), MixPoints(net, STAGES[name])
    if wrapped:
        forward = torch.compile(net, backend=backend)
    else:
        net.compile(backend=backend)
        forward = net
    forward(torch.zeros(4, 3, 32, 32, dtype=torch.float64))  # compiled now, while no slot is armed
    stages = set()
    for number in range(6):
        expected, stage = step(eager, eager, eager_points, number)
        loss, _ = step(net, forward, points, number)
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-8)  # lam is of single precision
        for p, q in zip(net.parameters(), eager.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=1e-8)
        stages.add(stage)
    assert stages == {None, *STAGES[name]}


@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "in place"])
@pytest.mark.parametrize("name", STAGES)
def test_a_compiled_network_mixes_on_every_step(name, wrapped):
    check(name, "eager", wrapped)


@pytest.mark.slow
def test_an_optimised_network_mixes_on_every_step():
    check("test_resnet", "inductor", wrapped=True)


@pytest.mark.parametrize("name", STAGES)
def test_one_graph_for_each_place(name):
    """Empty slots, the first, the second: no step compiles anew, and none breaks a graph in two."""
    torch._dynamo.reset()
    counter, net = CompileCounter(), build(name)
    points = MixPoints(net, STAGES[name])
    forward = torch.compile(net, backend=counter, fullgraph=True)
    for number in range(9):
        step(net, forward, points, number)
    assert counter.frame_count == 3
