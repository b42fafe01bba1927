"""Random Erasing (Zhong et al., AAAI 2020), arXiv:1708.04896, as a method beside the mixing ones.

Authors' code: zhunzhong07/Random-Erasing. It fills with CIFAR's mean colour in [0, 1], though images are normalised by
then; here the fill is 0, the mean colour of normalised images.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_number, check_probability, check_range
from openmix.ops.erase_plans import ErasePlan
from openmix.ops.plans import check_batch, mix
from openmix.ops.random import sample_uniform
from openmix.ops.target import Mixed

__all__ = ["plan_randomerasing", "randomerasing"]

TRIES = 100  # the authors': how often a rectangle that does not fit is drawn anew


@mixer(
    "RandomErasing",
    paper="Zhong et al., AAAI 2020",
    link="https://arxiv.org/abs/1708.04896",
    lam="1 always",
)
def randomerasing(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    probability: float = 0.5,
    area: Sequence[float] = (0.02, 0.4),
    aspect: Sequence[float] = (0.3, 1 / 0.3),
    fill: float = 0.0,
    per_sample: bool = True,
) -> Mixed:
    """Erase a rectangle of random size and shape from some images. The label stays whole: weights 1 and 0.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        probability: of an image to be erased at all, in [0, 1]. Default 0.5, the authors'.
        area: range of the rectangle's area over the image's, uniform, in (0, 1]; none as high or as wide as the image
            is ever taken. Default (0.02, 0.4), the authors'.
        aspect: range of its height over its width, uniform, > 0. Default (0.3, 1 / 0.3), the authors'.
        fill: the value written. Default 0, the mean colour where images are normalised.
        per_sample: draw for each image, the authors' code; False draws one rectangle for the batch.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = randomerasing(torch.ones(4, 3, 32, 32), torch.arange(4), probability=1.0)
    >>> mixed.target.weights[0], bool((mixed.images == mixed.mask).all())
    (tensor([1., 0.]), True)
    """
    check_batch(images, labels)
    height, width = images.shape[2:]
    plan = plan_randomerasing(
        len(images),
        (height, width),
        generator=generator,
        probability=probability,
        area=area,
        aspect=aspect,
        fill=fill,
        per_sample=per_sample,
    )
    return mix(images, labels, plan)


def plan_randomerasing(
    batch_size: int,
    size: tuple[int, int],
    *,
    generator: torch.Generator | None,
    probability: float,
    area: Sequence[float],
    aspect: Sequence[float],
    fill: float,
    per_sample: bool = True,
) -> ErasePlan:
    """Draw the rectangles for images of ``size`` (H, W); for the rest see :func:`randomerasing`."""
    check_probability("probability", probability)
    check_range("area", area, 0, 1)
    check_range("aspect", aspect, 0, float("inf"))
    check_number("fill", fill)
    n = batch_size if per_sample else 1
    pixels = sample_uniform(area[0], area[1], (n, TRIES), generator) * (size[0] * size[1])
    shape = sample_uniform(aspect[0], aspect[1], (n, TRIES), generator)
    sides = torch.stack([(pixels * shape).sqrt(), (pixels / shape).sqrt()], dim=2).round().long()
    fits = (sides < torch.tensor(size, device="cpu")).all(2)
    first = fits.long().argmax(1)
    erased = (sample_uniform(0, 1, (n,), generator) < probability) & fits.any(1)
    side = sides[torch.arange(n, device="cpu"), first] * erased[:, None]
    room = torch.tensor(size, device="cpu") - side + 1  # places that fit
    low = (sample_uniform(0, 1, (n, 2), generator) * room).long()
    boxes = torch.stack([low[:, 0], low[:, 0] + side[:, 0], low[:, 1], low[:, 1] + side[:, 1]], dim=1)
    itself = torch.arange(batch_size, device="cpu")
    return ErasePlan(itself, boxes.expand(batch_size, 4), size, fill)
