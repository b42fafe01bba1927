"""Mixers made of mixers: one of several, some images only, some epochs only, several mixes of one batch.

All are called as a mixer is, and may be put into one another; a config's ``mix_mode``, ``mix_prob``,
``mix_sample_prob`` and ``mix_epochs`` are built of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.mixers.catalog import GuidePass, Kind
from openmix.mixers.mixer import ELSEWHERE, Mixer, build_mixer
from openmix.ops.checks import check_integer, check_probability
from openmix.ops.group_plans import PartPlan, StackPlan
from openmix.ops.plans import FeatureMix
from openmix.ops.random import sample_uniform
from openmix.ops.target import Mixed, MixTarget

__all__ = ["Choice", "Composition", "PerSample", "Repeat", "Window"]


class Composition:
    """What compositions share: they stand where a :class:`~openmix.mixers.mixer.Mixer` can.

    Args:
        mixers: what it is made of: mixers or compositions.
    """

    base: Mixer | None = None

    def __init__(self, *mixers: Mixer | Composition) -> None:
        for m in mixers:
            if not isinstance(m, Mixer | Composition):
                raise ValueError(f"{type(self).__name__} is made of mixers, such as openmix.CutMix(), got {m!r}")
        self.mixers = mixers

    @property
    def name(self) -> str:
        """The names of what it is made of."""
        return "+".join(m.name for m in self.mixers)

    @property
    def kind(self) -> Kind:
        """The kind of what it is made of; 'mixed' where kinds differ."""
        first = self.mixers[0].kind
        return first if all(m.kind == first for m in self.mixers) else "mixed"

    @property
    def needs_epoch(self) -> bool:
        """Whether it must be told the epoch at every call."""
        return any(isinstance(m, Composition) and m.needs_epoch for m in self.mixers)

    @property
    def elsewhere(self) -> str:
        """Where it cannot be called on images: why, and what to do instead."""
        return ELSEWHERE["mixed"] if self.kind == "mixed" else self.mixers[0].elsewhere

    @property
    def frozen(self) -> bool:
        """Whether one of its mixers mixes by a finished run's networks."""
        return any(m.frozen for m in self.mixers)

    @property
    def needs(self) -> tuple[str, ...]:
        """All that its mixers need."""
        return tuple(dict.fromkeys(need for m in self.mixers for need in m.needs))

    @property
    def guide_pass(self) -> GuidePass:
        """The argument's default: 'train' where one of its mixers' authors run the network so for what it needs."""
        return "train" if any(m.guide_pass == "train" for m in self.mixers if m.needs) else "eval"

    def draw(self, generator: torch.Generator | None = None, epoch: int | None = None) -> Mixer | Composition:
        """Return which mixer mixes the next batch."""
        return self

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator | None = None,
        epoch: int | None = None,
        pixel_range: Tensor | None = None,
        model: torch.nn.Module | None = None,
        guide_pass: GuidePass | None = None,
        **needs: Tensor,
    ) -> Mixed:
        """Mix a batch; arguments as for :class:`~openmix.mixers.mixer.Mixer`, and ``epoch``, counted from 0.

        Raises:
            TypeError: something it is made of does not mix images, or is not given what it needs.
        """
        if self.kind != "input":
            raise TypeError(f"{self.name} cannot be called on images: it {self.elsewhere}")
        unknown = [key for key in needs if key not in self.needs]
        if unknown:
            raise TypeError(f"{self.name} takes no {unknown[0]!r}; it needs: {', '.join(self.needs) or 'nothing'}")
        call = {"generator": generator, "epoch": epoch, "pixel_range": pixel_range}
        given = {**call, "model": model, "guide_pass": guide_pass, **needs}
        return self._mix(images, labels, given)

    def _mix(self, images: Tensor, labels: Tensor, given: dict[str, Any]) -> Mixed:
        return self._call(self.draw(given["generator"], given["epoch"]), images, labels, given)

    def _call(self, mixer: Mixer | Composition, images: Tensor, labels: Tensor, given: dict[str, Any]) -> Mixed:
        """Call one of its mixers with what was given, but for what others of them need."""
        own = {k: v for k, v in given.items() if k not in self.needs or k in mixer.needs}
        return mixer(images, labels, **own)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([*map(repr, self.mixers), *self._settings()])})"

    def _settings(self) -> list[str]:
        """Return what a representation says beside the mixers."""
        return []


class Choice(Composition):
    """One of several mixers, drawn anew for each batch.

    Args:
        mixers: at least one.
        probs: the probability of each; they sum to 1 at most, and the rest leaves the batch alone. None is uniform.

    Raises:
        ValueError: probabilities that are not one for each, negative, or more than 1 in all.

    >>> import openmix
    >>> mixer = Choice([openmix.MixUp(alpha=0.8), openmix.CutMix()], probs=[0.5, 0.5])
    >>> mixer(torch.zeros(4, 3, 8, 8), torch.arange(4)).target.weights.shape
    torch.Size([4, 2])
    """

    def __init__(self, mixers: Sequence[Mixer | Composition], probs: Sequence[float] | None = None) -> None:
        if not isinstance(mixers, Sequence) or not mixers:
            raise ValueError(f"mixers must be a list of at least one mixer, got {mixers!r}")
        super().__init__(*mixers)
        probs = [1 / len(self.mixers)] * len(self.mixers) if probs is None else list(probs)
        if len(probs) != len(self.mixers):
            raise ValueError(f"probs has {len(probs)} values for {len(self.mixers)} mixers")
        if not (all(p >= 0 for p in probs) and sum(probs) <= 1 + 1e-6):  # so written, NaN fails as well
            raise ValueError(f"probs must be >= 0 and sum to 1 at most, got {probs}, which sums to {sum(probs):.6g}")
        self.probs = torch.tensor(probs, dtype=torch.float64, device="cpu")
        rest = 1 - float(self.probs.sum())
        if rest > 1e-6:
            self.mixers = (*self.mixers, build_mixer("vanilla"))
            self.probs = torch.cat([self.probs, torch.tensor([rest], dtype=torch.float64, device="cpu")])

    def draw(self, generator: torch.Generator | None = None, epoch: int | None = None) -> Mixer | Composition:
        """Draw a mixer; nothing is drawn where there is one only."""
        i = int(torch.multinomial(self.probs, 1, generator=generator)) if len(self.mixers) > 1 else 0
        return self.mixers[i].draw(generator, epoch)

    def _settings(self) -> list[str]:
        return [f"probs={[round(p, 6) for p in self.probs.tolist()]}"]


class Window(Composition):
    """A mixer that acts in some epochs only; outside of them batches are left alone.

    Args:
        mixer: what acts.
        start: its first epoch, counted from 0.
        stop: the first epoch in which it no longer acts; None is never.

    Raises:
        ValueError: start < 0, or stop <= start.

    >>> import openmix
    >>> mixer = Window(openmix.CutMix(), start=0, stop=90)
    >>> mixer(torch.zeros(2, 3, 8, 8), torch.arange(2), epoch=90).target.weights[:, 0]
    tensor([1., 1.])
    """

    def __init__(self, mixer: Mixer | Composition, start: int = 0, stop: int | None = None) -> None:
        super().__init__(mixer)
        check_integer("start", start, 0)
        if stop is not None:
            check_integer("stop", stop, start + 1)
        self.start, self.stop = start, stop
        self.outside = build_mixer("vanilla")

    @property
    def needs_epoch(self) -> bool:
        """True."""
        return True

    def draw(self, generator: torch.Generator | None = None, epoch: int | None = None) -> Mixer | Composition:
        """Return the mixer, or the one that leaves batches alone.

        Raises:
            TypeError: no epoch is given.
        """
        if epoch is None:
            raise TypeError("a Window must be told the epoch, counted from 0: mixer(images, labels, epoch=epoch)")
        return self.mixers[0].draw(generator, epoch) if self.acts(epoch) else self.outside

    def acts(self, epoch: int) -> bool:
        """Whether the mixer acts in this epoch, counted from 0."""
        return self.start <= epoch and (self.stop is None or epoch < self.stop)

    def _settings(self) -> list[str]:
        return [f"start={self.start}, stop={self.stop}"]


class PerSample(Composition):
    """A mixer that acts on each image with some probability only; the others are left alone.

    An image that is left alone may still be another's partner.

    Args:
        mixer: what acts: a mixer or composition that mixes images and returns as many as it is given, or a method that
            mixes features.
        prob: of an image to take part, in [0, 1].

    Raises:
        ValueError: prob out of range, or a mixer that this cannot take.

    >>> import openmix
    >>> mixed = PerSample(openmix.CutMix(), prob=0.5)(torch.zeros(8, 3, 8, 8), torch.arange(8))
    >>> mixed.target.weights.shape
    torch.Size([8, 2])
    """

    def __init__(self, mixer: Mixer | Composition, prob: float) -> None:
        super().__init__(mixer)
        check_probability("prob", prob)
        self.prob = prob
        if self.kind != "input" and not (self.kind == "feature" and isinstance(mixer, Mixer)):
            raise ValueError(f"PerSample takes mixers of images, and methods of kind 'feature'; not {mixer!r}")
        if self.kind == "input" and not self.needs and not self.frozen:
            images, labels = torch.zeros(2, 1, 32, 32, device="cpu"), torch.arange(2, device="cpu")
            self(images, labels, generator=torch.Generator("cpu").manual_seed(0), epoch=0)

    def _settings(self) -> list[str]:
        return [f"prob={self.prob}"]

    def _choose(self, batch_size: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        return (sample_uniform(0, 1, (batch_size,), generator) < self.prob).to(device, non_blocking=True)

    def _mix(self, images: Tensor, labels: Tensor, given: dict[str, Any]) -> Mixed:
        mixed = self._call(self.mixers[0], images, labels, given)
        if len(mixed.images) != len(images):
            raise ValueError(
                f"{self.name} returns more images than it is given; PerSample can leave none of them alone"
            )
        chosen = self._choose(len(images), given["generator"], images.device)
        plan = PartPlan(mixed.plan, chosen)
        target = MixTarget(labels[plan.sources], plan.keep(mixed.target.weights))
        return Mixed(torch.where(chosen[:, None, None, None], mixed.images, images), target, plan)

    def function(
        self, labels: Tensor, *, generator: torch.Generator | None = None, stages: Sequence[str]
    ) -> FeatureMix:
        """Draw a mix of features, as methods of kind 'feature' do, for some images only."""
        method = self.mixers[0]
        assert isinstance(method, Mixer)  # the constructor saw to it
        mix = method.function(labels, generator=generator, stages=stages)
        plan = PartPlan(mix.plan, self._choose(len(labels), generator, labels.device))
        return FeatureMix(mix.stage, plan, MixTarget(labels[plan.sources], plan.keep(mix.target.weights)))


class Repeat(Composition):
    """n mixes of one batch, in one batch of n times the size: batch augmentation (Hoffer et al., arXiv:1901.09335).

    Args:
        mixer: what mixes.
        n: how often, >= 1.

    Raises:
        ValueError: n < 1.

    >>> import openmix
    >>> mixed = Repeat(openmix.CutMix(), 2)(torch.zeros(4, 3, 8, 8), torch.arange(4))
    >>> mixed.images.shape, mixed.sources[:, 0]
    (torch.Size([8, 3, 8, 8]), tensor([0, 1, 2, 3, 0, 1, 2, 3]))
    """

    def __init__(self, mixer: Mixer | Composition, n: int) -> None:
        super().__init__(mixer)
        check_integer("n", n, 1)
        if self.kind != "input":
            raise ValueError(f"Repeat takes mixers of images; {self.name} is of kind {self.kind!r}")
        self.n = n

    def _settings(self) -> list[str]:
        return [f"n={self.n}"]

    def _mix(self, images: Tensor, labels: Tensor, given: dict[str, Any]) -> Mixed:
        mixes = [self._call(self.mixers[0], images, labels, given) for _ in range(self.n)]
        plan = StackPlan(tuple(m.plan for m in mixes))
        weights = plan.fill([m.target.weights for m in mixes])
        return Mixed(torch.cat([m.images for m in mixes]), MixTarget(labels[plan.sources], weights), plan)
