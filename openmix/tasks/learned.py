"""What AutoMix, SAMix and AdAutoMix share: a student, its momentum encoder, and a mix block between them.

The momentum encoder looks at the clean images; the mix block makes masks of what it sees. Masks that are there to
train the mix block are judged by the momentum encoder, which lets the gradient through and takes none itself; masks
that are there to train the student reach it as data. So each loss trains one of the two.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from openmix.models.averages import average_of, follow
from openmix.models.heads import ClsHead
from openmix.ops.checks import check_choice, check_probability
from openmix.ops.learned_masks import cosine_between
from openmix.ops.many_plans import SumPlan
from openmix.ops.plans import OnDevice, mix
from openmix.ops.random import sample_beta, sample_sources
from openmix.ops.target import Mixed, MixTarget
from openmix.tasks.classification import Classification
from openmix.tasks.context import StepContext
from openmix.tasks.learned_mixer import LearnedMixer, map_of_stage

__all__ = ["PRESETS", "Draw", "LearnedMixing", "MapAt", "Momentum", "draw_pair", "map_at"]


PRESETS = ("openmixup",)


@dataclass(frozen=True)
class Momentum:
    """By how much the momentum encoder stays what it is in a step: a cosine after a constant beginning.

    Attributes:
        start: in [0, 1]. The authors' is 0.999.
        end: at the run's end, at least ``start``.
        constant: the share of the run in which it stays ``start``, in [0, 1]. The cosine counts from the run's
            beginning all the same, so there is a step up at this place, as in the authors' code.
    """

    start: float
    end: float
    constant: float

    def __post_init__(self) -> None:
        for name, value in (("momentum", self.start), ("momentum_end", self.end), ("momentum_start", self.constant)):
            check_probability(name, value)
        if self.end < self.start:
            raise ValueError(f"momentum_end must be at least momentum, got {self.end} and {self.start}")

    def at(self, progress: float) -> float:
        """Return the momentum where a share ``progress`` of the run was done before the step.

        >>> schedule = Momentum(0.999, 0.999999, 0.1)
        >>> schedule.at(0.05), round(schedule.at(0.5), 7), round(schedule.at(1.0), 7)
        (0.999, 0.9994995, 0.999999)
        """
        return self.start if progress < self.constant else cosine_between(self.start, self.end, progress)


@dataclass(frozen=True)
class Draw(OnDevice):
    """Which images are mixed, and in which shares; drawn on the CPU, and moved by ``to``, which waits for nothing.

    Attributes:
        sources: int64 (B, K), the image itself first.
        lam: float32 (1, K), the labels' weights, summing to 1: one draw for the batch, as in the authors' code.
    """

    sources: Tensor
    lam: Tensor

    def within(self, margin: float) -> bool:
        """Tell, on the CPU, whether the own share is so near 0 or 1, by ``margin``, that a mask would be of no use."""
        own = float(self.lam[0, 0])
        return min(own, 1 - own) <= margin

    def mixed(self, images: Tensor, labels: Tensor, shares: Tensor | None = None) -> Mixed:
        """Mix a batch by shares per pixel (B, K, H, W), or by lambda itself; labels weigh lambda either way."""
        lam = self.lam.expand(self.sources.shape)
        return mix(images, labels, SumPlan(self.sources, lam if shares is None else shares), weights=lam)


def draw_pair(batch_size: int, alpha: float, generator: torch.Generator) -> Draw:
    """Draw partners and lambda ~ Beta(alpha, alpha)."""
    lam = sample_beta(alpha, (1, 1), generator)
    return Draw(sample_sources(batch_size, 2, generator), torch.cat([lam, 1 - lam], dim=1))


class LearnedMixing(Classification):
    """Base of the tasks whose masks are learned while the network trains.

    The momentum encoder's parameters are the average of the student's. It runs in mode 'train', on the statistics of
    its batches, and its running statistics, which only evaluation looks at, are those of its own passes: averaged
    ones would be another network's. Its clean pass ends at ``mask_layer``, so that behind it running statistics are of
    mixed images alone, as in all training on mixed images, but for AdAutoMix's adversarial steps; in the authors' code
    they are of clean and mixed ones.

    Validation reports the student as ``top1``, again as ``top1_q``, the momentum encoder as ``top1_k``, and what either
    says by its other classifier, that of clean images, as ``top1_one_q`` and ``top1_one_k``.

    Args:
        backbone: images -> tuple of feature maps, one for each of its ``stage_names``.
        head: pooled features -> logits of mixed images, and their loss on a ``MixTarget``.
        mix_block: features, sources, lambda, size -> shares, see :class:`~openmix.models.mix_block.PixelMixBlock`.
        neck: feature maps -> pooled features; default global average pooling.
        head_one: the classifier of clean images; default one of its own that begins as ``head`` does. Where a run is
            given weights (``load_from``) it begins as ``head`` in any case, if it is of the same form.
        mask_layer: which of the backbone's maps the mix block sees, counted from 0, or from the end below 0.
        momentum: of the momentum encoder, see :class:`Momentum`.
        preset: None, the methods as their authors mean them, or 'openmixup'.

    Raises:
        ValueError: there is no such map, or it has one place only; another preset.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: ClsHead,
        mix_block: nn.Module,
        neck: nn.Module | None,
        head_one: ClsHead | None,
        mask_layer: int,
        momentum: Momentum,
        preset: str | None,
    ) -> None:
        super().__init__(backbone, head, neck)
        if preset is not None:
            check_choice("preset", preset, PRESETS)
        self.preset = preset
        self.head_one = head_one if head_one is not None else copy.deepcopy(head)
        if getattr(self.head_one, "num_classes", None) != self.num_classes:
            raise ValueError(f"head_one must have head's num_classes={self.num_classes}")
        self.stages, channels = map_at(backbone, mask_layer)
        check_mix_block(mix_block, channels)
        self.mix_block = mix_block
        self.momentum = momentum
        networks = {"backbone": self.backbone, "neck": self.neck, "head": self.head, "head_one": self.head_one}
        self._student = (nn.ModuleDict(networks),)  # in a tuple, it is no second owner of them
        self.teacher = average_of(self._student[0])

    def predictions(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of student (q) and momentum encoder (k), by either of their two classifiers."""
        found = {}
        for name, networks in (("q", self._student[0]), ("k", self.teacher)):
            pooled = networks["neck"](networks["backbone"](images))
            found |= {name: networks["head"](pooled), f"one_{name}": networks["head_one"](pooled)}
        return {"": found["q"], **found}

    def compiled(self) -> list[nn.Module]:
        """Return both backbones."""
        return [self.backbone, self.teacher["backbone"]]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the groups ``student`` and ``mix_block``."""
        parts = {"student": self._student[0], "mix_block": self.mix_block}
        return [{"name": n, "params": [p for p in m.parameters() if p.requires_grad]} for n, m in parts.items()]

    def begin(self) -> None:
        """Let the momentum encoder begin as the student does, and, of one form, its second classifier as its first."""
        if shapes_of(self.head_one) == shapes_of(self.head):
            self.head_one.load_state_dict(self.head.state_dict())
        self.teacher.load_state_dict(self._student[0].state_dict())

    def after_step(self, context: StepContext) -> None:
        """Let the momentum encoder follow the student."""
        follow(self.teacher, self._student[0], 1 - self.momentum.at(context.progress), buffers=False)

    @torch.no_grad()
    def mask_features(self, images: Tensor) -> Tensor:
        """Return what the momentum encoder sees of clean images at ``mask_layer``: (B, C, h, w)."""
        return map_of_stage(self.teacher["backbone"], images, self.stages)

    def judge(self, images: Tensor) -> Tensor:
        """Return the momentum encoder's logits for mixed images; a gradient goes through to the images."""
        return self.teacher["head"](self.teacher["neck"](self.teacher["backbone"](images)))

    def shares(self, features: Tensor, draw: Draw, size: tuple[int, int]) -> Tensor:
        """Return the mix block's masks for a draw on the features' device: float32 (B, K, H, W)."""
        return self.mix_block(features, draw.sources, draw.lam, size)

    @property
    def mixers(self) -> list[LearnedMixer]:
        """What the student is shown, for previews and for other runs."""
        raise NotImplementedError

    def as_mixer(self, draws: Callable[..., Draw], lam_margin: float) -> LearnedMixer:
        """Return what the student is shown as a mixer, for previews and for other runs.

        Args:
            draws: how the student's mix is drawn. It outlives the task with the mixer and must not hold it.
            lam_margin: see :class:`~openmix.tasks.learned_mixer.LearnedMixer`.
        """
        name = type(self).__name__.removesuffix("Classification").lower()
        return LearnedMixer(name, self.teacher["backbone"], self.stages, self.mix_block, draws, lam_margin)

    def learn_clean(self, images: Tensor, labels: Tensor | MixTarget) -> Tensor:
        """Return the student's cross entropy on what is not mixed by masks, by its classifier of that."""
        logits = self.head_one(self.neck(self.backbone(images)))
        return self.head_one.loss(logits, labels)

    def learn_mixed(self, mixed: Mixed) -> tuple[Tensor, Tensor]:
        """Return the student's cross entropy on mixed images, and the per cent predicted as the largest share."""
        logits = self.predict(mixed.images)
        hits = logits.detach().argmax(1) == mixed.target.dominant()
        return self.head.loss(logits, mixed.target), 100 * hits.float().mean()


class MapAt(NamedTuple):
    """One of a backbone's maps: how many stages it takes, and how many channels it has."""

    stages: int
    channels: int


def map_at(backbone: nn.Module, mask_layer: int) -> MapAt:
    """Return what the map that a mix block is to see is like, or raise ValueError where it can do nothing with it."""
    name, channels = type(backbone).__name__, getattr(backbone, "out_channels", None)
    channels = channels if isinstance(channels, tuple | list) else ()
    stages = len(channels)
    if type(mask_layer) is not int or not -stages <= mask_layer < stages:
        raise ValueError(f"mask_layer must be one of the {stages} maps of {name}, {-stages} to {stages - 1}")
    upto = mask_layer % stages + 1
    if upto == stages and getattr(backbone, "last_map_is_pooled", False):
        raise ValueError(f"mask_layer={mask_layer}: the last map of this {name} has one place, and masks need several")
    return MapAt(upto, channels[mask_layer])


def check_mix_block(mix_block: nn.Module, channels: int) -> None:
    """Raise ValueError unless a module is called as mix blocks are, and takes features of so many channels."""
    try:
        inspect.signature(mix_block.forward).bind("features", "sources", "lam", "size")
    except TypeError as error:
        raise ValueError(
            f"mix_block must be called with features, sources, lam and size, as PixelMixBlock and AdaptiveMask are; "
            f"{type(mix_block).__name__} is not"
        ) from error
    takes = getattr(mix_block, "in_channels", channels)
    if takes != channels:
        raise ValueError(f"mix_block takes {takes} channels, the map at mask_layer has {channels}")


def shapes_of(module: nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of a module's tensors by name."""
    return {name: value.shape for name, value in module.state_dict().items()}
