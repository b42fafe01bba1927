"""AdAutoMix (Qin et al., "Adversarial AutoMixup", ICLR 2024), arXiv:2312.11954: masks that are made against a judge.

The authors' code runs a backbone 8 times a step: the momentum encoder on clean images for its maps, on mixed ones, and
on the clean images of each of three sources for their logits; the student on clean, blended and mixed images. Here the
momentum encoder runs once on clean images for maps and logits alike, since BatchNorm does not care for the order of a
batch, and not to its end in steps that have no use for logits: 5 passes, or 4 and a part. Two things differ by that: a
network with dropout or stochastic depth draws once for the clean pass, not once for each source, and the momentum
encoder's running statistics, which only its evaluation looks at, move once.
"""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.data.batch import Batch
from openmix.models.adaptive_mask import AdaptiveMask
from openmix.models.heads import ClsHead
from openmix.ops.checks import check_integer, check_positive, check_probability
from openmix.ops.losses import in_float32
from openmix.ops.random import sample_beta, sample_sources
from openmix.tasks.context import StepContext
from openmix.tasks.learned import Draw, LearnedMixing, Momentum, draw_pair, map_at
from openmix.tasks.learned_mixer import LearnedMixer

__all__ = ["AdAutoMixClassification", "cosine_to_sources", "draw_mixes"]


class AdAutoMixClassification(LearnedMixing):
    """Trains on images that a mask network mixes of three, and that network half the time to make them hard.

    Every ``adv_interval``-th step trains the mask network to raise the momentum encoder's cross entropy on its mixes,
    and to lower their likeness to the images that they are made of; the steps between train it to lower the cross
    entropy::

        adversarial  -beta * CE_k + (1 - beta) * cosine
        others       CE_k

    The student's loss is its cross entropy on mixed images and, by ``mixup_ratio``, a mean of that on clean images and
    that on a plain blend of the same sources. Labels weigh lambda throughout. Lambda is the same for both mixes, their
    partners are not; of two images, each mix has a lambda of its own and there is no blend, as in the authors' code.

    Their code draws a permutation for each of three sources; here the first is the image itself, which only changes the
    order of the batch.

    Args:
        backbone: images -> tuple of feature maps, one for each of its ``stage_names``.
        head: pooled features -> logits of mixed images, and their loss on a ``MixTarget``.
        mix_block: the mask network; default ``AdaptiveMask(channels of the mask_layer)``.
        neck: feature maps -> pooled features; default global average pooling.
        head_one: the classifier of clean images; default one of its own that begins as ``head`` does.
        mix_samples: K, how many images are mixed, at least 2. Default 3, the authors'.
        alpha: lambda is K draws of Beta(alpha, alpha), divided by their sum; > 0. Default 1.0, the authors'.
        mask_layer: which of the backbone's maps the mask network sees, counted from 0, or from the end below 0. Default
            -2, the last but one, the authors' for all but transformers.
        lam_margin: where the own share lambda_1 or 1 - lambda_1 is at most this, the student's mix is by lambda itself.
            Default 0.03.
        mixup_ratio: r in [0, 1], the student's (1 - r) * CE(clean) + r * CE(blend); of two images there is no blend,
            and it counts for nothing. Default 0.5, the authors', whose name is ``mixup_radio``.
        beta: in [0, 1], see above. Default 0.3, the authors', whose name is ``beta_radio``.
        adv_interval: the adversarial steps are those of a number that this divides, the first one included. Default 2.
        momentum: of the momentum encoder at first, in [0, 1]. Default 0.999, the authors'.
        momentum_end: in the end. Default 0.999999, theirs.
        momentum_start: the share of the run in which it stays what it is at first. Default 0.1.
        preset: 'openmixup' turns a comparison around, as that code does for three images or more: the student's mix is
            by lambda itself unless 1 - lambda_1 is at most ``lam_margin``, which is to say, it practically always is,
            and the mask network trains for nothing. The student's two losses are then of the same images. Default None.

    Raises:
        ValueError: a value out of range, or a map that the mask network cannot use.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: ClsHead,
        mix_block: nn.Module | None = None,
        neck: nn.Module | None = None,
        head_one: ClsHead | None = None,
        mix_samples: int = 3,
        alpha: float = 1.0,
        mask_layer: int = -2,
        lam_margin: float = 0.03,
        mixup_ratio: float = 0.5,
        beta: float = 0.3,
        adv_interval: int = 2,
        momentum: float = 0.999,
        momentum_end: float = 0.999999,
        momentum_start: float = 0.1,
        preset: str | None = None,
    ) -> None:
        check_integer("mix_samples", mix_samples, 2)
        check_integer("adv_interval", adv_interval, 1)
        check_positive("alpha", alpha)
        for name, value in {"lam_margin": lam_margin, "mixup_ratio": mixup_ratio, "beta": beta}.items():
            check_probability(name, value)
        if mix_block is None:
            mix_block = AdaptiveMask(map_at(backbone, mask_layer).channels)
        schedule = Momentum(momentum, momentum_end, momentum_start)
        super().__init__(backbone, head, mix_block, neck, head_one, mask_layer, schedule, preset)
        self.mix_samples, self.alpha, self.lam_margin = mix_samples, alpha, lam_margin
        self.beta, self.adv_interval = beta, adv_interval
        # of the student's losses on clean and on blended images
        self.plain_weights = (1 - mixup_ratio, mixup_ratio) if mix_samples > 2 else (1.0,)

    @property
    def mixers(self) -> list[LearnedMixer]:
        """See :class:`~openmix.tasks.learned.LearnedMixing`; its preset's blends are left out."""
        draws = functools.partial(draw_mix, k=self.mix_samples, alpha=self.alpha)
        return [self.as_mixer(draws, self.lam_margin)]

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Return ``loss``, its terms, ``cosine`` and ``top1_dominant``.

        ``loss_mix_q``, ``loss_one_q`` and ``loss_blend_q`` are the student's cross entropies on mixed, clean and, of
        more than two images, blended ones; ``loss_mix_k`` is the momentum encoder's, without the sign that it has in
        adversarial steps. ``cosine`` is 0 in the others, and a log interval's mean is the smaller for that.
        """
        images, labels = batch.images, batch.labels
        adversarial = context.step % self.adv_interval == 0
        draw_k, draw_q = draw_mixes(len(images), self.mix_samples, self.alpha, context.generator("mix"))
        features, clean_logits = self._look(images, to_the_end=adversarial)

        # the mask network makes images that the momentum encoder is to see all labels in, or is to be misled by
        size = (images.shape[2], images.shape[3])
        draw_k = draw_k.to(images.device)
        judged = draw_k.mixed(images, labels, self.shares(features, draw_k, size))
        logits = self.judge(judged.images)
        loss_k = goal = self.head.loss(logits, judged.target)
        cosine = torch.zeros_like(loss_k)
        if clean_logits is not None:
            cosine = cosine_to_sources(logits, clean_logits, judged.sources, judged.target.weights)
            goal = (1 - self.beta) * cosine - self.beta * loss_k

        # the student learns from clean images, from blended ones, and from others that the mask network makes for it
        is_blend, draw_q = self._is_blend(draw_q), draw_q.to(images.device)
        blended = draw_q.mixed(images, labels)
        plain = {"loss_one_q": self.learn_clean(images, labels)}
        if self.mix_samples > 2:
            plain["loss_blend_q"], _ = self.learn_mixed(blended)
        with torch.no_grad():
            masks = None if is_blend else self.shares(features, draw_q, size)
        loss_q, top1 = self.learn_mixed(blended if masks is None else draw_q.mixed(images, labels, masks))
        loss_plain = sum(w * term for w, term in zip(self.plain_weights, plain.values(), strict=True))
        return {
            "loss": loss_q + loss_plain + goal,
            "loss_mix_q": loss_q,
            **plain,
            "loss_mix_k": loss_k,
            "cosine": cosine,
            "top1_dominant": top1,
        }

    @torch.no_grad()
    def _look(self, images: Tensor, to_the_end: bool) -> tuple[Tensor, Tensor | None]:
        """Return the momentum encoder's features of clean images, and its logits where it is to run to the end."""
        if not to_the_end:
            return self.mask_features(images), None
        maps = self.teacher["backbone"](images)
        return maps[self.stages - 1], self.teacher["head"](self.teacher["neck"](maps))

    def _is_blend(self, draw: Draw) -> bool:
        """Tell whether the student's mix is by lambda itself."""
        if self.preset == "openmixup" and self.mix_samples > 2:
            own = float(draw.lam[0, 0])
            return own <= self.lam_margin or self.lam_margin < 1 - own
        return draw.within(self.lam_margin)


def draw_mixes(batch_size: int, k: int, alpha: float, generator: torch.Generator) -> tuple[Draw, Draw]:
    """Draw the mask network's mix and the student's: partners of their own, and for more than two images one lambda.

    >>> mask, student = draw_mixes(4, 3, 1.0, torch.Generator().manual_seed(0))
    >>> mask.sources.shape, mask.lam.shape, bool((mask.lam == student.lam).all())
    (torch.Size([4, 3]), torch.Size([1, 3]), True)
    """
    mask = draw_mix(batch_size, k, alpha, generator)
    if k == 2:
        return mask, draw_mix(batch_size, k, alpha, generator)
    return mask, Draw(sample_sources(batch_size, k, generator), mask.lam)


def draw_mix(batch_size: int, k: int, alpha: float, generator: torch.Generator) -> Draw:
    """Draw partners and lambda, k draws of Beta(alpha, alpha) divided by their sum, of two images 1 and the rest."""
    if k == 2:
        return draw_pair(batch_size, alpha, generator)
    # a small alpha may draw zeros only
    parts = sample_beta(alpha, (1, k), generator).clamp(min=torch.finfo(torch.float32).tiny)
    return Draw(sample_sources(batch_size, k, generator), parts / parts.sum())


def cosine_to_sources(mixed: Tensor, clean: Tensor, sources: Tensor, weights: Tensor) -> Tensor:
    """Return how much mixed images' logits are like those of what they are made of: a mean over the batch, in [-1, 1].

    Args:
        mixed: logits (B, C) of mixed images.
        clean: logits (B, C) of the clean ones.
        sources: int64 (B, K), what each is made of.
        weights: float32 (B, K), by which the K cosines are weighed.

    >>> clean, sources = torch.eye(2), torch.tensor([[0, 1], [1, 0]])
    >>> cosine_to_sources(3 * clean, clean, sources, torch.tensor([[0.7, 0.3], [0.9, 0.1]]))
    tensor(0.8000)
    """
    mixed, clean = in_float32(mixed), in_float32(clean)
    cosines = F.cosine_similarity(mixed[:, None], clean[sources], dim=2)
    return (cosines * weights).sum(1).mean()
