"""Classification with mixing: draw a method, mix, forward, relabel, loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from openmix.data.batch import Batch
from openmix.errors import did_you_mean
from openmix.mixers.catalog import GuidePass, get_method, list_mixers
from openmix.mixers.compose import Choice, Composition, PerSample, Window
from openmix.mixers.mixer import Mixer, build_mixer
from openmix.models.guides import Guide
from openmix.models.heads import ClsHead
from openmix.models.mix_points import MixPoints
from openmix.models.network_maps import NetworkMaps
from openmix.ops.checks import check_not_negative, check_probability
from openmix.ops.target import Mixed, MixTarget
from openmix.tasks.classification import Classification
from openmix.tasks.context import MixContext, StepContext

__all__ = ["MixUpClassification"]

AnyMixer = Mixer | Composition

# what a method of kind 'label' may need of the forward pass of the mixed images, and, as clean_..., of the clean ones
OF_MIXED = ("features", "logits", "attention", "rollout")
CLEAN = "clean_"


class MixUpClassification(Classification):
    """Trains on mixed images, with one method or a random choice among several for each micro-batch.

    Args:
        backbone: images -> tuple of feature maps, with ``stage_names`` if a method mixes inside it.
        head: pooled features -> logits, and their loss on a ``MixTarget``, as ``ClsMixupHead`` has it.
        neck: feature maps -> pooled features; default global average pooling.
        alpha: Beta's parameter, one for all modes or one for each; modes without one ignore it. None leaves each
            method, or the one at that place of a list, its own default.
        mix_mode: a method's name, or a list of them; "vanilla" is no mixing.
        mix_prob: probability of each mode, summing to 1; None is uniform.
        mix_repeat: how many times each micro-batch is mixed and run forward; the loss is their mean.
        mix_args: hyper-parameters by mode, ``dict(cutmix=dict(per_sample=True))``; a mode's own alpha wins over
            ``alpha``, and entries for modes that ``mix_mode`` does not name are checked but not used.
        mix_sample_prob: the probability of each image to take part in its batch's mix, one for all modes or one for
            each; the others are left alone. Default 1.
        mix_epochs: ``(start, stop)``, counted from 0: only epochs start <= epoch < stop mix (timm's mixup_off_epoch is
            stop); a stop of None is never. None is all epochs.
        clean_pass: run each clean batch through the network in training mode before it is mixed. Nothing comes of it
            but BatchNorm's running statistics, which then are of clean and of mixed images; the code of R-Mix does so
            whatever method it trains, and its published CutMix+ rests on it. Costs a forward pass, unless a method's
            need or the clean term is such a pass already. Default False.
        guide: who tells methods that need it what is salient: ``EMAGuide``, ``FrozenGuide`` or ``SpectralResidual`` of
            :mod:`openmix.models.guides`. Default the network that is being trained, as in the papers.
        guide_pass: the mode of the network in the pass over the clean images that a method needs: 'eval', which leaves
            BatchNorm's statistics alone, or 'train', which moves them. Default, for each method, its authors' code:
            with ``clean_weight`` that is 'train' for all that look at saliency. A guide other than the network is
            always in 'eval'.
        clean_weight: of the clean images' cross entropy, >= 0, in the loss. Default 0; R-Mix for ImageNet has 1,
            Co-Mixup 2 / num_classes. Where the saliency is the network's own, in mode 'train', its backward pass is
            used for both, and the term costs next to nothing.

    Raises:
        ValueError: unknown mode or hyper-parameter, probabilities that do not fit, a method that cannot be served.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: ClsHead,
        neck: nn.Module | None = None,
        alpha: float | Sequence[float | None] | None = None,
        mix_mode: str | Sequence[str] = "mixup",
        mix_prob: Sequence[float] | None = None,
        mix_repeat: int = 1,
        mix_args: Mapping[str, Mapping[str, Any]] | None = None,
        mix_sample_prob: float | Sequence[float] = 1.0,
        mix_epochs: Sequence[int | None] | None = None,
        clean_pass: bool = False,
        guide: Guide | None = None,
        guide_pass: GuidePass | None = None,
        clean_weight: float = 0.0,
    ) -> None:
        super().__init__(backbone, head, neck)
        if mix_repeat < 1:
            raise ValueError(f"mix_repeat must be at least 1, got {mix_repeat}")
        modes = [mix_mode] if isinstance(mix_mode, str) else list(mix_mode)
        check_not_negative("clean_weight", clean_weight)
        self.mix_repeat = mix_repeat
        self.clean_pass, self.clean_weight = clean_pass, clean_weight
        self.guide, self.guide_pass = guide, guide_pass
        mixers = build_mixers(modes, alpha, mix_args or {})
        self.mixers = take_samples(mixers, mix_sample_prob)
        choice = Choice(self.mixers, check_probabilities(mix_prob, modes))
        self.policy = choice if mix_epochs is None else Window(choice, *check_epochs(mix_epochs))
        self.mix_points = self._install_mix_points()
        self._check_needs()

    def _install_mix_points(self) -> MixPoints | None:
        feature_modes = [m.name for m in self.mixers if m.kind == "feature"]
        if not feature_modes:
            return None
        stages = getattr(self.backbone, "stage_names", None)
        if not stages:
            name = type(self.backbone).__name__
            raise ValueError(f"{feature_modes[0]} mixes between stages, but {name} names none (stage_names)")
        if any(getattr(m, "grad_checkpointing", False) for m in self.backbone.modules()):
            raise ValueError(
                f"{feature_modes[0]} cannot mix where activations are computed anew in the backward pass: switch the "
                "backbone's grad_checkpointing off"
            )
        for m in self.mixers:
            if m.kind == "feature":  # a layer that this network lacks must not wait for the draw that hits it
                m.function(torch.arange(2), generator=torch.Generator(), stages=stages)
        return MixPoints(self.backbone, stages, getattr(self.backbone, "channels_last", False))

    def _check_needs(self) -> None:
        self.maps = NetworkMaps(self.backbone, self.neck, self.head)
        if self.guide is not None:
            if not isinstance(self.guide, Guide):
                kind = type(self.guide).__name__
                raise ValueError(f"guide must be an EMAGuide, FrozenGuide or SpectralResidual, got {kind}")
            self.guide.attach(self.backbone, self.neck, self.head)
        for m in self.mixers:
            if m.kind == "learned":
                raise ValueError(f"{m.name} {m.elsewhere}")
            of_mixed = [n for n in m.needs if m.kind == "label" and not n.startswith(CLEAN)]
            clean = [n.removeprefix(CLEAN) for n in m.needs if n not in of_mixed] + list(m.base.needs if m.base else ())
            unknown = [n for n in of_mixed if n not in OF_MIXED]
            try:
                if unknown:
                    raise ValueError(f"{unknown[0]}: this task does not compute it for mixed images")
                self.maps.require([n for n in of_mixed if n not in ("features", "logits")])
                for need in clean:
                    (self.guide if self.guide is not None and self.guide.is_asked(need) else self.maps).require([need])
            except ValueError as error:
                raise ValueError(
                    f"{m.name} needs what cannot be had of {type(self.backbone).__name__}: {error}"
                ) from error

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Return ``loss`` and ``top1_dominant``, the per cent predicted as the label of the largest share."""
        generator, clean = context.generator("mix"), self.clean_context(batch)
        results = [
            self._mixed_step(clean, self.policy.draw(generator, context.epoch), generator)
            for _ in range(self.mix_repeat)
        ]
        losses, hits = zip(*results, strict=True)
        loss, term = mean_of(losses), clean.clean_term()
        return {"loss": loss if term is None else loss + term, "top1_dominant": 100 * mean_of(hits)}

    def clean_context(self, batch: Batch) -> MixContext:
        """Return what serves the needs of this task's methods for a batch."""
        return MixContext(self.maps, self.guide, batch, self.clean_weight)

    def begin(self) -> None:
        """Let the guide know."""
        if self.guide is not None:
            self.guide.begin()

    def after_step(self, context: StepContext) -> None:
        """Let the guide follow."""
        if self.guide is not None:
            self.guide.follow()

    def mix_images(self, clean: MixContext, mixer: AnyMixer, generator: torch.Generator) -> Mixed:
        """Mix a clean batch by a method that mixes images, handing it what it needs."""
        batch, needs = clean.batch, clean.serve(mixer.needs, self._pass_of(mixer))
        return mixer(batch.images, batch.labels, generator=generator, pixel_range=batch.pixel_range, **needs)

    def _pass_of(self, mixer: AnyMixer) -> GuidePass:
        """Return the mode for a method's needs: the authors' run that of a saliency once, if they train on it too."""
        usual = "train" if self.clean_weight and "saliency" in mixer.needs else mixer.guide_pass
        return self.guide_pass or usual

    def _mixed_step(self, clean: MixContext, mixer: AnyMixer, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if mixer.kind == "feature":
            logits, target = self._mix_features(clean, mixer, generator)
        else:
            mixed = self.mix_images(clean, mixer.base or mixer, generator)
            if self.clean_pass:
                clean.pass_once()
            logits, target = self._predict_mixed(clean, mixer, mixed)
        hits = logits.argmax(1) == target.dominant()
        return self.head.loss(logits, target), hits.float().mean()

    def _predict_mixed(self, clean: MixContext, mixer: AnyMixer, mixed: Mixed) -> tuple[Tensor, MixTarget]:
        """Return logits and labels of mixed images; a method of kind 'label' weighs these by what was computed."""
        if mixer.kind != "label":
            return self.predict(mixed.images), mixed.target
        of_clean = [n for n in mixer.needs if n.startswith(CLEAN)]
        served = clean.serve([n.removeprefix(CLEAN) for n in of_clean], self._pass_of(mixer))
        needs = dict(zip(of_clean, served.values(), strict=True))
        with self.maps.recording(mixer.needs):
            features = self.backbone(mixed.images)
        logits = self.head(self.neck(features))
        own = {"features": lambda: features[-1].detach(), "logits": lambda: logits.detach()}
        for need in mixer.needs:
            if need not in needs:
                needs[need] = own[need]() if need in own else self.maps.seen(need)
        return logits, mixer.function(mixed, **needs)

    def _mix_features(self, clean: MixContext, mixer: AnyMixer, generator: torch.Generator) -> tuple[Tensor, MixTarget]:
        assert self.mix_points is not None
        if self.clean_pass:
            clean.pass_once()
        batch = clean.batch
        mix = mixer.function(batch.labels, generator=generator, stages=self.mix_points.stages)
        images = mix.plan.apply(batch.images) if mix.stage is None else batch.images
        with self.mix_points.armed(mix.stage, mix.plan):
            logits = self.predict(images)
        return logits, mix.target


def mean_of(values: Sequence[Tensor]) -> Tensor:
    """Return the mean of some 0-d tensors; a single one is its own."""
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean()


def build_mixers(
    modes: Sequence[str], alpha: float | Sequence[float | None] | None, mix_args: Mapping[str, Mapping[str, Any]]
) -> list[Mixer]:
    """Build one mixer a mode; ``alpha`` goes to those that have one and are not given another in ``mix_args``."""
    if not modes:
        raise ValueError("mix_mode names no method; known: " + ", ".join(list_mixers()))
    alphas = list(alpha) if isinstance(alpha, Sequence) else [alpha] * len(modes)
    if len(alphas) != len(modes):
        raise ValueError(f"alpha has {len(alphas)} values for {len(modes)} modes {modes}; give one for each, or one")
    for name in mix_args:
        if name not in list_mixers():
            raise ValueError(
                f"mix_args has an entry for {name!r}, which is no method{did_you_mean(name, list_mixers())}"
            )
        build_mixer(name, **mix_args[name])
    mixers = []
    for name, own_alpha in zip(modes, alphas, strict=True):
        takes_alpha = own_alpha is not None and "alpha" in get_method(name).hyper
        mixers.append(build_mixer(name, **({"alpha": own_alpha} if takes_alpha else {}) | dict(mix_args.get(name, {}))))
    return mixers


def take_samples(mixers: Sequence[Mixer], prob: float | Sequence[float]) -> list[AnyMixer]:
    """Let each mixer act on each image with a probability only: one for all mixers, or one for each."""
    probs = list(prob) if isinstance(prob, Sequence) else [prob] * len(mixers)
    if len(probs) != len(mixers):
        raise ValueError(f"mix_sample_prob has {len(probs)} values for {len(mixers)} modes; give one for each, or one")
    for p in probs:
        check_probability("mix_sample_prob", p)
    return [m if p == 1 else PerSample(m, p) for m, p in zip(mixers, probs, strict=True)]


def check_epochs(mix_epochs: Sequence[int | None]) -> tuple[int, int | None]:
    """Return ``(start, stop)``, or raise ValueError."""
    start, stop = mix_epochs if len(mix_epochs) == 2 else (-1, None)
    if start is None or start < 0 or (stop is not None and stop <= start):
        raise ValueError(f"mix_epochs must be (start, stop) with 0 <= start < stop, got {list(mix_epochs)}")
    return start, stop


def check_probabilities(mix_prob: Sequence[float] | None, modes: Sequence[str]) -> list[float] | None:
    """Return the modes' probabilities, or raise ValueError; None is uniform."""
    if mix_prob is None:
        return None
    if len(mix_prob) != len(modes):
        raise ValueError(f"mix_prob has {len(mix_prob)} values for {len(modes)} modes {list(modes)}")
    if not (all(p >= 0 for p in mix_prob) and abs(sum(mix_prob) - 1) <= 1e-6):  # so written, NaN fails as well
        raise ValueError(f"mix_prob must be >= 0 and sum to 1, got {list(mix_prob)}, which sums to {sum(mix_prob):.6g}")
    return list(mix_prob)
