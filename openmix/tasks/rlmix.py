"""RL-Mix (Luu et al., AAAI 2023 workshop, arXiv:2212.04875): R-Mix whose tau is chosen by an agent, not drawn.

Before each step the agent sees the clean batch's saliency and logits, and chooses each image's tau. It is rewarded if
the network is, on the mixed images, sensitive where it was on the clean ones: by the cosine of the two maps, which
costs next to nothing, as the training's own backward pass yields the second one.

Differs from the authors' code (minhlong94/Random-Mixup), where `--method rlmix` does not start: the agent's learning
rate is an argument that does not exist, so 3e-4, stable-baselines3's default, stands in. Their agent is
`agent='authors'` here; the default is one that treats all images alike. PPO is written out (:mod:`openmix.ops.ppo` says
why). Episodes are epochs, as there, and end with the memory, too, which comes to the same there.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.data.batch import Batch
from openmix.mixers.mixer import build_mixer
from openmix.mixers.rmix import draw_rmix, plan_rmix, tau_grid
from openmix.models.heads import ClsHead
from openmix.models.network_maps import NetworkMaps
from openmix.ops.checks import check_choice, check_integer
from openmix.ops.guidance import input_gradient, rms_over_channels
from openmix.ops.plans import mix
from openmix.tasks.classification import Classification
from openmix.tasks.context import MixContext, StepContext
from openmix.tasks.rlmix_agent import AuthorsAgent, PerImageAgent
from openmix.tasks.rlmix_learner import PPOSettings, TauLearner

__all__ = ["RLMixClassification", "agreement", "credit_of"]

AGENTS = {"per_image": PerImageAgent, "authors": AuthorsAgent}


class RLMixClassification(Classification):
    """R-Mix with an agent that learns, while the network trains, which tau each image should have.

    Args:
        backbone: images -> tuple of feature maps.
        head: pooled features -> logits, and their loss on a ``MixTarget``, as ``ClsMixupHead`` has it.
        batch_size: images in a micro-batch, the loader's, >= 1; a smaller batch is padded for the agent.
        neck: feature maps -> pooled features; default global average pooling.
        alpha: as this and the next three are of :func:`openmix.mixers.rmix`. Default 1.0.
        patches: patches a side, one of these a batch. Default (2, 4).
        num_taus: how many values tau has. Default 10.
        pairing: 'random' or 'flip'. Default 'random'.
        agent: 'per_image' chooses by each image's own map, its strength and logits, and by the batch's mean, and is
            rewarded image by image, for the two mixes that it is part of. 'authors' is theirs: images are channels,
            maps have no strength, and there is one reward a batch.
        agent_grid: the agent's maps have so many pixels a side; >= 1, 'authors' >= 4. Default 8, the authors'.
        agent_lr: of its Adam, > 0, times the share of the run that is left, to the power of 0.9. Default 3e-4.
        n_steps: micro-batches after which the agent learns from them, >= 1; they are part of the state, batch_size x
            (agent_grid ** 2 + classes + 7) floats each. Default 1000, the authors'.
        minibatch: micro-batches in one of its gradient steps, >= 1. Default 250, the authors'.
        n_epochs: how often it goes through them, >= 1. Default 10, stable-baselines3's, as are the rest.
        gamma: discount of later rewards, in [0, 1]. Default None is 0.99 for 'authors', theirs, and 0 for 'per_image':
            the images of the next batch are others.
        gae_lambda: in [0, 1]. Default 0.95.
        clip: of the ratio of probabilities, > 0. Default 0.2.
        vf_coef: weight of the value's squared error. Default 0.5.
        max_grad_norm: of the agent's gradient, > 0. Default 0.5.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: ClsHead,
        batch_size: int,
        neck: nn.Module | None = None,
        alpha: float = 1.0,
        patches: Sequence[int] = (2, 4),
        num_taus: int = 10,
        pairing: str = "random",
        agent: str = "per_image",
        agent_grid: int = 8,
        agent_lr: float = 3e-4,
        n_steps: int = 1000,
        minibatch: int = 250,
        n_epochs: int = 10,
        gamma: float | None = None,
        gae_lambda: float = 0.95,
        clip: float = 0.2,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
    ) -> None:
        super().__init__(backbone, head, neck)
        for name, value in (("batch_size", batch_size), ("num_taus", num_taus), ("agent_grid", agent_grid)):
            check_integer(name, value, 1)
        check_choice("agent", agent, tuple(AGENTS))
        settings = PPOSettings(n_steps, minibatch, n_epochs, gamma, gae_lambda, clip, vf_coef, max_grad_norm, agent_lr)
        self.draw = partial(draw_rmix, alpha=alpha, patches=patches, pairing=pairing)
        # for pictures of what the network sees, with tau as before the agent has learned anything
        self.mixers = [build_mixer("rmix", alpha=alpha, patches=patches, num_taus=num_taus, pairing=pairing)]
        self.draw(1, (1 << 30, 1 << 30), generator=torch.Generator())  # finds what is wrong with them
        self.taus, self.agent_grid = tau_grid(num_taus), agent_grid
        network = AGENTS[agent](batch_size, agent_grid, self.num_classes, num_taus)
        self.learner = TauLearner(network, batch_size, agent_grid, self.num_classes, settings)
        self._rows: list[Tensor] = []  # of this step, once their backward passes are done
        # all processes have the agent's state: it need not be sent to them at every forward pass
        self._ddp_params_and_buffers_to_ignore = [f"learner.{name}" for name, _ in self.learner.named_buffers()]

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Return ``loss``, ``top1_dominant``, the batch's mean ``tau``, and ``reward``, that of the step before."""
        images, generator = batch.images.detach(), context.generator("mix")
        size = (images.shape[2], images.shape[3])
        saliency, logits = self._look(images, batch.labels)
        pooled = self._pooled(saliency)
        actions, row = self.learner.act(pooled, logits, context.epoch, context.generator("rlmix"))
        tau = self.taus.to(images.device, non_blocking=True)[actions]
        grid, lam, partner = self.draw(len(images), size, generator=generator)
        mixed = mix(images, batch.labels, plan_rmix(saliency, tau, lam, partner, grid, size))
        seen = mixed.images.requires_grad_() if torch.is_grad_enabled() else mixed.images
        if seen.requires_grad:
            seen.register_hook(partial(self._reward, row, pooled, mixed.partner))
        logits = self.predict(seen)
        hits = logits.detach().argmax(1) == mixed.target.dominant()
        return {
            "loss": self.head.loss(logits, mixed.target),
            "top1_dominant": 100 * hits.float().mean(),
            "tau": tau.mean(),
            "reward": self.learner.reward.clone(),
        }

    def clean_context(self, batch: Batch) -> MixContext:
        """Return what serves saliency for pictures."""
        return MixContext(NetworkMaps(self.backbone, self.neck, self.head), None, batch, clean_weight=0.0)

    def after_step(self, context: StepContext) -> None:
        """Let the agent remember the step, and learn when it is time."""
        rows, self._rows = self._rows, []
        if rows:
            self.learner.remember(rows, context)

    def _look(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clean images' saliency (B, H, W) and logits (B, K), in training mode as in the authors' code."""
        seen: list[Tensor] = []

        def predict(x: Tensor) -> Tensor:
            seen.append(self.predict(x))
            return seen[0]

        saliency = input_gradient(predict, images, labels)
        return saliency, seen[0].detach().float()

    def _pooled(self, saliency: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(saliency, self.agent_grid)

    @torch.no_grad()
    def _reward(self, row: Tensor, clean: Tensor, partner: Tensor, gradient: Tensor) -> None:
        """Take the loss's gradient by the mixed images, whatever its scale, from the backward pass."""
        shares = agreement(clean, self._pooled(rms_over_channels(gradient)))
        self._rows.append(self.learner.rewarded(row, credit_of(shares, partner)))


def agreement(clean: Tensor, mixed: Tensor) -> Tensor:
    """Return how much each image has to do with the batch's cosine similarity of two maps, which is their mean: (B,).

    Args:
        clean: float (B, h, w), >= 0, the saliency of the clean images.
        mixed: of the mixed images, like ``clean``.

    >>> agreement(torch.ones(2, 1, 1), torch.tensor([[[1.0]], [[0.0]]])).mean()
    tensor(0.7071)
    """
    scale = clean.norm() * mixed.norm()
    return len(clean) * (clean * mixed).sum((1, 2)) / scale.clamp(min=torch.finfo(scale.dtype).tiny)


def credit_of(shares: Tensor, partner: Tensor) -> Tensor:
    """Return for each image the mean of the two mixes' shares that it is part of: its own, and its partner's of it.

    Their mean over the batch stays as it is, where ``partner`` is a permutation.

    >>> credit_of(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1, 2, 0]))
    tensor([2.5000, 1.5000, 3.0000])
    """
    return (shares + shares[partner.argsort()]) / 2
