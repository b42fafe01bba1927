"""Plans: what a mixing method draws, small tensors made on the CPU, and their application, which draws nothing.

A plan may be applied to any tensor of the batch, on any device, and compiles without a graph break. Its label weights
are what is visible in its output.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from openmix.ops.blend import blend, select
from openmix.ops.planes import take_images
from openmix.ops.target import Mixed, MixTarget

__all__ = [
    "BlendPlan", "FeatureMix", "KeepPlan", "MaskPlan", "OnDevice", "Plan", "check_batch", "check_label_tensor",
    "check_size", "mix", "pair", "shares",
]  # fmt: skip

P = TypeVar("P", bound="OnDevice")


class Plan(Protocol):
    """What every plan offers."""

    @property
    def sources(self) -> Tensor:
        """Which images of the batch each image is made of: int64 (B, K)."""
        ...

    @property
    def weights(self) -> Tensor:
        """Each source's label weight: float32 (B, K)."""
        ...

    @property
    def masks(self) -> Tensor | None:
        """Each source's share per pixel: float32 (B, K, h, w); None if undefined."""
        ...

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Mix ``x`` (B, C, H, W); ``interpolation`` None is the method's own, and says that ``x`` is the images."""
        ...

    def to(self, device: torch.device | str) -> Plan:
        """Return the plan with its tensors on ``device``."""
        ...


def mix(images: Tensor, labels: Tensor, plan: Plan, weights: Tensor | None = None) -> Mixed:
    """Apply a plan to a batch and pair each source's label with its weight.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        plan: drawn for this batch size and image size, on any device.
        weights: float32 (B, K) of a method that weighs labels otherwise than by what is visible; None is the plan's.
    """
    plan = plan.to(images.device)
    weights = plan.weights if weights is None else weights.to(images.device, non_blocking=True)
    return Mixed(plan.apply(images), MixTarget(labels[plan.sources], weights), plan)


def check_batch(images: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless these are floating (B, C, H, W) images, at least one, with int64 (B,) labels."""
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        wrong = "labels" if isinstance(images, Tensor) else "images"
        raise ValueError(
            f"{wrong} must be a torch.Tensor, got {type(images if wrong == 'images' else labels).__name__}"
        )
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"images must be floating point (B, C, H, W), got {images.dtype} {tuple(images.shape)}; "
            "convert uint8 images with images.float() / 255"
        )
    if 0 in images.shape:
        raise ValueError(f"images are empty: {tuple(images.shape)}")
    check_label_tensor(labels, len(images))


def check_label_tensor(labels: Tensor, batch_size: int | None = None) -> None:
    """Raise ValueError unless labels are int64 (B,), of ``batch_size`` where one is given."""
    if labels.dtype != torch.int64 or labels.ndim != 1 or batch_size not in (None, len(labels)):
        got = f"{labels.dtype} {tuple(labels.shape)}"
        wanted = "B" if batch_size is None else batch_size
        raise ValueError(f"labels must be int64 ({wanted},), one class index an image, got {got}")


@dataclass(frozen=True)
class FeatureMix:
    """A mix that is to happen inside a network.

    Attributes:
        stage: the stage whose output is mixed, by name; None mixes the images.
        plan: how.
        target: the labels and weights that result.
    """

    stage: str | None
    plan: Plan
    target: MixTarget


class OnDevice:
    """Moves the tensors, and the plans, in the fields of a frozen dataclass."""

    def to(self: P, device: torch.device | str) -> P:
        """Return the same on ``device``, without waiting for the copy; the object itself where it is there already."""
        moved = {f.name: _moved(getattr(self, f.name), torch.device(device)) for f in fields(self)}  # type: ignore[arg-type]
        if all(value is getattr(self, name) for name, value in moved.items()):
            return self
        return replace(self, **moved)  # type: ignore[type-var]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value if value.device == device else value.to(device, non_blocking=True)
    if isinstance(value, tuple) and any(isinstance(v, Tensor | OnDevice) for v in value):
        moved = tuple(_moved(v, device) for v in value)
        return value if all(a is b for a, b in zip(moved, value, strict=True)) else moved
    return value.to(device) if isinstance(value, OnDevice) else value


def pair(partner: Tensor) -> Tensor:
    """Return the sources (B, 2) of images that are each paired with ``partner`` (B,)."""
    return torch.stack([torch.arange(len(partner), device=partner.device), partner], dim=1)


def shares(own: Tensor) -> Tensor:
    """Return own share and partner's, (B, 2, ...), for own shares (B, 1, ...)."""
    return torch.cat([own, 1 - own], dim=1)


@dataclass(frozen=True)
class KeepPlan(OnDevice):
    """Leaves every image as it is: a pair with itself, of which it keeps everything.

    Attributes:
        itself: int64 (B,), 0 .. B-1.
    """

    itself: Tensor

    @property
    def sources(self) -> Tensor:
        """See :class:`Plan`."""
        return pair(self.itself)

    @property
    def weights(self) -> Tensor:
        """See :class:`Plan`."""
        return self.masks[:, :, 0, 0]

    @property
    def masks(self) -> Tensor:
        """See :class:`Plan`."""
        return shares(torch.ones(len(self.itself), 1, 1, 1, dtype=torch.float32, device=self.itself.device))

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Return ``x`` itself: nothing is written to it anywhere."""
        check_size(x, len(self.itself), None)
        return x


@dataclass(frozen=True)
class BlendPlan(OnDevice):
    """Blends each image with its partner: ``lam * x + (1 - lam) * x[partner]``.

    Attributes:
        partner: int64 (B,).
        lam: the own share, float32 (B, 1, h, w), or (1, 1, h, w) for all alike; h = w = 1 for a constant, which then
            fits any feature map.
    """

    partner: Tensor
    lam: Tensor

    @property
    def sources(self) -> Tensor:
        """See :class:`Plan`."""
        return pair(self.partner)

    @property
    def weights(self) -> Tensor:
        """The mean share over the pixels."""
        own = self.lam[:, :, 0, 0] if self.lam.shape[2:] == (1, 1) else self.lam.mean((2, 3))
        return shares(own).expand(len(self.partner), 2)

    @property
    def masks(self) -> Tensor:
        """See :class:`Plan`."""
        return shares(self.lam).expand(len(self.partner), -1, -1, -1)

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Blend in float32 at least and cast back; integers are refused with TypeError."""
        size = self.lam.shape[2:]
        check_size(x, len(self.partner), None if size == (1, 1) else tuple(size))
        return blend(x, take_images(x, self.partner), self.lam)


@dataclass(frozen=True)
class MaskPlan(OnDevice):
    """Shows, pixel by pixel, either the image or its partner.

    Attributes:
        partner: int64 (B,).
        own: where own pixels are kept, bool (B, 1, H, W), or (1, 1, H, W) for all alike.
    """

    partner: Tensor
    own: Tensor

    @property
    def sources(self) -> Tensor:
        """See :class:`Plan`."""
        return pair(self.partner)

    @property
    def weights(self) -> Tensor:
        """The share of pixels kept, and the share pasted, counted exactly."""
        return shares(self.own.float().mean((2, 3))).expand(len(self.partner), 2)

    @property
    def masks(self) -> Tensor:
        """See :class:`Plan`."""
        return shares(self.own.float()).expand(len(self.partner), -1, -1, -1)

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Copy pixels: exact for every dtype; of images for all that is finite."""
        check_size(x, len(self.partner), tuple(self.own.shape[2:]))
        other = take_images(x, self.partner)
        if interpolation is None and x.is_floating_point():
            return select(self.own, x, other)
        return torch.where(self.own, x, other)


def check_size(x: Tensor, batch_size: int, size: tuple[int, ...] | None) -> None:
    """Raise ValueError unless ``x`` is (batch_size, C, H, W); ``size`` (H, W) is None where any will do."""
    if x.ndim != 4 or len(x) != batch_size or (size is not None and tuple(x.shape[2:]) != tuple(size)):
        want = f"({batch_size}, C, {'H, W' if size is None else f'{size[0]}, {size[1]}'})"
        raise ValueError(f"this mix was drawn for a tensor of shape {want}, got {tuple(x.shape)}")
