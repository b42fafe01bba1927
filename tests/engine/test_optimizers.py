"""LARS, MAE's and apex's, against loops over parameters."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from openmix.engine.optim import load_optimizer_state
from openmix.engine.optimizers import LARS
from openmix.registry import OPTIMIZERS, build


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 3))
    nn.init.zeros_(net[4].weight)  # of norm 0: not scaled in the first step
    return net.double()


def losses(net: nn.Module, step: int) -> torch.Tensor:
    images = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    return (net(images) - 1).square().mean()


def by_loop(net: nn.Module, steps: int, lr: float, momentum: float, decay: float, trust: float, flat: bool) -> None:
    """``flat`` tells whether parameters of one dimension are treated as the others."""
    gathered: dict[str, torch.Tensor] = {}
    for step in range(steps):
        net.zero_grad()
        losses(net, step).backward()
        with torch.no_grad():
            for name, p in net.named_parameters():
                update = p.grad.clone()
                if p.ndim > 1 or flat:
                    update += decay * p
                    norms = p.square().sum().sqrt(), update.square().sum().sqrt()
                    update *= trust * norms[0] / norms[1] if norms[0] > 0 and norms[1] > 0 else 1
                gathered[name] = momentum * gathered[name] + update if name in gathered else update
                p -= lr * gathered[name]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_maes_rule(decay):
    ours, theirs = network(), network()
    optimizer = LARS(ours.parameters(), lr=0.5, momentum=0.8, weight_decay=decay, trust_coefficient=0.01)
    for step in range(4):
        optimizer.zero_grad()
        losses(ours, step).backward()
        optimizer.step()
    by_loop(theirs, 4, 0.5, 0.8, decay, 0.01, flat=False)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)


def test_timms_is_apexs_without_clipping_where_it_always_adapts():
    """MoCo's probe: LARC around SGD, trust 0.001, no decay; biases are scaled as well."""
    ours, theirs = network(), network()
    cfg: dict[str, Any] = {"type": "Lars", "lr": 1.6, "momentum": 0.9, "trust_coeff": 0.001, "always_adapt": True}
    optimizer = build(cfg, OPTIMIZERS, params=list(ours.parameters()))
    for step in range(4):
        optimizer.zero_grad()
        losses(ours, step).backward()
        optimizer.step()
    by_loop(theirs, 4, 1.6, 0.9, 0.0, 0.001, flat=True)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)


def test_its_state_can_be_resumed():
    nets = [network(), network()]
    first = LARS(nets[0].parameters(), lr=0.1)
    losses(nets[0], 0).backward()
    first.step()
    nets[1].load_state_dict(copy.deepcopy(nets[0].state_dict()))
    second = LARS(nets[1].parameters(), lr=0.1)
    load_optimizer_state(second, copy.deepcopy(first.state_dict()))
    for net, optimizer in zip(nets, (first, second), strict=True):
        optimizer.zero_grad()
        losses(net, 1).backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"momentum": 1.0}, {"weight_decay": -0.1}, {"trust_coefficient": 0.0}])
def test_out_of_range(wrong):
    with pytest.raises(ValueError, match="lr and weight_decay must be at least 0"):
        LARS(network().parameters(), **{"lr": 0.1, **wrong})
