"""A gradient that is known already, as a part of a loss: the same as the graph that it came from."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from openmix.ops.replay import with_gradients


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def losses(net):
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    return F.cross_entropy(net(x), torch.tensor([0, 1, 1, 0])), net(x.flip(0)).square().mean()


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_equal_to_the_sum_of_both_graphs(net, scale):
    first, second = losses(net)
    (scale * (first + second)).backward()
    wanted = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    first, second = losses(net)
    parameters = list(net.parameters())
    known = torch.autograd.grad(first, parameters)
    total = second + with_gradients(first, parameters, known)
    torch.testing.assert_close(total, first + second)
    (scale * total).backward()
    torch.testing.assert_close([p.grad for p in net.parameters()], wanted)


def test_some_parameters_only(net):
    parameters = list(net.parameters())[:1]
    with_gradients(torch.tensor(1.0), parameters, [torch.ones_like(parameters[0])]).backward()
    assert torch.equal(parameters[0].grad, torch.ones(5, 3))
    assert all(p.grad is None for p in list(net.parameters())[1:])
