"""Batched changes of colour: jitter, grey, solarised. The formulas are torchvision's, in float and rounded once."""

from typing import Any

import torch
from torch import Tensor

from openmix.data.loaders.batched import Shape, bits_of, coins, floats_of, select
from openmix.errors import UserError

__all__ = ["Grey", "Jitter", "Solarised", "shift_hue"]

WHITE = 255.0
RED, GREEN, BLUE = 0.2989, 0.587, 0.114  # what each weighs in grey
BLENDS = ("brightness", "contrast", "saturation")  # in the order in which torchvision counts them
CHUNK = 64  # images that a CPU takes at a time, so that what lies between two operations stays in its cache


class Jitter:
    """``ColorJitter``: brightness, contrast, saturation and hue, each by a factor and in an order of the image's own.

    The first three are all blends, ``ratio * image + (1 - ratio) * other``, the other being black, the image's mean
    grey and its grey. So whatever the order, an image is up to three blends, its hue, and up to three blends: a batch
    goes through all of these together, and where an image has no blend its ratio is 1. Draws: for each of these blends
    what the image weighs, its grey and its mean grey; then the hue's shift; bits of float32.

    torchvision cuts the results off to whole grey levels after each operation; here they are rounded once, so images
    are brighter by half a level for each.

    Args:
        transform: torchvision's ``v2.ColorJitter``; what has no strength costs nothing.
        shape: (C, H, W) of the images that it will be given. Grey ones have no saturation and no hue to be changed.

    Raises:
        UserError: images of other than one or three channels.
    """

    def __init__(self, transform: Any, shape: Shape) -> None:
        _check_channels("ColorJitter", shape)
        self.shape = shape
        active = BLENDS if shape[0] == 3 else BLENDS[:2]
        self.ranges = {name: bounds for name in active if (bounds := getattr(transform, name)) is not None}
        self.hue: tuple[float, float] | None = transform.hue if shape[0] == 3 else None
        self.blends = len(self.ranges) * (1 if self.hue is None else 2)  # half of them before the hue, half after it
        self.draws = 3 * self.blends + (self.hue is not None)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the weights of the blends, in the order in which they are applied, and the shifts of the hue."""
        order, factors = self.draw_factors(count, generator)
        number = len(self.ranges)
        # Where an image's operations stand: what comes before its hue begins at blend 0, what comes after it at the
        # middle. Where it has none there is a row of 1, 0 and 0.
        weights = torch.tensor([1.0, 0.0, 0.0]).repeat(count, self.blends + 1, 1)
        at_hue = (order == number).long().argmax(1, keepdim=True) if self.hue else torch.full((count, 1), number)
        place = torch.arange(order.shape[1]).expand_as(order)
        slot = torch.where(place < at_hue, place, number + place - at_hue - 1)
        slot = torch.where(order == number, self.blends, slot)  # of the hue: a row that is left out
        ratio = factors.gather(1, order)
        grey, mean = (order == kind for kind in (self._kind("saturation"), self._kind("contrast")))
        rows = torch.stack([ratio, (1 - ratio) * grey, (1 - ratio) * mean], dim=-1)
        weights.scatter_(1, slot[..., None].expand_as(rows), rows)
        parts = [weights[:, : self.blends].flatten(1)] + ([factors[:, -1:]] if self.hue else [])
        return bits_of(torch.cat(parts, dim=1).T)

    def draw_factors(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return each image's order, int64 (count, K), and the K factors, float32: of the blends, then of the hue.

        The order holds the places of factors: K - 1 is the hue, where there is one.
        """
        ranges = [*self.ranges.values(), *([self.hue] if self.hue else [])]
        order = torch.rand(count, len(ranges), generator=generator).argsort(1)
        factors = [torch.empty(count).uniform_(*bounds, generator=generator) for bounds in ranges]
        return order, torch.stack(factors, dim=1) if factors else torch.empty(count, 0)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the images in other colours."""
        if not self.draws:
            return images
        chunk = CHUNK if images.device.type == "cpu" else len(images)
        numbers = floats_of(draws)
        parts = zip(images.split(chunk), numbers.split(chunk, dim=1), strict=True)
        return torch.cat([self._apply(*part) for part in parts])

    def _apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        pixels = images.float()
        for k in range(self.blends + 1):
            if self.hue and k == len(self.ranges):
                pixels = shift_hue(pixels, numbers[-1])
            if k < self.blends:
                pixels = _blend(pixels, *numbers[3 * k : 3 * k + 3])
        return pixels.add_(0.5).to(torch.uint8)

    def _kind(self, name: str) -> int:
        """Return the place of a blend's factor, and -1 where it has no strength."""
        return list(self.ranges).index(name) if name in self.ranges else -1


class Grey:
    """``RandomGrayscale``. Draws: 1 where the image loses its colours.

    Raises:
        UserError: images of other than one or three channels.
    """

    draws = 1

    def __init__(self, transform: Any, shape: Shape) -> None:
        _check_channels("RandomGrayscale", shape)
        self.probability = transform.p
        self.shape = shape

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return 1 with the transform's probability, else 0."""
        return coins(self.probability, count, generator)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the images, grey where the draw is 1."""
        grey = _grey(images.float()).add_(0.5).to(torch.uint8)
        return select(draws[0].bool()[:, None, None, None], grey, images)


class Solarised:
    """``RandomSolarize``. Draws: 1 where what is as bright as the threshold, or brighter, is inverted.

    Raises:
        UserError: images of other than one or three channels.
    """

    draws = 1

    def __init__(self, transform: Any, shape: Shape) -> None:
        _check_channels("RandomSolarize", shape)
        self.probability, self.threshold = transform.p, transform.threshold
        self.shape = shape

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return 1 with the transform's probability, else 0."""
        return coins(self.probability, count, generator)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the images, solarised where the draw is 1."""
        return select((images >= self.threshold) & draws[0].bool()[:, None, None, None], ~images, images)


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of float (B, 3, H, W) images of 0..255 by ``shift`` (B,), in turns; value and saturation stay.

    As in HSV, but without the detour by saturation: a channel is what the largest of the three is, less a share of
    their span; all of it within a sixth of a turn of the hue opposite the channel's own, none from a third on.

    >>> red = torch.tensor([200.0, 50, 50]).reshape(1, 3, 1, 1)
    >>> shift_hue(red, torch.tensor([1 / 3])).flatten().round().tolist()
    [50.0, 200.0, 50.0]
    """
    red, green, blue = images.unbind(1)
    low, high = torch.aminmax(images, dim=1)
    span = high - low
    # in sixths of a turn; grey has a span of 0, and is the same at every hue
    hue = torch.where(high == green, blue - red + 2 * span, red - green + 4 * span)
    hue = torch.where(high == red, green - blue, hue).div_(span.clamp(min=1e-6)).div_(6).add_(shift[:, None, None])
    opposite = torch.arange(3, device=images.device)[:, None, None] / 3 + 0.5
    turns = hue[:, None] - opposite
    share = turns.sub_(turns.round()).abs_().mul_(-6).add_(2).clamp_(0, 1)
    return torch.addcmul(high[:, None], span[:, None], share, value=-1)


def _blend(images: Tensor, ratio: Tensor, grey_weight: Tensor, mean_weight: Tensor) -> Tensor:
    """Return the sum of images, their grey and their mean grey, weighted by (B,) each and kept within 0..255."""
    ratio, grey_weight, mean_weight = (w[:, None, None, None] for w in (ratio, grey_weight, mean_weight))
    grey = _grey(images)
    other = torch.addcmul(grey.mean((2, 3), keepdim=True) * mean_weight, grey, grey_weight)
    return torch.addcmul(other, images, ratio).clamp_(0, WHITE)


def _grey(images: Tensor) -> Tensor:
    """Return the grey of float (B, 1 or 3, H, W) images: (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    return (red * RED).add_(green, alpha=GREEN).add_(blue, alpha=BLUE)


def _check_channels(name: str, shape: Shape) -> None:
    if shape[0] not in (1, 3):
        raise UserError(f"{name} works on images of one or three channels; these have {shape[0]}")
