"""Cutout (DeVries & Taylor, 2017), arXiv:1708.04552, as a method beside the mixing ones. Code: uoguelph-mlrg/Cutout.

A single-image neighbour: it erases as CutMix pastes, and tells what of CutMix's gain is the partner's doing.
"""

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.mixers.cutmix import sample_centre
from openmix.ops.boxes import clip_boxes
from openmix.ops.checks import check_integer, check_number
from openmix.ops.erase_plans import ErasePlan
from openmix.ops.plans import check_batch, mix
from openmix.ops.target import Mixed

__all__ = ["cutout"]


@mixer(
    "Cutout",
    paper="DeVries & Taylor, 2017",
    link="https://arxiv.org/abs/1708.04552",
    lam="1 always",
)
def cutout(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    length: int = 16,
    fill: float = 0.0,
    per_sample: bool = True,
) -> Mixed:
    """Erase a square about a uniform pixel, cut off at the border. The label stays whole: weights 1 and 0.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        length: the square's side in pixels, >= 1; an odd one loses a pixel, as in the authors' code. Default 16,
            theirs for CIFAR-10 (8 for CIFAR-100).
        fill: the value written. Default 0, the data set's mean colour where images are normalised, which is the
            authors' choice.
        per_sample: draw a square for each image, the authors' code; False draws one for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = cutout(torch.ones(4, 3, 8, 8), torch.arange(4), length=4)
    >>> mixed.target.weights[0], bool((mixed.images == mixed.mask).all())
    (tensor([1., 0.]), True)
    """
    check_batch(images, labels)
    check_integer("length", length, 1)
    check_number("fill", fill)
    height, width = images.shape[2:]
    n = len(images) if per_sample else 1
    centre = sample_centre(n, (height, width), generator)
    boxes = clip_boxes(centre, torch.full((n, 2), length, device="cpu"), (height, width))
    itself = torch.arange(len(images), device="cpu")
    return mix(images, labels, ErasePlan(itself, boxes.expand(len(images), 4), (height, width), fill))
