"""Mixers in the places that other libraries' training scripts have for them: timm's ``mixup_fn``, a ``collate_fn``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from openmix.mixers.compose import Choice, Composition
from openmix.mixers.mixer import Mixer, build_mixer
from openmix.mixers.vanilla import vanilla
from openmix.ops.checks import check_integer, check_probability
from openmix.ops.plans import check_batch
from openmix.ops.random import generator_for
from openmix.ops.target import MixTarget

__all__ = ["MixCollate", "TimmMixup"]


class TimmMixup:
    """A mixer that is called as timm's ``Mixup`` is, and takes its place in a training script.

    Unlike timm's it takes batches of odd size, leaves its arguments as they are, and has no target dtype that depends
    on the images'. A training script that mixes no longer after some epoch sets ``mixup_enabled`` to False; the targets
    are then smoothed one-hot rows.

    Args:
        mixer: of kind 'input', needing nothing but images and labels. Methods that compute with colours take the images
            to lie in [0, 1].
        num_classes: C.
        label_smoothing: s in [0, 1]. As timm has it, a dense target t becomes ``(1 - s) * t + s / C``.
        generator: a CPU generator; None takes torch's default one. (timm draws from numpy's.)

    Raises:
        ValueError: an argument out of range, or another kind of mixer.

    >>> from openmix import CutMix
    >>> images, target = TimmMixup(CutMix(), num_classes=10)(torch.zeros(3, 3, 8, 8), torch.tensor([0, 4, 9]))
    >>> target.shape, target.sum(1)
    (torch.Size([3, 10]), tensor([1., 1., 1.]))
    """

    def __init__(
        self,
        mixer: Mixer | Composition,
        num_classes: int,
        label_smoothing: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        _check_mixer(mixer)
        check_integer("num_classes", num_classes, 1)
        check_probability("label_smoothing", label_smoothing)
        self.mixer = mixer
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.generator = generator
        self.mixup_enabled = True

    @classmethod
    def from_args(
        cls,
        mixup_alpha: float = 1.0,
        cutmix_alpha: float = 0.0,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        label_smoothing: float = 0.1,
        num_classes: int = 1000,
        generator: torch.Generator | None = None,
    ) -> TimmMixup:
        """Build MixUp, CutMix or one of both by the arguments, and defaults, of timm's ``Mixup`` in mode 'batch'.

        Its other modes are left out; a lam for each image is ``PerSample(MixUp(per_sample=True), prob)``. An image's
        partner is drawn from the whole batch, where timm pairs the first with the last.

        Args:
            mixup_alpha: MixUp's alpha; 0 is no MixUp.
            cutmix_alpha: CutMix's alpha; 0 is no CutMix.
            prob: of a batch to be mixed, in [0, 1].
            switch_prob: of a mixed batch to be mixed by CutMix where both are there, in [0, 1].
            label_smoothing: see :class:`TimmMixup`.
            num_classes: see :class:`TimmMixup`.
            generator: see :class:`TimmMixup`.

        Raises:
            ValueError: an argument out of range, or both alphas 0.

        >>> TimmMixup.from_args(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=10).mixer
        Choice(MixUp(alpha=0.8, per_sample=False), CutMix(alpha=1.0, per_sample=False, tries=1), probs=[0.5, 0.5])
        """
        check_probability("prob", prob)
        check_probability("switch_prob", switch_prob)
        alphas = {"mixup": mixup_alpha, "cutmix": cutmix_alpha}
        mixers = [build_mixer(name, alpha=alpha) for name, alpha in alphas.items() if alpha]
        if not mixers:
            raise ValueError("mixup_alpha and cutmix_alpha are both 0: one must be above 0")
        shares = [1 - switch_prob, switch_prob] if len(mixers) == 2 else [1.0]
        return cls(Choice(mixers, [prob * share for share in shares]), num_classes, label_smoothing, generator)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            images: floating (B, C, H, W), on any device.
            labels: int64 (B,).

        Returns:
            Mixed images, and dense targets, float32 (B, num_classes).
        """
        mix = self.mixer if self.mixup_enabled else vanilla
        mixed = mix(images, labels, generator=self.generator)
        soft = mixed.target.soft(self.num_classes)
        return mixed.images, (1 - self.label_smoothing) * soft + self.label_smoothing / self.num_classes


class MixCollate:
    """A ``collate_fn`` that mixes: ``DataLoader(dataset, collate_fn=MixCollate(CutMix(), num_classes=10))``.

    It stands where torchvision's ``lambda batch: cutmix(*default_collate(batch))`` does, and unlike a lambda it reaches
    workers however they are started.

    Args:
        mixer: of kind 'input', needing nothing but images and labels. Methods that compute with colours take the images
            to lie in [0, 1].
        num_classes: C, for dense soft labels, float32 (B, C); None gives a :class:`~openmix.ops.target.MixTarget`, as
            :func:`openmix.mix_cross_entropy` takes.
        collate_fn: from a list of samples to (images, labels); None is torch's default.
        seed: None draws from torch's default generator, which a ``DataLoader`` seeds anew in each worker and epoch. An
            integer makes the mix a function of it and of the batch's labels in their order, whatever the worker, the
            number of workers and what transforms have drawn; batches that are not shuffled are then mixed alike in
            every epoch.

    Raises:
        ValueError: an argument out of range, or another kind of mixer.

    >>> from openmix import CutMix
    >>> dataset = [(torch.zeros(3, 8, 8), label) for label in range(4)]
    >>> images, target = MixCollate(CutMix(), num_classes=10)(dataset)
    >>> images.shape, target.shape
    (torch.Size([4, 3, 8, 8]), torch.Size([4, 10]))
    """

    def __init__(
        self,
        mixer: Mixer | Composition,
        num_classes: int | None = None,
        collate_fn: Callable[[list[Any]], Sequence[Any]] | None = None,
        seed: int | None = None,
    ) -> None:
        _check_mixer(mixer)
        if num_classes is not None:
            check_integer("num_classes", num_classes, 1)
        self.mixer = mixer
        self.num_classes = num_classes
        self.collate_fn = default_collate if collate_fn is None else collate_fn
        self.seed = seed

    def __call__(self, samples: list[Any]) -> tuple[Tensor, Tensor | MixTarget]:
        """Collate samples and mix the batch.

        Raises:
            ValueError: the samples make no pair of floating (B, C, H, W) images and int64 (B,) labels.
        """
        batch = self.collate_fn(samples)
        if not isinstance(batch, Sequence) or len(batch) != 2:
            raise ValueError(
                "samples must be pairs (image, label); pass a collate_fn that makes (images, labels) of them"
            )
        images, labels = batch
        check_batch(images, labels)
        generator = None if self.seed is None else generator_for(self.seed, "collate", *labels.tolist())
        mixed = self.mixer(images, labels, generator=generator)
        target = mixed.target
        return mixed.images, target if self.num_classes is None else target.soft(self.num_classes)


def _check_mixer(mixer: Mixer | Composition) -> None:
    if not isinstance(mixer, Mixer | Composition):
        raise ValueError(f"mixer must be one such as openmix.CutMix(), got {mixer!r}")
    if mixer.kind != "input" or mixer.needs:
        needs = f" and needs {', '.join(mixer.needs)}" if mixer.needs else ""
        raise ValueError(f"mixer must mix images and need nothing else; {mixer.name} is of kind {mixer.kind!r}{needs}")
    if isinstance(mixer, Composition) and mixer.needs_epoch:
        raise ValueError(f"mixer must not ask for the epoch, which is not known here; {mixer.name} has a Window")
