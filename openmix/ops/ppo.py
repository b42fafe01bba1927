"""Proximal policy optimisation (Schulman et al., 2017), arXiv:1707.06347: what an agent computes from what it lived.

As stable-baselines3 has it: generalised advantage estimates, the clipped surrogate, advantages normalised in each
minibatch, and no entropy term. That library is not used: it brings gymnasium, pandas and matplotlib, and owns the loop,
of which the environment would have to be a part.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["AdamState", "advantages_of", "choose", "clipped_surrogate", "log_prob", "normalised"]


def choose(scores: Tensor, uniform: Tensor) -> Tensor:
    """Choose an action for each row by a number that was drawn elsewhere: int64 (...,).

    Args:
        scores: unnormalised log-probabilities, float (..., A).
        uniform: float (...,), in [0, 1).

    >>> choose(torch.tensor([[0.0, 0.0]]), torch.tensor([0.7]))
    tensor([1])
    """
    below = scores.softmax(-1).cumsum(-1) <= uniform[..., None]
    return below.sum(-1).clamp(max=scores.shape[-1] - 1)  # probabilities sum to 1 but for rounding


def log_prob(scores: Tensor, actions: Tensor) -> Tensor:
    """Return the log-probability of int64 actions (...,) under unnormalised scores (..., A)."""
    return scores.log_softmax(-1).gather(-1, actions[..., None]).squeeze(-1)


def advantages_of(rewards: Tensor, values: Tensor, ends: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """Return generalised advantage estimates (Schulman et al., 2016) for steps in a row, (T, ...).

    Args:
        rewards: float (T, ...).
        values: what was expected of the state of each step, like ``rewards``.
        ends: bool (T,), true where an episode ends with the step; so must the last one.
        gamma: discount of the future, in [0, 1].
        gae_lambda: in [0, 1]; 0 trusts the values, 1 the rewards.

    >>> one = torch.ones(3)
    >>> advantages_of(one, 0 * one, torch.tensor([False, False, True]), gamma=0.5, gae_lambda=1.0)
    tensor([1.7500, 1.5000, 1.0000])
    """
    goes_on = (~ends).to(rewards).view(-1, *(1 for _ in rewards.shape[1:]))
    following = torch.cat([values[1:], torch.zeros_like(values[:1])])
    surprise = rewards + gamma * goes_on * following - values
    advantages = torch.empty_like(rewards)
    ahead = torch.zeros_like(rewards[0])
    for t in range(len(rewards) - 1, -1, -1):
        ahead = surprise[t] + gamma * gae_lambda * goes_on[t] * ahead
        advantages[t] = ahead
    return advantages


def normalised(advantages: Tensor, weight: Tensor) -> Tensor:
    """Shift and scale to mean 0 and standard deviation 1 over those of weight 1; those of weight 0 do not count."""
    count = weight.sum().clamp(min=1)
    centred = advantages - (advantages * weight).sum() / count
    variance = (centred.square() * weight).sum() / (count - 1).clamp(min=1)
    return centred / (variance.sqrt() + 1e-8)


def clipped_surrogate(now: Tensor, before: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return the loss of each action: minus its advantage times the ratio of probabilities, which gains nothing beyond
    1 +- clip.

    Args:
        now: log-probabilities under the policy that learns.
        before: under the policy that acted.
        advantages: of the actions.
        clip: in (0, 1).
    """
    ratio = (now - before).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


class AdamState:
    """Adam on one flat vector, its state in tensors that the caller owns.

    Args:
        theta: float (N,), the parameters; written to.
        mean: of the gradient, like ``theta``; written to, as all that follow.
        square: of the gradient's square.
        count: 0-d float, steps done.
    """

    betas = (0.9, 0.999)
    eps = 1e-5  # stable-baselines3's

    def __init__(self, theta: Tensor, mean: Tensor, square: Tensor, count: Tensor) -> None:
        self.theta, self.mean, self.square, self.count = theta, mean, square, count

    def step(self, loss: Callable[[Tensor], Tensor], lr: float, max_norm: float) -> None:
        """Move the parameters down the gradient of ``loss``, which is cut to the norm ``max_norm`` before."""
        with torch.enable_grad():
            theta = self.theta.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(theta), theta)
        gradient = gradient * (max_norm / (gradient.norm() + 1e-6)).clamp(max=1)
        self.count += 1
        self.mean.lerp_(gradient, 1 - self.betas[0])
        self.square.lerp_(gradient.square(), 1 - self.betas[1])
        mean, square = (m / (1 - b**self.count) for m, b in zip((self.mean, self.square), self.betas, strict=True))
        self.theta -= lr * mean / (square.sqrt() + self.eps)
