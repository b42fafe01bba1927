"""GridMix, as IlyaDobrynin/GridMixup has it and OpenMixup calls it: CutMix's crop, filled with GridMask's grid.

The defaults are the authors' example. In their code and in OpenMixup's, a crop that is drawn larger than the image
(45 % of draws at these settings) starts before the image's first row or column and its first holes wrap around to the
far edge; here the crop is cut down to the image. The preset 'openmixup' keeps the wrapping, and draws lam from a Beta
distribution.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_integer, check_positive, check_range
from openmix.ops.plans import MaskPlan, check_batch, mix
from openmix.ops.random import sample_beta, sample_integers, sample_partner, sample_uniform
from openmix.ops.target import Mixed

__all__ = ["gridmix", "plan_gridmix"]


@mixer(
    "GridMix",
    presets={"openmixup": {"alpha": 1.0, "wrap": True}},
    paper="Dobrynin, 2020 (code)",
    link="https://github.com/IlyaDobrynin/GridMixup",
    lam="1 - area of all holes",
)
def gridmix(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    alpha: float | Sequence[float] = (0.4, 0.7),
    n_holes: int | Sequence[int] = (2, 6),
    hole_aspect_ratio: float | Sequence[float] = 1.0,
    cut_area_ratio: float | Sequence[float] = (0.5, 1.0),
    cut_aspect_ratio: float | Sequence[float] = (0.5, 2.0),
    wrap: bool = False,
    per_sample: bool = False,
) -> Mixed:
    """Show the partner through a grid of holes within a crop of each image; labels weigh what is visible of each.

    The crop is divided into patches, ``n_holes`` in a row; the upper left part of each patch, ``sqrt(1 - lam)`` of its
    height and width, is the hole. A pair of numbers below is a range from which a value is drawn uniformly.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        alpha: a number: lam ~ Beta(alpha, alpha), > 0. A pair (low, high) in (0, 1): lam is uniform on it. Default
            (0.4, 0.7), the authors' example; OpenMixup's benchmark takes 0.2.
        n_holes: patches in a row, >= 1; fewer where a patch would be narrower than 2 pixels. Default (2, 6).
        hole_aspect_ratio: a patch's height over its width, > 0. Default 1.
        cut_area_ratio: the crop's area over the image's, in (0, 1]. Default (0.5, 1).
        cut_aspect_ratio: the crop's height over its width, > 0. Default (0.5, 2).
        wrap: keep the peers' error with crops larger than the image, see above.
        per_sample: draw a grid for each image; False, the authors' code, draws one for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = gridmix(torch.zeros(4, 3, 32, 32), torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> bool((mixed.mask.mean((1, 2, 3)) == mixed.target.weights[:, 0]).all())
    True
    """
    check_batch(images, labels)
    height, width = images.shape[2:]
    plan = plan_gridmix(
        len(images),
        (height, width),
        generator=generator,
        alpha=alpha,
        n_holes=_as_range(n_holes),
        hole_aspect_ratio=_as_range(hole_aspect_ratio),
        cut_area_ratio=_as_range(cut_area_ratio),
        cut_aspect_ratio=_as_range(cut_aspect_ratio),
        wrap=wrap,
        per_sample=per_sample,
    )
    return mix(images, labels, plan)


def plan_gridmix(
    batch_size: int,
    size: tuple[int, int],
    *,
    generator: torch.Generator | None,
    alpha: float | Sequence[float],
    n_holes: Sequence[int],
    hole_aspect_ratio: Sequence[float],
    cut_area_ratio: Sequence[float],
    cut_aspect_ratio: Sequence[float],
    wrap: bool,
    per_sample: bool,
) -> MaskPlan:
    """Draw grids and partners for images of ``size`` (H, W); for the rest see :func:`gridmix`."""
    _check(n_holes, hole_aspect_ratio, cut_area_ratio, cut_aspect_ratio)
    n = batch_size if per_sample else 1
    lam = _sample_lam(alpha, n, generator)
    holes_a_row = n_holes[0] + sample_integers(n_holes[1] - n_holes[0] + 1, (n,), generator)
    hole_aspect, area, aspect = (
        sample_uniform(low, high, (n,), generator)
        for low, high in (hole_aspect_ratio, cut_area_ratio, cut_aspect_ratio)
    )
    crop_width = (area * size[0] * size[1] / aspect).sqrt().floor().clamp(min=1)
    crop_height = (crop_width * aspect).floor().clamp(min=1)
    if not wrap:
        crop_width, crop_height = crop_width.clamp(max=size[1]), crop_height.clamp(max=size[0])
    patch_width = (crop_width / torch.minimum(holes_a_row, crop_width // 2).clamp(min=1)).ceil()
    patch_height = (patch_width * hole_aspect).floor().clamp(min=1)
    ratio = (1 - lam).sqrt()
    axes = []
    for length, crop, patch in ((size[0], crop_height, patch_height), (size[1], crop_width, patch_width)):
        first = ((length - crop) * sample_uniform(0, 1, (n,), generator)).trunc()
        hole = torch.minimum((patch * ratio).floor().clamp(min=1), patch - 1)
        axes.append(_covered(length, first, crop, patch, hole))
    rows, columns = axes
    return MaskPlan(sample_partner(batch_size, generator), ~(rows[:, None, :, None] & columns[:, None, None, :]))


def _as_range(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) else (value, value)


def _covered(length: int, first: Tensor, crop: Tensor, patch: Tensor, hole: Tensor) -> Tensor:
    """Return which of ``length`` rows (or columns) a hole covers: bool (n, length).

    The crop's patches begin at ``first``, ``first + patch``, ...; each hole is the first part of its patch. Where
    ``first`` < 0, a hole that lies before row 0 as a whole is seen ``length`` further on, and one that begins before
    row 0 and ends behind it is not seen: so Python reads a slice, and the peers' code paints by slices.
    """
    line = torch.arange(length, device="cpu")

    def lies_in(line: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        offset = line - first[:, None]
        begin = offset - offset % patch[:, None]  # of the patch, counted from the crop's first row
        end = torch.minimum(begin + hole[:, None], crop[:, None])
        return (offset >= 0) & (offset < end), begin + first[:, None], end + first[:, None]

    inside, begin, _ = lies_in(line)
    inside_before, _, end_before = lies_in(line - length)
    return (inside & (begin >= 0)) | (inside_before & (end_before < 0))


def _sample_lam(alpha: float | Sequence[float], n: int, generator: torch.Generator | None) -> Tensor:
    """Return lam, float64 (n,): from Beta for a number, uniform for a pair."""
    if isinstance(alpha, Sequence):
        check_range("alpha", alpha, 0, 1)
        return sample_uniform(alpha[0], alpha[1], (n,), generator)
    check_positive("alpha", alpha)
    return sample_beta(alpha, (n,), generator).double()


def _check(
    n_holes: Sequence[int],
    hole_aspect_ratio: Sequence[float],
    cut_area_ratio: Sequence[float],
    cut_aspect_ratio: Sequence[float],
) -> None:
    check_range("n_holes", n_holes, 0, float("inf"))
    for bound in n_holes:
        check_integer("n_holes", bound, 1)
    check_range("hole_aspect_ratio", hole_aspect_ratio, 0, float("inf"))
    check_range("cut_area_ratio", cut_area_ratio, 0, 1)
    check_range("cut_aspect_ratio", cut_aspect_ratio, 0, float("inf"))
