"""How RL-Mix's agent acts, remembers and learns.

Nothing of an agent is a parameter of the task: all of its state is flat buffers, which are in checkpoints, and of which
neither the run's optimizer nor DistributedDataParallel takes notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from openmix.errors import UserError
from openmix.ops.checks import check_integer, check_number, check_positive, check_probability
from openmix.ops.ppo import AdamState, advantages_of, choose, clipped_surrogate, log_prob, normalised
from openmix.ops.random import generator_for
from openmix.tasks.context import StepContext
from openmix.tasks.rlmix_agent import AuthorsAgent, PerImageAgent, Seen

__all__ = ["PPOSettings", "TauLearner"]


@dataclass(frozen=True)
class PPOSettings:
    """How an agent learns; defaults are stable-baselines3's, as the authors leave them, and the authors' own.

    Attributes:
        n_steps: batches that it remembers before it learns from them, >= 1.
        minibatch: batches in one gradient step, >= 1.
        n_epochs: passes over what it remembers, >= 1.
        gamma: discount, in [0, 1]; None is the agent's own.
        gae_lambda: of the advantages, in [0, 1].
        clip: of the ratio of probabilities, > 0.
        vf_coef: weight of the value's squared error, >= 0.
        max_grad_norm: > 0.
        lr: Adam's, > 0, times the share of the run that is left, to the power of 0.9.
    """

    n_steps: int = 1000
    minibatch: int = 250
    n_epochs: int = 10
    gamma: float | None = None
    gae_lambda: float = 0.95
    clip: float = 0.2
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    lr: float = 3e-4

    def __post_init__(self) -> None:
        for name in ("n_steps", "minibatch", "n_epochs"):
            check_integer(name, getattr(self, name), 1)
        for name, value in (("clip", self.clip), ("max_grad_norm", self.max_grad_norm), ("agent_lr", self.lr)):
            check_positive(name, value)
        check_probability("gae_lambda", self.gae_lambda)
        check_number("vf_coef", self.vf_coef)
        if self.gamma is not None:
            check_probability("gamma", self.gamma)


class TauLearner(nn.Module):
    """An agent with its memory: acts on each batch, and learns by PPO whenever the memory is full.

    Processes that train together share one memory, so that each has the whole of the state, and the main one's will do.
    The micro-batches of a step follow one another in it, as many as there are, whoever computed them.

    Args:
        agent: a network as the two above.
        batch_size: B.
        grid: maps are (grid, grid).
        num_classes: K.
        settings: how it learns.
    """

    def __init__(
        self, agent: PerImageAgent | AuthorsAgent, batch_size: int, grid: int, num_classes: int, settings: PPOSettings
    ) -> None:
        super().__init__()
        self.settings, self.joint = settings, agent.joint
        self.gamma = agent.gamma if settings.gamma is None else settings.gamma
        self.shape = (batch_size, grid, num_classes)
        names, values = zip(*agent.named_parameters(), strict=True)
        self._forms = {name: value.shape for name, value in zip(names, values, strict=True)}
        theta = torch.cat([value.detach().flatten() for value in values])
        for name in ("theta", "mean", "square"):
            self.register_buffer(name, theta.clone() if name == "theta" else torch.zeros_like(theta))
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("memory", torch.zeros(settings.n_steps, batch_size, grid * grid + num_classes + 7))
        self.register_buffer("reward", torch.zeros(()))
        self._agent = (agent.to("meta").requires_grad_(False),)  # in a tuple, a module is no part of this one

    theta: Tensor
    mean: Tensor
    square: Tensor
    count: Tensor
    memory: Tensor
    reward: Tensor

    def run(self, theta: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
        """Run the agent with parameters ``theta`` (N,)."""
        parts = theta.split([form.numel() for form in self._forms.values()])
        weights = {name: part.view(form) for (name, form), part in zip(self._forms.items(), parts, strict=True)}
        return functional_call(self._agent[0], weights, (seen,))

    @torch.no_grad()
    def act(self, saliency: Tensor, logits: Tensor, epoch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Choose an action for each image.

        Args:
            saliency: pooled, float32 (B', grid, grid), B' <= B.
            logits: float32 (B', K).
            epoch: an episode is an epoch.
            generator: a CPU generator.

        Returns:
            int64 (B',), and the row to remember, float32 (B, F), whose reward :meth:`rewarded` fills in.
        """
        batch_size = self.shape[0]
        if len(logits) > batch_size:
            raise UserError(f"a batch of {len(logits)} images is more than the agent's batch_size of {batch_size}")
        pad, tiny = batch_size - len(logits), torch.finfo(torch.float32).tiny
        sums = saliency.sum((1, 2))
        uniform_map = torch.full_like(saliency, 1 / saliency[0].numel())
        maps = torch.where(sums[:, None, None] > 0, saliency / sums.clamp(min=tiny)[:, None, None], uniform_map)
        strength = (sums / sums.mean().clamp(min=tiny)).clamp(min=1e-4).log()
        strength, valid = (F.pad(t, (0, pad)) for t in (strength, torch.ones_like(strength)))
        maps, logits_padded = F.pad(maps, (0, 0, 0, 0, 0, pad)), F.pad(logits, (0, 0, 0, pad))
        seen = Seen(maps[None], logits_padded[None], strength[None], valid[None])
        with torch.autocast(logits.device.type, enabled=False):
            scores, values = self.run(self.theta, seen)
        uniform = torch.rand(batch_size, generator=generator, device="cpu").to(logits.device, non_blocking=True)
        actions = choose(scores[0], uniform)
        columns = [actions, log_prob(scores[0], actions), values[0], torch.zeros_like(valid), valid]
        columns.append(torch.full_like(valid, epoch))
        row = torch.cat([maps.flatten(1), logits_padded, torch.stack([strength, *columns], 1)], dim=1)
        return actions[: len(logits)], row

    def rewarded(self, row: Tensor, credit: Tensor) -> Tensor:
        """Return a row of :meth:`act` with the credit (B',) of each image; a joint agent's is their mean."""
        credit = torch.nan_to_num(credit, 0.0, 0.0, 0.0)  # a gradient that overflowed says nothing
        row = row.clone()
        row[: len(credit), -3] = credit.mean() if self.joint else credit
        return row

    @torch.no_grad()
    def remember(self, rows: Sequence[Tensor], context: StepContext) -> None:
        """Take in a step's rows, of all processes, and learn when there is no room for another step's.

        Where in the memory they go is told by the step's number.
        """
        step = _gathered(torch.stack(list(rows)))
        capacity = max(self.settings.n_steps // len(step), 1)
        step = step[: self.settings.n_steps]
        at = context.step % capacity
        self.memory[at * len(step) : (at + 1) * len(step)] = step
        self.reward.copy_((step[..., -3] * step[..., -2]).sum() / step[..., -2].sum().clamp(min=1))
        if at == capacity - 1:
            if not dist.is_initialized() or dist.get_rank() == 0:
                self._learn(capacity * len(step), context)
            if dist.is_initialized():
                for state in (self.theta, self.mean, self.square, self.count):
                    dist.broadcast(state, 0)
            self.memory.zero_()

    def _learn(self, length: int, context: StepContext) -> None:
        """Learn from the first ``length`` rows."""
        settings, (_, grid, _) = self.settings, self.shape
        maps, logits, (strength, actions, before, values, rewards, valid, epochs) = self._columns(
            self.memory[:length], grid
        )
        later = torch.cat([epochs[1:, 0], epochs.new_full((1,), -1)])
        advantages = advantages_of(rewards, values, epochs[:, 0] != later, self.gamma, settings.gae_lambda)
        returns = advantages + values
        if self.joint:  # one action and one value a batch
            before, advantages = (before * valid).sum(1, keepdim=True), advantages[:, :1]
        adam = AdamState(self.theta, self.mean, self.square, self.count)
        lr = settings.lr * (1 - context.progress) ** 0.9
        generator = generator_for(context.seed, "rlmix learns", context.step)
        for _ in range(settings.n_epochs):
            for rows in torch.randperm(length, generator=generator, device="cpu").split(settings.minibatch):
                i = rows.to(self.theta.device, non_blocking=True)

                def loss(theta: Tensor, i: Tensor = i) -> Tensor:
                    scores, expected = self.run(theta, Seen(maps[i], logits[i], strength[i], valid[i]))
                    now, weight = log_prob(scores, actions[i].long()), valid[i]
                    error = ((expected - returns[i]).square() * weight).sum() / weight.sum().clamp(min=1)
                    if self.joint:
                        now, weight = (now * weight).sum(1, keepdim=True), weight[:, :1]
                    gain = clipped_surrogate(now, before[i], normalised(advantages[i], weight), settings.clip)
                    return (gain * weight).sum() / weight.sum().clamp(min=1) + settings.vf_coef * error

                adam.step(loss, lr, settings.max_grad_norm)

    def _columns(self, memory: Tensor, grid: int) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        maps, logits, rest = memory.split([grid * grid, memory.shape[2] - grid * grid - 7, 7], dim=2)
        return maps.unflatten(2, (grid, grid)), logits, rest.unbind(2)


def _gathered(rows: Tensor) -> Tensor:
    """Return the micro-batches (k, ...) of all processes in the order of their shards: shard s is rank s mod ranks'."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows)
    return torch.stack(parts, dim=1).flatten(0, 1)
