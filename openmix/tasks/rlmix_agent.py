"""RL-Mix's agents: what they see of a batch, and the two networks that choose an action for each of its images."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openmix.ops.checks import check_integer

__all__ = ["AuthorsAgent", "PerImageAgent", "Seen"]


class Seen(NamedTuple):
    """What an agent sees of N clean batches, padded to B images.

    Attributes:
        maps: float32 (N, B, grid, grid), an image's pooled saliency, of sum 1.
        logits: float32 (N, B, K), what the network says of it.
        strength: float32 (N, B), the logarithm of an image's saliency, summed, over its mean over the batch.
        valid: float32 (N, B), 1 for an image, 0 for padding.
    """

    maps: Tensor
    logits: Tensor
    strength: Tensor
    valid: Tensor


class PerImageAgent(nn.Module):
    """Chooses for each image by what is seen of it, beside the mean over the batch: the order does not matter.

    Some 20 thousand parameters for 100 classes. Each image is rewarded for the two mixes that it is part of.

    Args:
        batch_size: not used; another agent's.
        grid: maps are (grid, grid).
        num_classes: K.
        num_taus: how many actions there are.
        width: of the hidden layers. Default 64, that of stable-baselines3's policies.
    """

    joint = False
    gamma = 0.0  # what follows a batch has nothing to do with what is done with its images

    def __init__(self, batch_size: int, grid: int, num_classes: int, num_taus: int, width: int = 64) -> None:
        super().__init__()
        self.own = nn.Linear(grid * grid + num_classes + 1, width)
        self.among = nn.Linear(2 * width, width)
        self.policy, self.value = nn.Linear(width, num_taus), nn.Linear(width, 1)
        _orthogonal(self, self.policy, self.value)

    def forward(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Return scores of the actions (N, B, A), and the reward that is expected of each image (N, B)."""
        flat = seen.maps.flatten(2)
        own = self.own(torch.cat([flat * flat.shape[2] - 1, seen.logits, seen.strength[..., None]], dim=2)).tanh()
        weight = (seen.valid / seen.valid.sum(1, keepdim=True).clamp(min=1))[..., None]
        whole = (own * weight).sum(1, keepdim=True).expand_as(own)
        hidden = self.among(torch.cat([own, whole], dim=2)).tanh()
        return self.policy(hidden), self.value(hidden).squeeze(2)


class AuthorsAgent(nn.Module):
    """The authors': the batch's images are the channels of one picture, and all choices are made at once.

    7.5 million parameters for 100 images of 100 classes. It does not see how strong a map is, and is rewarded by one
    number a batch.

    Args:
        batch_size: B; smaller batches are padded with zeros.
        grid: maps are (grid, grid), at least 4; theirs 8.
        num_classes: K.
        num_taus: how many actions there are.
    """

    joint = True
    gamma = 0.99

    def __init__(self, batch_size: int, grid: int, num_classes: int, num_taus: int) -> None:
        super().__init__()
        check_integer("agent_grid", grid, 4)
        self.maps = nn.Sequential(
            nn.Conv2d(batch_size, 150, 3), nn.ReLU(), nn.Conv2d(150, batch_size, 2), nn.ReLU(), nn.Flatten()
        )
        self.logits = nn.Sequential(nn.Linear(num_classes, 256), nn.Flatten())
        self.both = nn.Sequential(nn.Linear(batch_size * ((grid - 3) ** 2 + 256), 256), nn.ReLU())
        self.policy, self.value = (
            nn.Sequential(nn.Linear(256, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, n))
            for n in (batch_size * num_taus, 1)
        )
        _orthogonal(self, self.policy[-1], self.value[-1])

    def forward(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Return scores of the actions (N, B, A), and the reward that is expected of the batch, (N, B) of the same."""
        both = self.both(torch.cat([self.maps(seen.maps), self.logits(seen.logits)], dim=1))
        return self.policy(both).view(*seen.valid.shape, -1), self.value(both).expand(seen.valid.shape)


def _orthogonal(agent: nn.Module, policy: nn.Module, value: nn.Module) -> None:
    """Begin as stable-baselines3's policies: almost all actions alike."""
    gains = {policy: 0.01, value: 1.0}
    for m in agent.modules():
        if isinstance(m, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(m.weight, gains.get(m, math.sqrt(2)))
            nn.init.zeros_(m.bias)  # type: ignore[arg-type]
