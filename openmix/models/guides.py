"""Whom guided methods ask, if not the network that is being trained: its average, a frozen one, or the image itself.

In a config: ``model = dict(..., guide=dict(type='EMAGuide'))``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.models.averages import average_of, follow
from openmix.models.necks import GlobalAveragePooling
from openmix.models.network_maps import NEEDS, NetworkMaps
from openmix.models.weights import fit_weights, read_weights
from openmix.ops.checks import check_choice, check_integer
from openmix.ops.saliency import spectral_residual

__all__ = ["EMAGuide", "FrozenGuide", "Guide", "SpectralResidual"]


class Guide(nn.Module):
    """Serves what methods need. It always is in mode 'eval', and nothing of it is trained by the loss.

    Attributes:
        serves: the needs that it is asked for, the others being asked of the network itself; None is all.
    """

    serves: tuple[str, ...] | None = None

    def is_asked(self, need: str) -> bool:
        """Whether this guide serves a need, and not the network that is being trained."""
        return self.serves is None or need in self.serves

    def attach(self, backbone: nn.Module, neck: nn.Module, head: nn.Module) -> None:
        """Get to know the network that is being trained; called once, when the task is built."""

    def require(self, needs: Sequence[str]) -> None:
        """Get ready to serve ``needs``.

        Raises:
            ValueError: this guide cannot serve one of them; the message says why.
        """
        raise NotImplementedError

    def provide(self, need: str, images: Tensor, labels: Tensor) -> Tensor:
        """Compute a need for normalised images (B, C, H, W) and labels (B,)."""
        raise NotImplementedError

    def begin(self) -> None:
        """Take notice of weights that the network that is being trained was given after it was built."""

    def follow(self) -> None:
        """Move on behind the network that is being trained; called after each optimizer step."""

    def train(self, mode: bool = True) -> Guide:
        """Stay in mode 'eval'."""
        return super().train(False)


class SpectralResidual(Guide):
    """Saliency of the image alone, by :func:`openmix.ops.saliency.spectral_residual`: no network, next to no cost.

    It serves ``saliency``. GuidedMixup's 'sr' is ``guidedmix`` with this guide, its 'ap' is without any.
    """

    def require(self, needs: Sequence[str]) -> None:
        """See :class:`Guide`."""
        for need in needs:
            if need != "saliency":
                raise ValueError(f"{need}: SpectralResidual serves saliency only")

    def provide(self, need: str, images: Tensor, labels: Tensor) -> Tensor:
        """See :class:`Guide`."""
        return spectral_residual(images)


class FrozenGuide(Guide):
    """A network that is not trained, such as one with ImageNet's weights.

    Its weights are part of the run's checkpoints, so that testing and resuming do not look for them elsewhere.

    Args:
        backbone: images -> tuple of feature maps, in a config ``dict(type='TimmBackbone', name=..., pretrained=True)``.
        head: pooled features -> logits over the same classes, for saliency and class activation maps; default none.
        checkpoint: a file of weights for them, of openmix or another code base; default none.
        size: images are resized to this height and width for it, an integer >= 1; default none. Maps in pixels are
            resized back.
        serves: the needs that it is asked for, where others are to be asked of the network that is being trained, for
            example ``["features"]``; default all.

    Raises:
        ValueError: size or serves out of range; the file is missing, or of another network; a head of other classes
            than the task's.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module | None = None,
        checkpoint: str | None = None,
        size: int | None = None,
        serves: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if size is not None:
            check_integer("size", size, 1)
        for need in serves or ():
            check_choice("serves", need, NEEDS)
        self.serves = None if serves is None else tuple(serves)
        self.size = size
        self.backbone, self.head = backbone, head
        self.maps = NetworkMaps(backbone, GlobalAveragePooling() if head is not None else None, head)
        if checkpoint is not None:
            self._load(checkpoint)
        self.requires_grad_(False)
        self.eval()

    def _load(self, checkpoint: str) -> None:
        if torch.empty(0).device.type == "meta":  # a trial, which makes no numbers, or a test, which has them already
            return
        if not Path(checkpoint).is_file():
            raise ValueError(f"no file of weights {checkpoint}")
        self.load_state_dict(fit_weights(read_weights(checkpoint), self).weights)

    def attach(self, backbone: nn.Module, neck: nn.Module, head: nn.Module) -> None:
        """See :class:`Guide`."""
        ours, theirs = (getattr(h, "num_classes", None) for h in (self.head, head))
        if ours is not None and ours != theirs:
            raise ValueError(f"the guide's head has num_classes={ours}, the task's has {theirs}")

    def require(self, needs: Sequence[str]) -> None:
        """See :class:`Guide`."""
        self.maps.require(needs)

    def provide(self, need: str, images: Tensor, labels: Tensor) -> Tensor:
        """See :class:`Guide`."""
        height, width = images.shape[2:]
        if self.size is None:
            return self.maps.provide(need, images, labels)
        resized = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        found = self.maps.provide(need, resized, labels)
        if need != "saliency":
            return found
        return F.interpolate(found[:, None], (height, width), mode="bilinear", antialias=True)[:, 0]


class EMAGuide(Guide):
    """The exponential moving average of the network that is being trained, BatchNorm's statistics included.

    After each step ``ema = (1 - momentum) * ema + momentum * weights``; it begins as the weights that the run begins
    with. It is part of checkpoints. It is not ``EMAHook``'s average, which is for validation and may have another
    momentum.

    Args:
        momentum: the share of the new weights, in (0, 1). Default 0.001, as is usual for teachers.

    Raises:
        ValueError: momentum out of range.
    """

    def __init__(self, momentum: float = 0.001) -> None:
        super().__init__()
        if not 0 < momentum < 1:
            raise ValueError(f"momentum must be in (0, 1), got {momentum}")
        self.momentum = momentum
        self._student: tuple[nn.Module, ...] = ()

    def attach(self, backbone: nn.Module, neck: nn.Module, head: nn.Module) -> None:
        """See :class:`Guide`."""
        self._student = (nn.ModuleList([backbone, neck, head]),)  # in a tuple, a module is no part of this one
        self.average = average_of(self._student[0]).eval()
        self.maps = NetworkMaps(*self.average)  # type: ignore[misc]

    def require(self, needs: Sequence[str]) -> None:
        """See :class:`Guide`."""
        self.maps.require(needs)

    def provide(self, need: str, images: Tensor, labels: Tensor) -> Tensor:
        """See :class:`Guide`."""
        return self.maps.provide(need, images, labels)

    def begin(self) -> None:
        """See :class:`Guide`."""
        self.average.load_state_dict(self._student[0].state_dict())

    def follow(self) -> None:
        """See :class:`Guide`."""
        follow(self.average, self._student[0], self.momentum, buffers=True)
