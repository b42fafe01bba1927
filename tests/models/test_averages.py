"""The average of networks against the formula, tensor by tensor."""

import pytest
import torch
from torch import nn
from torch.optim import swa_utils

from openmix.models.averages import average_of, follow, move


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    net[1](torch.rand(8, 4) * 3)
    return net


@pytest.mark.parametrize("buffers", [True, False])
def test_follow(buffers):
    student = network(0)
    average = average_of(student)
    assert not any(p.requires_grad for p in average.parameters())
    other = network(1)
    other[1].num_batches_tracked.fill_(7)
    before = {name: value.clone() for name, value in average.state_dict().items()}
    theirs = {name: value.clone() for name, value in other.state_dict().items()}
    follow(average, other, 0.25, buffers)
    for name, value in average.state_dict().items():
        is_buffer = name in dict(average.named_buffers())
        if is_buffer and not buffers:
            expected = before[name]
        elif value.is_floating_point():
            expected = 0.75 * before[name] + 0.25 * theirs[name]
        else:
            expected = theirs[name]
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
        assert torch.equal(other.state_dict()[name], theirs[name])


def test_a_share_of_one_copies_and_of_none_stays():
    average, student = average_of(network(0)), network(1)
    kept = [p.clone() for p in average.parameters()]
    follow(average, student, 0.0, buffers=False)
    assert all(map(torch.equal, average.parameters(), kept))
    follow(average, student, 1.0, buffers=False)
    assert all(map(torch.equal, average.parameters(), student.parameters()))


def test_move_is_what_torchs_averaged_model_does():
    """Of what is real; whole numbers are copied here."""
    net = network(0)
    theirs = swa_utils.AveragedModel(net, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True)
    own = [t.clone() for t in (*theirs.module.parameters(), *theirs.module.buffers())]
    for seed in (0, 1, 2):
        net.load_state_dict(network(seed).state_dict())
        theirs.update_parameters(net)
        move(own, [*net.parameters(), *net.buffers()], 0.1 if seed else 1.0)
    for a, b in zip(own, (*theirs.module.parameters(), *theirs.module.buffers()), strict=True):
        torch.testing.assert_close(a, b if b.is_floating_point() else net[1].num_batches_tracked)
