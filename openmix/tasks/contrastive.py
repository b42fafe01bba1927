"""What the tasks share that compare views of an image: a projector, and in some a momentum encoder."""

from typing import cast

import torch
from torch import Tensor, nn

from openmix.models.averages import average_of, follow
from openmix.models.heads import ClsHead
from openmix.tasks.context import StepContext
from openmix.tasks.learned import Momentum
from openmix.tasks.selfsup import SelfSupervised

__all__ = ["Contrastive", "MomentumContrast", "check_predictor", "pair_of"]


class Contrastive(SelfSupervised):
    """Base of the tasks that compare projected features of an image's views.

    Args:
        backbone: images -> tuple of feature maps.
        probe: pooled features -> logits, and their loss; it learns beside, see :class:`SelfSupervised`.
        projector: pooled features -> what is compared; has an attribute ``out_channels``.
        neck: feature maps -> pooled features; default global average pooling.

    Raises:
        ValueError: the projector does not say how many channels it gives.
    """

    def __init__(self, backbone: nn.Module, probe: ClsHead, projector: nn.Module, neck: nn.Module | None) -> None:
        super().__init__(backbone, probe, neck)
        self.projector = projector
        self.channels = channels_of(projector, "projector")

    def projections(self, images: Tensor) -> Tensor:
        """Return what the loss compares of normalised images (B, C, H, W): (B, C'), of any length."""
        return self.projector(self.features(images))


class MomentumContrast(Contrastive):
    """Base of those whose keys come from a momentum encoder: an average of backbone, neck and projector.

    It takes no gradient. After each step it follows the network's parameters; in training it runs on the statistics of
    its own batches, and its BatchNorm's running statistics, which nothing looks at, are those of its own passes. So in
    the authors' code, which moves it at the beginning of the next step, to the same effect.

    Args:
        backbone: images -> tuple of feature maps.
        probe: pooled features -> logits, and their loss.
        projector: pooled features -> what is compared.
        neck: feature maps -> pooled features; None is global average pooling.
        momentum: the share of itself that the momentum encoder keeps in a step, by the run's progress before it.
    """

    def __init__(
        self, backbone: nn.Module, probe: ClsHead, projector: nn.Module, neck: nn.Module | None, momentum: Momentum
    ) -> None:
        super().__init__(backbone, probe, projector, neck)
        self.momentum = momentum
        networks = {"backbone": self.backbone, "neck": self.neck, "projector": self.projector}
        self._student = (nn.ModuleDict(networks),)  # in a tuple, it is no second owner of them
        self.teacher = average_of(self._student[0])

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return what the momentum encoder makes of images: (B, C), of any length, in float32 at least."""
        features = self.teacher["neck"](self.teacher["backbone"](images))
        projected = self.teacher["projector"](features)
        return projected.to(torch.promote_types(projected.dtype, torch.float32))

    def compiled(self) -> list[nn.Module]:
        """Return both backbones."""
        return [self.backbone, self.teacher["backbone"]]

    def begin(self) -> None:
        """Let the momentum encoder begin as the network does."""
        self.teacher.load_state_dict(self._student[0].state_dict())

    def after_step(self, context: StepContext) -> None:
        """Let the momentum encoder follow the network."""
        follow(self.teacher, self._student[0], 1 - self.momentum.at(context.progress), buffers=False)


def pair_of(views: tuple[Tensor, ...], method: str) -> tuple[Tensor, Tensor]:
    """Return the two views that a method compares, or raise ValueError where there are others that it would not use."""
    if len(views) != 2:
        raise ValueError(f"{method} compares 2 views of each image, the pipeline gives {len(views)}")
    return cast("tuple[Tensor, Tensor]", views)


def channels_of(part: nn.Module, name: str) -> int:
    """Return how many channels a part gives, or raise ValueError where it does not say so."""
    channels = getattr(part, "out_channels", None)
    if not isinstance(channels, int):
        raise ValueError(f"{name} must say what it gives by an attribute out_channels, as ProjectionMLP does")
    return channels


def check_predictor(predictor: nn.Module, channels: int) -> None:
    """Raise ValueError unless a predictor gives what a projector of so many channels does."""
    given = channels_of(predictor, "predictor")
    if given != channels:
        raise ValueError(f"predictor gives {given} channels, and the projector, whose output it predicts, {channels}")
