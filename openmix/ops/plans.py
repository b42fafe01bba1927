"""Plans: what a mixing method draws, small tensors made on the CPU, and their application, which draws nothing.

A plan may be applied to any tensor of the batch, on any device, and compiles without a graph break. Its label weights
are what is visible in its output.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.blend import blend
from openmix.ops.boxes import box_area, inside_box
from openmix.ops.target import Mixed, MixTarget

__all__ = ["BlendPlan", "BoxPlan", "FeatureMix", "KeepPlan", "Plan", "ResizePlan", "check_batch", "mix"]

P = TypeVar("P", bound="_OnDevice")


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
        """Mix ``x`` (B, C, H, W); ``interpolation`` None is the method's own."""
        ...

    def to(self, device: torch.device | str) -> Plan:
        """Return the plan with its tensors on ``device``."""
        ...


def mix(images: Tensor, labels: Tensor, plan: Plan) -> Mixed:
    """Apply a plan to a batch and pair each source's label with its weight.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        plan: drawn for this batch size and image size, on any device.
    """
    plan = plan.to(images.device)
    return Mixed(plan.apply(images), MixTarget(labels[plan.sources], plan.weights), plan)


def check_batch(images: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless these are floating (B, C, H, W) images with int64 (B,) labels."""
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"images must be floating point (B, C, H, W), got {images.dtype} {tuple(images.shape)}; "
            "convert uint8 images with images.float() / 255"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"labels must be int64 ({len(images)},), one class index an image, got {labels.dtype} {tuple(labels.shape)}"
        )


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


class _OnDevice:
    """Moves the tensors of a frozen dataclass."""

    def to(self: P, device: torch.device | str) -> P:
        device = torch.device(device)
        tensors = {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}  # type: ignore[arg-type]
        if all(t.device == device for t in tensors.values()):
            return self
        return replace(self, **{name: t.to(device, non_blocking=True) for name, t in tensors.items()})  # type: ignore[type-var]


def _pair(partner: Tensor) -> Tensor:
    return torch.stack([torch.arange(len(partner), device=partner.device), partner], dim=1)


def _shares(own: Tensor) -> Tensor:
    return torch.cat([own, 1 - own], dim=1)


@dataclass(frozen=True)
class KeepPlan(_OnDevice):
    """Leaves every image as it is: a pair with itself, of which it keeps everything.

    Attributes:
        itself: int64 (B,), 0 .. B-1.
    """

    itself: Tensor

    @property
    def sources(self) -> Tensor:
        """See :class:`Plan`."""
        return _pair(self.itself)

    @property
    def weights(self) -> Tensor:
        """See :class:`Plan`."""
        return self.masks[:, :, 0, 0]

    @property
    def masks(self) -> Tensor:
        """See :class:`Plan`."""
        return _shares(torch.ones(len(self.itself), 1, 1, 1, dtype=torch.float32, device=self.itself.device))

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Return ``x`` itself: nothing is written to it anywhere."""
        _check_size(x, len(self.itself), None)
        return x


@dataclass(frozen=True)
class BlendPlan(_OnDevice):
    """Blends each image with its partner: ``lam * x + (1 - lam) * x[partner]``.

    Attributes:
        partner: int64 (B,).
        lam: the own share, float32 (B, 1, h, w); h = w = 1 for a constant, which then fits any feature map.
    """

    partner: Tensor
    lam: Tensor

    @property
    def sources(self) -> Tensor:
        """See :class:`Plan`."""
        return _pair(self.partner)

    @property
    def weights(self) -> Tensor:
        """The mean share over the pixels."""
        return _shares(self.lam.mean((2, 3)))

    @property
    def masks(self) -> Tensor:
        """See :class:`Plan`."""
        return _shares(self.lam)

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Blend in float32 at least and cast back; integers are refused with TypeError."""
        size = self.lam.shape[2:]
        _check_size(x, len(self.partner), None if size == (1, 1) else tuple(size))
        return blend(x, x[self.partner], self.lam)


@dataclass(frozen=True)
class BoxPlan(_OnDevice):
    """Pastes the partner's pixels into a box of each image.

    Attributes:
        partner: int64 (B,).
        boxes: int64 (B, 4), (y0, y1, x0, x1), half-open; empty where y0 == y1 or x0 == x1.
        size: (H, W) of the images.
    """

    partner: Tensor
    boxes: Tensor
    size: tuple[int, int]

    @property
    def sources(self) -> Tensor:
        """See :class:`Plan`."""
        return _pair(self.partner)

    @property
    def weights(self) -> Tensor:
        """The exact area kept, and the exact area pasted."""
        height, width = self.size
        return _shares(1 - box_area(self.boxes).float()[:, None] / (height * width))

    @property
    def masks(self) -> Tensor:
        """See :class:`Plan`."""
        return _shares(1 - inside_box(self.boxes, self.size).float())

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Copy pixels: exact for every dtype."""
        _check_size(x, len(self.partner), self.size)
        return torch.where(inside_box(self.boxes, self.size), x[self.partner], x)


@dataclass(frozen=True)
class ResizePlan(BoxPlan):
    """Pastes the whole partner image, made small, into a box of each image.

    Its masks say where own pixels are kept and where the partner's are shown, wherever in the partner these come from.

    Attributes:
        step: float32 (B, 2), partner rows and columns per pasted row and column: pixel (i, j) of the box shows the
            partner's pixel (floor(i * step_y), floor(j * step_x)), which is the rule of ``interpolate``'s 'nearest'.
    """

    step: Tensor

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Resize and paste; 'nearest' (the default) copies pixels of any dtype, 'bilinear' needs floating point."""
        _check_size(x, len(self.partner), self.size)
        offset_y, offset_x = self._offsets()
        small = _bilinear if interpolation == "bilinear" else _nearest
        if interpolation not in (None, "nearest", "bilinear"):
            raise ValueError(f"interpolation must be 'nearest' or 'bilinear', got {interpolation!r}")
        pasted = small(x[self.partner], offset_y, offset_x, self.step)
        mixed = torch.where(inside_box(self.boxes, self.size), pasted, x)
        channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        return mixed.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)

    def _offsets(self) -> tuple[Tensor, Tensor]:
        """Return each row's and column's distance from the box's first: float32 (B, H) and (B, W)."""
        height, width = self.size
        rows = torch.arange(height, device=self.boxes.device) - self.boxes[:, 0:1]
        columns = torch.arange(width, device=self.boxes.device) - self.boxes[:, 2:3]
        return rows.float(), columns.float()


def _nearest(x: Tensor, offset_y: Tensor, offset_x: Tensor, step: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    rows = (offset_y * step[:, 0:1]).floor().long().clamp(0, height - 1)
    columns = (offset_x * step[:, 1:2]).floor().long().clamp(0, width - 1)
    x = x.gather(2, rows[:, None, :, None].expand(batch, channels, height, width))
    return x.gather(3, columns[:, None, None, :].expand(batch, channels, height, width))


def _bilinear(x: Tensor, offset_y: Tensor, offset_x: Tensor, step: Tensor) -> Tensor:
    if not x.is_floating_point():
        raise TypeError(f"cannot interpolate {x.dtype} bilinearly; pass floating point values, or 'nearest'")
    # grid_sample wants the coordinates of pixel centres in [-1, 1], x before y; half precision would miss the pixels
    wide = torch.promote_types(x.dtype, torch.float32)
    height, width = x.shape[2:]
    grid_y = (offset_y + 0.5) * step[:, 0:1] * (2 / height) - 1
    grid_x = (offset_x + 0.5) * step[:, 1:2] * (2 / width) - 1
    axes = [grid_x[:, None, :].expand(-1, height, -1), grid_y[:, :, None].expand(-1, -1, width)]
    grid = torch.stack(axes, dim=-1).to(wide)
    sampled = F.grid_sample(x.to(wide), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.to(x.dtype)


def _check_size(x: Tensor, batch_size: int, size: tuple[int, ...] | None) -> None:
    if x.ndim != 4 or len(x) != batch_size or (size is not None and tuple(x.shape[2:]) != tuple(size)):
        want = f"({batch_size}, C, {'H, W' if size is None else f'{size[0]}, {size[1]}'})"
        raise ValueError(f"this mix was drawn for a tensor of shape {want}, got {tuple(x.shape)}")
