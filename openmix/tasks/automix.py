"""AutoMix (Liu et al., ECCV 2022), arXiv:2103.13027: the mask is learned, while the network trains, to be learned from.

The authors' code is OpenMixup's. A step here has the same mathematics and less to compute: the momentum encoder's clean
pass serves both mixes and ends at the mix block's map, the student's mask is made without a gradient. Left out are
options that no published configuration uses.
"""

import functools

import torch
from torch import Tensor, nn

from openmix.data.batch import Batch
from openmix.mixers.compose import Choice
from openmix.mixers.mixer import build_mixer
from openmix.models.heads import ClsHead
from openmix.models.mix_block import PixelMixBlock
from openmix.ops.checks import check_flag, check_not_negative, check_positive, check_probability
from openmix.ops.learned_masks import adjust_shares, cosine_between, mask_loss
from openmix.ops.target import Mixed
from openmix.tasks.context import StepContext
from openmix.tasks.learned import Draw, LearnedMixing, Momentum, draw_pair, map_at
from openmix.tasks.learned_mixer import LearnedMixer

__all__ = ["AutoMixClassification"]


class AutoMixClassification(LearnedMixing):
    """Trains on images that a mix block mixes, and the mix block on what the momentum encoder makes of its mixes.

    The loss is the student's cross entropy on mixed images and on clean ones, the momentum encoder's on mixed ones,
    which trains the mix block alone, and the mask loss; the first three weigh 1. Both mixes have a lambda ~ Beta(alpha,
    alpha) and partners of their own, one draw a batch each. Labels weigh lambda, not what is visible: it is the mask
    loss that holds the one to the other.

    Args:
        backbone: images -> tuple of feature maps, one for each of its ``stage_names``.
        head: pooled features -> logits of mixed images, and their loss on a ``MixTarget``.
        mix_block: default ``PixelMixBlock(channels of the mask_layer)``.
        neck: feature maps -> pooled features; default global average pooling.
        head_one: the classifier of clean images; default one of its own that begins as ``head`` does.
        head_one_mix: let ``head_one`` learn from images mixed by mixup (alpha 0.8) or cutmix (alpha 1) in place of
            clean ones, one of them at random in a step. Default False; the authors do so with vision transformers.
        alpha: of lambda, > 0. Default 2.0, the authors'.
        mask_layer: which of the backbone's maps the mix block sees, counted from 0, or from the end below 0. Default
            -2, the last but one: the third of a ResNet, the second of a WRN, as the authors have it.
        lam_margin: where lambda or 1 - lambda is at most this, the student's mix is by lambda itself. Default 0.08.
        mask_adjust: the probability that the student's masks are scaled to a mean of lambda, image by image. Default
            0, which all published configurations but one have.
        mask_loss: weight of :func:`~openmix.ops.learned_masks.mask_loss`, >= 0. Default 0.1.
        mask_loss_end: its weight falls to this over the run by a cosine. Default None, it stays, as the authors have
            it on CIFAR; on large images they let it fall to 0.
        mask_margin: of the mask loss, in [0, 1]. Default 0.1.
        mask_variance: of the mask loss, >= 0. Default 0; SAMix has 2.
        k_prob: the probability of a step to ask the momentum encoder for its verdict; in the others only the mask loss
            trains the mix block. Default 1; the authors' 'switch_off' of vision transformers on ImageNet is 0.8.
        momentum: of the momentum encoder at first, in [0, 1]. Default 0.999, the authors'.
        momentum_end: in the end. Default 0.999999, theirs on CIFAR; on ImageNet it is 0.99999.
        momentum_start: the share of the run in which it stays what it is at first. Default 0.1.
        preset: 'openmixup' is the authors' code where it differs from the paper: the mask loss takes the batch for one
            mask, and ``mask_adjust`` scales to the other branch's lambda. Default None.

    Raises:
        ValueError: a value out of range, or a map that the mix block cannot use.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: ClsHead,
        mix_block: nn.Module | None = None,
        neck: nn.Module | None = None,
        head_one: ClsHead | None = None,
        head_one_mix: bool = False,
        alpha: float = 2.0,
        mask_layer: int = -2,
        lam_margin: float = 0.08,
        mask_adjust: float = 0.0,
        mask_loss: float = 0.1,
        mask_loss_end: float | None = None,
        mask_margin: float = 0.1,
        mask_variance: float = 0.0,
        k_prob: float = 1.0,
        momentum: float = 0.999,
        momentum_end: float = 0.999999,
        momentum_start: float = 0.1,
        preset: str | None = None,
    ) -> None:
        check_flag("head_one_mix", head_one_mix)
        check_positive("alpha", alpha)
        shares = {"lam_margin": lam_margin, "mask_adjust": mask_adjust, "mask_margin": mask_margin, "k_prob": k_prob}
        for name, value in shares.items():
            check_probability(name, value)
        mask_loss_end = mask_loss if mask_loss_end is None else mask_loss_end
        weights = {"mask_loss": mask_loss, "mask_loss_end": mask_loss_end, "mask_variance": mask_variance}
        for name, value in weights.items():
            check_not_negative(name, value)
        if mix_block is None:
            mix_block = self.usual_mix_block(map_at(backbone, mask_layer).channels, preset)
        schedule = Momentum(momentum, momentum_end, momentum_start)
        super().__init__(backbone, head, mix_block, neck, head_one, mask_layer, schedule, preset)
        self.alpha, self.lam_margin, self.mask_adjust, self.k_prob = alpha, lam_margin, mask_adjust, k_prob
        self.mask_loss, self.mask_loss_end = mask_loss, mask_loss_end
        self.mask_margin, self.mask_variance = mask_margin, mask_variance
        plain = [build_mixer("mixup", alpha=0.8), build_mixer("cutmix", alpha=1.0)]
        self.one_mix = Choice(plain, None) if head_one_mix else None

    @property
    def mixers(self) -> list[LearnedMixer]:
        """See :class:`~openmix.tasks.learned.LearnedMixing`."""
        return [self.as_mixer(functools.partial(draw_pair, alpha=self.alpha), self.lam_margin)]

    @staticmethod
    def usual_mix_block(channels: int, preset: str | None) -> nn.Module:
        """Return the method's mix block for features of so many channels."""
        return PixelMixBlock(channels)

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Return ``loss``, its four terms, ``mask_gap`` and ``top1_dominant``.

        ``loss_mix_q`` and ``loss_one_q`` are the student's, on mixed and on clean images; ``loss_mix_k`` is the
        momentum encoder's; ``loss_mask`` is without its weight; ``mask_gap`` is how far a mask's mean is off lambda.
        """
        images, labels, generator = batch.images, batch.labels, context.generator("mix")
        size = (images.shape[2], images.shape[3])
        draw_k, draw_q = (draw_pair(len(images), self.alpha, generator) for _ in range(2))
        chances = torch.rand(2, generator=generator, device="cpu").tolist()
        features = self.mask_features(images)

        # the mix block makes images that the momentum encoder is to see both labels in
        on_device = draw_k.to(images.device)
        shares, lam = self.shares(features, on_device, size), on_device.lam[0, 0]
        asked = chances[0] < self.k_prob
        loss_k = self.verdict(on_device.mixed(images, labels, shares)) if asked else 0 * shares.sum()
        own = shares[:, 0] if self.preset is None else shares[:, 0].flatten(0, 1)[None]
        loss_mask = mask_loss(own, lam, self.mask_margin, self.mask_variance)
        weight = cosine_between(self.mask_loss, self.mask_loss_end, context.progress)

        # the student learns from clean images, and from others that the mix block has made for it
        loss_one = self._learn_one(batch, generator)
        mixed = self._for_student(batch, features, draw_q, draw_k, chances[1] < self.mask_adjust)
        loss_q, top1 = self.learn_mixed(mixed)
        return {
            "loss": loss_q + loss_one + loss_k + weight * loss_mask,
            "loss_mix_q": loss_q,
            "loss_one_q": loss_one,
            "loss_mix_k": loss_k,
            "loss_mask": loss_mask,
            "mask_gap": (shares[:, 0].detach().mean((1, 2)) - lam).abs().mean(),
            "top1_dominant": top1,
        }

    def verdict(self, mixed: Mixed) -> Tensor:
        """Return the loss of the momentum encoder's logits on images that the mix block has mixed."""
        return self.head.loss(self.judge(mixed.images), mixed.target)

    @torch.no_grad()
    def _for_student(self, batch: Batch, features: Tensor, draw: Draw, other: Draw, adjusting: bool) -> Mixed:
        """Mix a batch by the mix block's masks, or by lambda where that is near 0 or 1."""
        if draw.within(self.lam_margin):
            return draw.mixed(batch.images, batch.labels)
        size, device = (batch.images.shape[2], batch.images.shape[3]), batch.images.device
        draw = draw.to(device)
        shares = self.shares(features, draw, size)
        if adjusting:
            lam = (other.to(device) if self.preset == "openmixup" else draw).lam[0, 0]
            own = adjust_shares(shares[:, 0], lam)
            shares = torch.stack([own, 1 - own], dim=1)
        return draw.mixed(batch.images, batch.labels, shares)

    def _learn_one(self, batch: Batch, generator: torch.Generator) -> Tensor:
        if self.one_mix is None:
            return self.learn_clean(batch.images, batch.labels)
        mixed = self.one_mix(batch.images, batch.labels, generator=generator)
        return self.learn_clean(mixed.images, mixed.target)
