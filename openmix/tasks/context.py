"""What a task is told about the step it computes, and what a method may ask of the network."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.data.batch import Batch
from openmix.mixers.catalog import GuidePass
from openmix.models.guides import Guide
from openmix.models.network_maps import NetworkMaps
from openmix.ops.guidance import LOSS_SCALE, rms_over_channels, run_in
from openmix.ops.random import derive_seed
from openmix.ops.replay import with_gradients

__all__ = ["MixContext", "StepContext"]

TOGETHER = 32  # steps whose seeds are derived at once


@dataclass(frozen=True)
class StepContext:
    """The place of one micro-batch in a run; every draw is a function of it.

    Attributes:
        seed: the run's seed.
        epoch: counts from 0.
        step: optimizer steps done before this one, over the whole run.
        shard: which of the step's micro-batches this is, over ranks and accumulation.
        progress: the share of the run that is done, in [0, 1).
    """

    seed: int
    epoch: int
    step: int
    shard: int
    progress: float

    def generator(self, stream: str) -> torch.Generator:
        """Return the CPU generator of a named stream of draws for this micro-batch."""
        return torch.Generator("cpu").manual_seed(self._seed_of(stream))

    def model_seed(self) -> int:
        """Return the seed for what a network draws from torch's global generators, such as dropout."""
        return self._seed_of("model")

    def _seed_of(self, stream: str) -> int:
        """Return ``derive_seed(seed, stream, step, shard)``."""
        return _seeds(self.seed, stream, self.step // TOGETHER, self.shard)[self.step % TOGETHER]


@functools.lru_cache(maxsize=256)
def _seeds(seed: int, stream: str, block: int, shard: int) -> list[int]:
    """Return the seeds of consecutive steps: in a row, each takes a tenth of what one takes between other things."""
    return [derive_seed(seed, stream, block * TOGETHER + i, shard) for i in range(TOGETHER)]


class MixContext:
    """What is to be known of a clean batch: each need is computed when first asked for, once a batch.

    Args:
        maps: the network that is being trained.
        guide: who is asked in its stead; None asks the network itself.
        batch: the clean batch.
        clean_weight: the weight that the clean images' cross entropy has in the loss, >= 0.
    """

    def __init__(self, maps: NetworkMaps, guide: Guide | None, batch: Batch, clean_weight: float) -> None:
        self.maps, self.guide, self.batch = maps, guide, batch
        self.clean_weight = clean_weight
        self.has_trained = False  # whether the clean images went through the network in mode 'train'
        self._served: dict[tuple[str, str], Tensor] = {}
        self._clean_term: Tensor | None = None

    def serve(self, needs: Sequence[str], guide_pass: GuidePass) -> dict[str, Tensor]:
        """Return the named tensors, ready to be passed on by keyword.

        Args:
            needs: their names, see :class:`~openmix.models.network_maps.NetworkMaps`.
            guide_pass: in which mode the network runs for them; another guide than it is always in 'eval'.
        """
        return {need: self._serve(need, guide_pass) for need in needs}

    def clean_term(self) -> Tensor | None:
        """Return the clean images' weighed cross entropy, to be added to the loss; None where it has no weight.

        Where the saliency came of this very pass, its backward pass has yielded the parameters' gradient as well, and
        that is what is added.
        """
        if not self.clean_weight:
            return None
        if self._clean_term is None:
            logits = self.maps.predict(self.batch.images)
            self._clean_term = self.clean_weight * F.cross_entropy(logits.float(), self.batch.labels)
        return self._clean_term

    def pass_once(self) -> None:
        """Let the clean images go through the network in mode 'train', if they have not yet, for BatchNorm's sake."""
        if self.has_trained or self.clean_weight:
            return
        self.has_trained = True
        with torch.no_grad():
            self.maps.backbone(self.batch.images)
        # torch before 2.10 keeps the weights that autocast cast here, and trains none that it finds so
        torch.clear_autocast_cache()

    def _serve(self, need: str, guide_pass: GuidePass) -> Tensor:
        guide = self.guide if self.guide is not None and self.guide.is_asked(need) else None
        key = need, "eval" if guide is not None else guide_pass
        if key not in self._served:
            images, labels = self.batch.images.detach(), self.batch.labels
            if guide is not None:
                self._served[key] = guide.provide(need, images, labels)
            else:
                self._served[key] = self._compute(need, guide_pass, images, labels)
        return self._served[key]

    def _compute(self, need: str, guide_pass: GuidePass, images: Tensor, labels: Tensor) -> Tensor:
        self.has_trained |= guide_pass == "train"
        with run_in(guide_pass, *self.maps.modules):
            if need == "saliency" and guide_pass == "train" and self.clean_weight:
                return self._saliency_and_clean_term(images, labels)
            found = self.maps.provide(need, images, labels)
        torch.clear_autocast_cache()  # see pass_once
        return found

    def _saliency_and_clean_term(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the saliency, and keep what the same backward pass says of the parameters."""
        parameters = [p for m in self.maps.modules for p in m.parameters() if p.requires_grad]
        x = images.clone().requires_grad_()
        # the sum, and not the mean, and scaled, so that what is small does not vanish in half precision
        loss = F.cross_entropy(self.maps.predict(x).float(), labels, reduction="sum")
        of_images, *of_parameters = torch.autograd.grad(LOSS_SCALE * loss, [x, *parameters], allow_unused=True)
        torch.clear_autocast_cache()
        used = [(p, g) for p, g in zip(parameters, of_parameters, strict=True) if g is not None]
        scale = self.clean_weight / len(labels)
        gradients = torch._foreach_mul([g for _, g in used], scale / LOSS_SCALE)
        self._clean_term = with_gradients(scale * loss, [p for p, _ in used], gradients)
        return rms_over_channels(of_images.float() / LOSS_SCALE)
