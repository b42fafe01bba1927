"""PPO's parts against closed forms, double loops and torch's own Adam."""

import pytest
import torch
from torch import nn

from openmix.ops.ppo import AdamState, advantages_of, choose, clipped_surrogate, log_prob, normalised


def test_actions_are_chosen_as_often_as_they_are_likely():
    scores = torch.tensor([0.0, 1.0, -1.0, 3.0])
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    chosen = choose(scores.expand(10_000, 4), uniform)
    shares = torch.bincount(chosen, minlength=4) / 10_000
    torch.testing.assert_close(shares, scores.softmax(0), rtol=0, atol=2e-4)


def test_the_ends_of_the_unit_interval_choose_a_possible_action():
    scores = torch.tensor([[-1e9, 0.0, 0.0, -1e9]]).expand(2, 4)
    assert choose(scores, torch.tensor([0.0, 1 - 2**-24])).tolist()[0] == 1
    flat = torch.zeros(1, 10)
    assert choose(flat, torch.tensor([1 - 2**-24])).item() == 9


def test_log_prob_is_that_of_the_action():
    scores = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    actions = torch.arange(15).view(3, 5) % 4
    expected = torch.distributions.Categorical(logits=scores).log_prob(actions)
    torch.testing.assert_close(log_prob(scores, actions), expected)


@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.99, 0.95), (0.0, 0.95), (0.9, 0.0), (1.0, 1.0)])
def test_advantages_are_the_discounted_sums_of_surprises(gamma, gae_lambda):
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.rand(9, 3, generator=generator), torch.rand(9, 3, generator=generator)
    ends = torch.tensor([0, 0, 0, 1, 1, 0, 0, 0, 1]).bool()
    expected = torch.zeros(9, 3)
    for t in range(9):
        weight = 1.0
        for later in range(t, 9):
            following = torch.zeros(3) if ends[later] else values[later + 1]
            expected[t] += weight * (rewards[later] + gamma * following - values[later])
            if ends[later]:
                break
            weight *= gamma * gae_lambda
    torch.testing.assert_close(advantages_of(rewards, values, ends, gamma, gae_lambda), expected)


def test_advantages_with_lambda_one_are_returns_less_values():
    rewards, values = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, -1.0, 4.0])
    got = advantages_of(rewards, values, torch.tensor([False, False, True]), 0.5, 1.0)
    assert got.tolist() == [1 + 1 + 0.75 - 0.5, 2 + 1.5 + 1, 3 - 4]


def test_normalised_looks_at_what_counts():
    values = torch.tensor([3.0, 5.0, 10.0, 1000.0])
    got = normalised(values, torch.tensor([1.0, 1.0, 1.0, 0.0]))[:3]
    torch.testing.assert_close(got, (values[:3] - 6) / values[:3].std())
    assert normalised(torch.tensor([2.0]), torch.ones(1)).item() == 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # a good action that is already more likely
        (0.5, 2.0, -1.0, -1.0),
        (1.5, -2.0, 3.0, 3.0),
        (0.5, -2.0, 1.6, 0.0),  # a bad one that is already less likely
    ],
)
def test_surrogate_gains_nothing_beyond_the_clip(ratio, advantage, loss, slope):
    now = torch.tensor(ratio).log().requires_grad_()
    got = clipped_surrogate(now, torch.tensor(0.0), torch.tensor(advantage), 0.2)
    assert got.item() == pytest.approx(loss)
    assert torch.autograd.grad(got, now)[0].item() == pytest.approx(slope)


def test_adam_is_torchs_with_its_gradient_clipped():
    generator = torch.Generator().manual_seed(0)
    begin, target = torch.randn(7, generator=generator), torch.randn(7, generator=generator)
    theta, state = begin.clone(), [torch.zeros(7), torch.zeros(7), torch.zeros(())]
    adam = AdamState(theta, *state)
    reference = nn.Parameter(begin.clone())
    optimizer = torch.optim.Adam([reference], eps=1e-5)
    for step in range(20):
        lr, scale = 0.1 / (1 + step), 0.01 if step % 2 else 10.0

        def loss(p, scale=scale):
            return scale * (p - target).square().sum()

        adam.step(loss, lr, max_norm=0.5)
        optimizer.zero_grad()
        loss(reference).backward()
        nn.utils.clip_grad_norm_([reference], 0.5)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    torch.testing.assert_close(theta, reference.detach())
    assert state[2].item() == 20
    assert not torch.allclose(theta, begin)
