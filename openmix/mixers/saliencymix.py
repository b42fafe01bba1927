"""SaliencyMix (Uddin et al., ICLR 2021), arXiv:2006.01791. Authors' code: SaliencyMix/SaliencyMix.

The default differs from the authors' code in one way: saliency is computed of the image. Their code, and OpenMixup's
port of it (preset 'openmixup'), hand OpenCV's detector normalised floats, which it reads as bytes
(:func:`~openmix.ops.saliency.fine_grained_misread`), so that boxes lie about pixels that are as good as random. As in
their code, one image of the batch is looked at, and all have their box where its peak is; the paper speaks of each
image's own (``per_sample=True``).
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.augment import to_unit
from openmix.ops.box_plans import BoxPlan
from openmix.ops.checks import check_choice, check_positive
from openmix.ops.plans import check_batch, mix
from openmix.ops.random import sample_beta, sample_partner
from openmix.ops.saliency import fine_grained, fine_grained_misread, spectral_residual
from openmix.ops.target import Mixed

__all__ = ["plan_saliencymix", "saliencymix"]

DETECTORS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "fine_grained": lambda images, pixel_range: fine_grained(to_unit(images, pixel_range)),
    "spectral_residual": lambda images, pixel_range: spectral_residual(to_unit(images, pixel_range)),
    "misread": lambda images, pixel_range: fine_grained_misread(images),
}


@mixer(
    "SaliencyMix",
    presets={"openmixup": {"saliency": "misread"}},
    paper="Uddin et al., ICLR 2021",
    link="https://arxiv.org/abs/2006.01791",
    lam="1 - area of the box",
)
def saliencymix(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    pixel_range: Tensor | None = None,
    alpha: float = 1.0,
    saliency: Literal["fine_grained", "spectral_residual", "misread"] = "fine_grained",
    per_sample: bool = False,
) -> Mixed:
    """Paste a box of the partner's pixels, about its most salient one, into each image; labels weigh what is visible.

    The box has ``sqrt(1 - lam)`` of the image's height and width and is cut off at the border; the label weights are
    the exact areas after that. An image of one colour has no such pixel: its first one is taken.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        pixel_range: float (2, C), the values of black and of white in the images; None for 0 and 1.
        alpha: lam ~ Beta(alpha, alpha), > 0. Default 1.0, the authors'.
        saliency: 'fine_grained', the detector that the authors name, on 8-bit gray; 'spectral_residual'; or 'misread',
            what becomes of the first on the floats that the authors' code gives it. Default 'fine_grained'.
        per_sample: draw a lam for each image, and look at each one's own partner. False, the authors' code, looks at
            the first image's partner only, and has one box for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = saliencymix(torch.rand(4, 3, 8, 8), torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> bool((mixed.mask.mean((1, 2, 3)) == mixed.target.weights[:, 0]).all())
    True
    """
    check_batch(images, labels)
    plan = plan_saliencymix(
        images, generator=generator, pixel_range=pixel_range, alpha=alpha, saliency=saliency, per_sample=per_sample
    )
    return mix(images, labels, plan)


def plan_saliencymix(
    images: Tensor,
    *,
    generator: torch.Generator | None,
    pixel_range: Tensor | None = None,
    alpha: float,
    saliency: str = "fine_grained",
    per_sample: bool = False,
) -> BoxPlan:
    """Draw the partners and lay the boxes, on the images' device; for the rest see :func:`saliencymix`."""
    check_positive("alpha", alpha)
    check_choice("saliency", saliency, tuple(DETECTORS))
    batch_size, size, device = len(images), (images.shape[2], images.shape[3]), images.device
    lam = sample_beta(alpha, (batch_size if per_sample else 1, 1), generator)
    half = (torch.tensor(size, device="cpu") * (1 - lam.double()).sqrt()).long() // 2
    partner = sample_partner(batch_size, generator)
    first = int(partner[0])
    seen = images.detach() if per_sample else images.detach()[first : first + 1]
    peak = _highest(DETECTORS[saliency](seen, pixel_range))
    partner, half = (t.to(device, non_blocking=True) for t in (partner, half))
    return BoxPlan(partner, _boxes_about(peak[partner] if per_sample else peak, half, size), size)


def _highest(maps: Tensor) -> Tensor:
    """Return the first pixel (y, x) of the highest value of each map (B, H, W): int64 (B, 2)."""
    index = maps.flatten(1).argmax(1)
    return torch.stack([index // maps.shape[2], index % maps.shape[2]], dim=1)


def _boxes_about(centre: Tensor, half: Tensor, size: tuple[int, int]) -> Tensor:
    """Lay boxes of half sides (N, 2) about centres (N, 2), cut off at the border: int64 (N, 4), on their device."""
    low, high = (centre - half).clamp(min=0), centre + half
    return torch.stack([low[:, 0], high[:, 0].clamp(max=size[0]), low[:, 1], high[:, 1].clamp(max=size[1])], dim=1)
