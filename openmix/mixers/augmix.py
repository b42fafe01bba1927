"""AugMix (Hendrycks et al., ICLR 2020), arXiv:1912.02781. Authors' code: google-research/augmix.

It mixes an image with altered versions of itself. The authors' consistency loss over two such images is a matter of
training: see :class:`openmix.tasks.AugMixClassification`.

Differs from the authors' code in this: between operations images are not rounded to 8 bits; what a bilinear sampling
finds beyond the border counts as black also in the half pixel at it; a translation is a third of the height or of the
width, where theirs knows squares only. The preset 'openmixup' draws what that code base's port draws, but not what it
computes, which is wrong: it cuts normalised images off at 0 and 1 and normalises them once more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.augment import Chain, check_pixel_range, choose, from_unit, to_unit
from openmix.ops.checks import check_integer, check_number, check_positive
from openmix.ops.planes import like_layout
from openmix.ops.plans import OnDevice, check_batch, check_size, mix, pair, shares
from openmix.ops.random import sample_beta, sample_dirichlet, sample_integers, sample_uniform
from openmix.ops.target import Mixed

__all__ = ["AugMixPlan", "augmix", "plan_augmix"]

OPS = (
    "autocontrast", "equalize", "posterize", "rotate", "solarize", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
# these are also among the corruptions of ImageNet-C, so robustness to that is not to be claimed with them
OVERLAPPING_OPS = ("color", "contrast", "brightness", "sharpness")

PRESETS = {"openmixup": {"severity": 1, "all_ops": True, "per_sample": False}}


@mixer(
    "AugMix",
    presets=PRESETS,
    paper="Hendrycks et al., ICLR 2020",
    link="https://arxiv.org/abs/1912.02781",
    lam="1 always",
)
def augmix(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    pixel_range: Tensor | None = None,
    width: int = 3,
    depth: int = -1,
    severity: float = 3,
    alpha: float = 1.0,
    all_ops: bool = False,
    per_sample: bool = True,
) -> Mixed:
    """Blend each image with a mixture of chains of operations on it: ``(1 - m) * x + m * sum_i w_i * chain_i(x)``.

    m ~ Beta(alpha, alpha), w ~ Dirichlet(alpha). An operation's strength is a level, uniform on (0.1, severity), in
    tenths of its largest: a shear of 0.3, a third of the image, 30 degrees, 4 bits, 256 levels, a factor 0.1 + 1.8.
    Labels stay: each image is a pair with itself of which it keeps all, and there are no masks, as content is moved.

    ``mixed.apply`` on another tensor does the geometric operations alone, and blends as the images were blended.

    Args:
        images: floating (B, C, H, W); gray, where an operation asks for it, is the luma of three channels, else the
            channels' mean.
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        pixel_range: floating (2, C) or (2, 1), the values of black and of white in ``images``; None for 0 and 1.
        width: number of chains, at least 1. Default 3, the authors'.
        depth: operations in a chain, at least 1; -1, the authors' default, draws 1, 2 or 3 for each chain.
        severity: the largest level, in (0.1, 10]. Default 3, the authors' for CIFAR (1 for ImageNet).
        alpha: parameter of Beta and Dirichlet, > 0. Default 1.0, the authors'.
        all_ops: draw also from colour, contrast, brightness and sharpness, which ImageNet-C tests.
        per_sample: draw operations, depths, w and m for each image, as the authors do; False draws them for the
            batch. Levels and signs are each image's own either way.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = augmix(torch.rand(4, 3, 8, 8), torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> mixed.images.shape, mixed.target.weights[0]
    (torch.Size([4, 3, 8, 8]), tensor([1., 0.]))
    """
    check_batch(images, labels)
    check_pixel_range(pixel_range, images.shape[1])
    plan = plan_augmix(
        len(images),
        (images.shape[2], images.shape[3]),
        generator=generator,
        pixel_range=pixel_range,
        width=width,
        depth=depth,
        severity=severity,
        alpha=alpha,
        all_ops=all_ops,
        per_sample=per_sample,
    )
    return mix(images, labels, plan)


@dataclass(frozen=True)
class AugMixPlan(OnDevice):
    """Blends each image with chains of operations on it.

    Attributes:
        chain: of depth S, for width * B images: all images' first chains, then their second ones, and so on.
        chain_shares: float32 (width, B), each chain's share of the mixture.
        mixture_share: float32 (B,), the mixture's share of the result, m.
        size: (H, W) of the images.
        pixel_range: as :func:`augmix` takes it.
    """

    chain: Chain
    chain_shares: Tensor
    mixture_share: Tensor
    size: tuple[int, int]
    pixel_range: Tensor | None

    @property
    def sources(self) -> Tensor:
        """Each image, twice."""
        return pair(torch.arange(len(self.mixture_share), device=self.mixture_share.device))

    @property
    def weights(self) -> Tensor:
        """All for the image's own label."""
        return shares(torch.ones_like(self.mixture_share)[:, None])

    @property
    def masks(self) -> None:
        """None: content is moved."""
        return None

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Augment the images; with an ``interpolation``, do to another tensor what is geometric in it.

        Images are computed in float32, other tensors in float32 at least; integers are refused with TypeError.
        """
        check_size(x, len(self.mixture_share), self.size)
        if not x.is_floating_point():
            raise TypeError(f"cannot blend {x.dtype}: this method mixes images by shares; pass floating point values")
        if interpolation is None:
            unit = to_unit(x, self.pixel_range)
            mixed = from_unit(self._blend(unit, self.chain.augment(self._copies(unit))), self.pixel_range)
        else:
            wide = x.to(torch.promote_types(x.dtype, torch.float32)).contiguous()
            mixed = self._blend(wide, self.chain.displace(self._copies(wide), interpolation))
        return like_layout(mixed, x)

    def _copies(self, x: Tensor) -> Tensor:
        return x.repeat(len(self.chain_shares), 1, 1, 1)

    def _blend(self, own: Tensor, chains: Tensor) -> Tensor:
        share = self.chain_shares[:, :, None, None, None].to(own.dtype)
        mixture = sum((w * c for w, c in zip(share, chains.split(len(own)), strict=True)), torch.zeros_like(own))
        return torch.lerp(own, mixture, self.mixture_share[:, None, None, None].to(own.dtype))


def plan_augmix(
    batch_size: int,
    size: tuple[int, int],
    *,
    generator: torch.Generator | None,
    pixel_range: Tensor | None,
    width: int,
    depth: int,
    severity: float,
    alpha: float,
    all_ops: bool,
    per_sample: bool,
) -> AugMixPlan:
    """Draw chains and shares for images of ``size`` (H, W); for the rest see :func:`augmix`."""
    _check(width, depth, severity)
    check_positive("alpha", alpha)
    n = batch_size if per_sample else 1
    names = OPS + OVERLAPPING_OPS if all_ops else OPS
    steps = depth if depth > 0 else 3
    pick = sample_integers(len(names), (steps, width, n), generator)
    if depth < 0:
        length = 1 + sample_integers(3, (width, n), generator)
        is_past_end = torch.arange(steps, device="cpu")[:, None, None] >= length
        pick = torch.where(is_past_end, len(names), pick)  # which is "identity"
    draws = steps, width * batch_size
    level = sample_uniform(0.1, severity, draws, generator) / 10
    sign = 1 - 2 * sample_integers(2, draws, generator)
    magnitudes = {name: MAGNITUDES[name](level, sign, size) for name in (*names, "identity")}
    chain_shares = sample_dirichlet(alpha, (n,), width, generator).T.expand(width, batch_size)
    mixture_share = sample_beta(alpha, (n,), generator).expand(batch_size)
    chain = choose(magnitudes, pick.expand(-1, -1, batch_size).flatten(1))
    return AugMixPlan(chain, chain_shares, mixture_share, size, pixel_range)


def _enhance(level: Tensor, sign: Tensor, size: tuple[int, int]) -> Tensor:
    return 1.8 * level + 0.1


def _none(level: Tensor, sign: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.zeros_like(level)


# from a level in (0.01, 1], a sign and the size (H, W) to a magnitude: the authors', their roundings included
MAGNITUDES: dict[str, Callable[[Tensor, Tensor, tuple[int, int]], Tensor]] = {
    "identity": _none,
    "autocontrast": _none,
    "equalize": _none,
    "posterize": lambda level, sign, size: 4 - (4 * level).floor(),
    "solarize": lambda level, sign, size: 256 - (256 * level).floor(),
    "rotate": lambda level, sign, size: sign * (30 * level).floor(),
    "shear_x": lambda level, sign, size: sign * 0.3 * level,
    "shear_y": lambda level, sign, size: sign * 0.3 * level,
    "translate_x": lambda level, sign, size: sign * (size[1] / 3 * level).floor(),
    "translate_y": lambda level, sign, size: sign * (size[0] / 3 * level).floor(),
    "color": _enhance,
    "contrast": _enhance,
    "brightness": _enhance,
    "sharpness": _enhance,
}


def _check(width: int, depth: int, severity: float) -> None:
    check_integer("width", width, 1)
    check_integer("depth", depth, -1)
    check_number("severity", severity)
    if depth == 0:
        raise ValueError(f"depth must be at least 1, or -1 to draw it, got {depth}")
    if not 0.1 < severity <= 10:
        raise ValueError(f"severity must be in (0.1, 10], got {severity}")
