"""ResizeMix+ (Qin et al., 2020), arXiv:2012.11101: ResizeMix, then two RandAugment draws of the mixed batch.

Authors' code: JayQine/ResizeMix. That their "ResizeMix+" is what this code does with ``batch_aug`` is inferred: it is
the only thing there that could be, and no configuration that they publish turns it on.

RandAugment (Cubuk et al., NeurIPS 2020, arXiv:1909.13719) has their 14 operations and ranges. It differs from their
code, where the library beneath reads several values otherwise than RandAugment means them:

- images are taken to [0, 1] and back by the run's own normalisation, not by CIFAR's whatever the images are;
- autocontrast stretches each channel of each image, and always; theirs takes one histogram of the whole batch, and
  applies it with the value as the probability;
- a shear of 0.5 is half a column a row, to either side; theirs is half a degree;
- translation moves along its own axis, by the value, to either side, as rotation turns by it; theirs draws from
  [-value, value], and translates in x along both axes;
- solarize has the value as its threshold, posterize as its bits; theirs draws the one from 0.5 -+ value and adds up to
  0.1 to the pixels, and the other between the value and 8;
- sharpness leaves border pixels alone; theirs darkens them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.mixers.resizemix import plan_resizemix
from openmix.ops.augment import Chain, check_pixel_range, choose, from_unit, to_unit
from openmix.ops.checks import check_integer, check_number
from openmix.ops.planes import like_layout
from openmix.ops.plans import OnDevice, Plan, check_batch, mix
from openmix.ops.random import sample_integers
from openmix.ops.target import Mixed

__all__ = ["RandAugmentPlan", "plan_randaugment", "resizemixplus"]


@mixer(
    "ResizeMixPlus",
    paper="Qin et al., 2020",
    link="https://arxiv.org/abs/2012.11101",
    lam="1 - area of the box",
)
def resizemixplus(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    pixel_range: Tensor | None = None,
    scope: Sequence[float] = (0.1, 0.8),
    copies: int = 2,
    num_ops: int = 2,
    magnitude: float = 14,
    per_sample: bool = False,
) -> Mixed:
    """ResizeMix the batch, then augment ``copies`` copies of it by RandAugment: ``copies * B`` images.

    Row r is a copy of the mix of image ``r % B``. Label weights are what ResizeMix left visible; what the operations
    then move out of sight is not accounted for, in the authors' code neither, and there are no masks.

    ``mixed.apply`` on another tensor of B images mixes it and does the geometric operations alone; integers are taken
    with 'nearest', and 0 comes in from outside.

    Args:
        images: floating (B, C, H, W); gray, where an operation asks for it, is the luma of three channels, else the
            channels' mean.
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        pixel_range: floating (2, C) or (2, 1), the values of black and of white in ``images``; None for 0 and 1.
        scope: see :func:`openmix.mixers.resizemix`, whose other choices are the authors'.
        copies: how many, at least 1. Default 2, the authors'.
        num_ops: operations in a row, at least 1. Default 2, the authors'.
        magnitude: in [0, 30], which spans each operation's range. Default 14, the authors'.
        per_sample: draw operations and signs for each image; False, the authors' code, draws them for each copy.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = resizemixplus(torch.rand(4, 3, 8, 8), torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> mixed.images.shape, mixed.target.labels[:, 0]
    (torch.Size([8, 3, 8, 8]), tensor([0, 1, 2, 3, 0, 1, 2, 3]))
    """
    check_batch(images, labels)
    check_pixel_range(pixel_range, images.shape[1])
    size = images.shape[2], images.shape[3]
    resized = plan_resizemix(
        len(images),
        size,
        generator=generator,
        scope=scope,
        per_sample=False,
        per_sample_box=True,
        placement="inside",
        scope_of="tau",
        use_alpha=False,
        alpha=1.0,
        interpolation="nearest",
    )
    chain = plan_randaugment(
        len(images),
        size,
        generator=generator,
        copies=copies,
        num_ops=num_ops,
        magnitude=magnitude,
        per_sample=per_sample,
    )
    return mix(images, labels, RandAugmentPlan(resized, chain, pixel_range))


@dataclass(frozen=True)
class RandAugmentPlan(OnDevice):
    """Mixes by another plan, then augments copies of the result.

    Attributes:
        first: how B images are mixed.
        chain: for copies * B images: the first copies of all, then the second ones, and so on.
        pixel_range: as :func:`resizemixplus` takes it.
    """

    first: Plan
    chain: Chain
    pixel_range: Tensor | None

    @property
    def sources(self) -> Tensor:
        """Each copy's, in the batch of B: int64 (copies * B, K)."""
        return self._copies(self.first.sources)

    @property
    def weights(self) -> Tensor:
        """Each copy's, as the mix has them: float32 (copies * B, K)."""
        return self._copies(self.first.weights)

    @property
    def masks(self) -> None:
        """None: content is moved."""
        return None

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Mix and augment the images; with an ``interpolation``, mix another tensor and do what is geometric."""
        mixed = self.first.apply(x, interpolation)
        if interpolation is None:
            unit = self._copies(to_unit(mixed, self.pixel_range))
            augmented = from_unit(self.chain.augment(unit), self.pixel_range)
        else:
            augmented = self.chain.displace(self._copies(mixed.contiguous()), interpolation)
        return like_layout(augmented, x)

    def _copies(self, x: Tensor) -> Tensor:
        return x.repeat(self.chain.operation.shape[1] // len(x), *[1] * (x.ndim - 1))


def plan_randaugment(
    batch_size: int,
    size: tuple[int, int],
    *,
    generator: torch.Generator | None,
    copies: int,
    num_ops: int,
    magnitude: float,
    per_sample: bool,
) -> Chain:
    """Draw operations and signs for images of ``size`` (H, W), all copies of them; see :func:`resizemixplus`."""
    for name, value in (("copies", copies), ("num_ops", num_ops)):
        check_integer(name, value, 1)
    check_number("magnitude", magnitude)
    if not 0 <= magnitude <= 30:
        raise ValueError(f"magnitude must be in [0, 30], got {magnitude}")
    draws = num_ops, copies, batch_size if per_sample else 1
    magnitudes = randaugment_magnitudes(magnitude, size)
    pick = sample_integers(len(magnitudes), draws, generator)
    sign = 1 - 2 * sample_integers(2, draws, generator)
    pick, sign = (t.expand(-1, -1, batch_size).flatten(1) for t in (pick, sign))
    unsigned = torch.ones_like(sign)
    return choose({name: m * (sign if name in SIGNED else unsigned) for name, m in magnitudes.items()}, pick)


SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")


def randaugment_magnitudes(magnitude: float, size: tuple[int, int]) -> dict[str, float]:
    """Return the authors' operations with their magnitudes for images of ``size`` (H, W), without sign."""
    share = magnitude / 30
    height, width = size
    enhance = 0.1 + 1.8 * share
    return {
        "identity": 0.0,
        "shear_x": 0.5 * share,
        "shear_y": 0.5 * share,
        "translate_x": 0.5 * share * width,
        "translate_y": 0.5 * share * height,
        "rotate": 45 * share,
        "autocontrast": 0.0,
        "invert": 0.0,
        "solarize": 255 * share,
        "posterize": float(int(4 + 4 * share)),
        "contrast": enhance,
        "color": enhance,
        "sharpness": enhance,
        "brightness": enhance,
    }
