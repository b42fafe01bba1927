"""Split BatchNorm against BatchNorm of each part."""

import copy
import pickle

import pytest
import timm.layers
import torch
from torch import nn

from openmix.errors import UserError
from openmix.models.split_batchnorm import SplitBatchNorm, SplitBatchNormAct, split_batchnorm

SHAPES = {nn.BatchNorm1d: (12, 3), nn.BatchNorm2d: (12, 3, 4, 5), nn.BatchNorm3d: (12, 3, 2, 2, 3)}


def norm_of(kind, **options) -> nn.Module:
    norm = kind(3, **options)
    for i, p in enumerate(norm.parameters()):
        nn.init.normal_(p, mean=1.0, generator=torch.Generator().manual_seed(i))
    return norm


def values(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1


def by_parts(norm, x, splits):
    """Let a norm see one part after the other, each from the same running statistics; image i is in part i % splits."""
    output, states = torch.empty_like(x), []
    for part in range(splits):
        own = copy.deepcopy(norm)
        own._parameters.update(norm._parameters)  # the same parameters, so that gradients add up in them
        output[part::splits] = own(x[part::splits])
        states.append(own.state_dict())
    return output, states


@pytest.mark.parametrize("splits", [2, 3, 6])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (nn.BatchNorm1d, {}),
        (nn.BatchNorm2d, {}),
        (nn.BatchNorm3d, {}),
        (nn.BatchNorm2d, {"affine": False}),
        (nn.BatchNorm2d, {"momentum": None}),
        (nn.BatchNorm2d, {"momentum": 0.4, "eps": 0.1}),
        (nn.BatchNorm2d, {"track_running_stats": False}),
        (timm.layers.BatchNormAct2d, {"act_layer": "silu"}),
    ],
)
def test_each_part_is_normalised_by_itself(kind, options, splits):
    """Outputs, gradients, running statistics over two batches, and what evaluation makes of them."""
    shape = SHAPES.get(kind, SHAPES[nn.BatchNorm2d])
    split, plain = norm_of(kind, **options), norm_of(kind, **options)
    assert split_batchnorm(nn.Sequential(split), splits) == 1
    assert split.state_dict().keys() == plain.state_dict().keys()
    for seed in range(2):
        one, other = (values(shape, seed).requires_grad_() for _ in range(2))
        weights = values(shape, 9)
        output = split(one)
        expected, states = by_parts(plain, other, splits)
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
        (output * weights).sum().backward()
        (expected * weights).sum().backward()
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)
        for p, q in zip(split.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-4)
        for name in ("running_mean", "running_var"):
            if options.get("track_running_stats", True):
                mean = torch.stack([state[name] for state in states]).mean(0)
                getattr(plain, name).copy_(mean)
                torch.testing.assert_close(getattr(split, name), mean)
        if options.get("track_running_stats", True):
            plain.num_batches_tracked.add_(1)
            assert split.num_batches_tracked == seed + 1
    torch.testing.assert_close(split.eval()(values(shape, 5)), plain.eval()(values(shape, 5)))


def test_parts_differ_from_the_whole_and_neighbours_are_in_other_parts():
    split = nn.BatchNorm1d(1)
    split_batchnorm(split, 2)
    x = torch.tensor([[0.0], [10.0], [2.0], [30.0]])  # the even ones are alike, the odd ones are alike
    torch.testing.assert_close(split(x), torch.tensor([[-1.0], [-1.0], [1.0], [1.0]]), rtol=1e-4, atol=1e-4)


def test_channels_last_stays():
    split, plain = norm_of(nn.BatchNorm2d), norm_of(nn.BatchNorm2d)
    split_batchnorm(split, 3)
    x = values(SHAPES[nn.BatchNorm2d]).contiguous(memory_format=torch.channels_last)
    output = split(x)
    assert output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output, by_parts(plain, x, 3)[0], rtol=1e-5, atol=1e-5)


def test_bfloat16_is_normalised_as_batchnorm_does():
    split, plain = norm_of(nn.BatchNorm2d), norm_of(nn.BatchNorm2d)
    split_batchnorm(split, 2)
    x = values(SHAPES[nn.BatchNorm2d]).bfloat16()
    assert split(x).dtype == torch.bfloat16
    torch.testing.assert_close(split(x), by_parts(plain, x, 2)[0])


def test_a_batch_that_cannot_be_divided():
    split = nn.BatchNorm1d(3)
    split_batchnorm(split, 8)
    with pytest.raises(UserError, match=r"a batch of 12 images cannot be divided into splits=8 equal parts"):
        split(torch.randn(12, 3))
    assert split.num_batches_tracked == 0
    split.eval()(torch.randn(12, 3))  # which needs no parts


def test_all_norms_in_place_and_one_part_is_batchnorm():
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Sequential(timm.layers.BatchNormAct2d(4)))
    before = {name: id(value) for name, value in net.state_dict(keep_vars=True).items()}
    assert split_batchnorm(net, 1) == 2
    assert type(net[1]) is nn.BatchNorm1d
    assert split_batchnorm(net, 4) == 2
    assert (type(net[1]), type(net[2][0])) == (SplitBatchNorm, SplitBatchNormAct)
    assert {name: id(value) for name, value in net.state_dict(keep_vars=True).items()} == before
    assert copy.deepcopy(net)[1].splits == pickle.loads(pickle.dumps(net))[1].splits == 4


def test_what_is_refused():
    with pytest.raises(ValueError, match="splits must be an integer of at least 1, got 0"):
        split_batchnorm(nn.BatchNorm1d(2), 0)
    with pytest.raises(ValueError, match="not known how to divide a batch for a SyncBatchNorm"):
        split_batchnorm(nn.SyncBatchNorm(2), 2)
