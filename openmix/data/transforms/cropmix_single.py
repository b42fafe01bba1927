"""CropMix for one image: the plan in plain numbers, and how it is applied to pixels.

Arrays of one element cost more than the crops themselves, so here is the arithmetic of ``cropmix_plan`` once more, in
Python. From one state of a generator both draw the same plan, which a test sees to.
"""

import itertools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from openmix.data.transforms.crop_boxes import RATIO, TRIES
from openmix.data.transforms.cropmix_plan import PERMUTATIONS, VIEWS, VISIBLE, CropMixPlans
from openmix.data.transforms.cropmix_settings import NUMBERS, CropMixSettings
from openmix.ops.random import sample_beta

__all__ = ["Plan", "View", "apply_plan", "draw_plan"]

Box = tuple[int, int, int, int]  # y0, y1, x0, x1, half-open
Triple = tuple[int, int, int]

IDENTITY: Triple = (0, 1, 2)
ORDERS: list[Triple] = [tuple(row) for row in PERMUTATIONS.tolist()]


class View(NamedTuple):
    """One crop: where it is cut, its share of the result, and which of its channels is the result's channel c."""

    box: Box
    weight: float
    permutation: Triple


class Plan(NamedTuple):
    """One image's part of :class:`~openmix.data.transforms.cropmix_plan.CropMixPlans`.

    Attributes:
        size: edge of the result in pixels.
        views: in the order in which they are mixed; None where a view does not show.
        steps: in cutmix mode, how view k + 1 comes in: whether its box is pasted into what is there, and the box.
    """

    size: int
    views: list[View | None]
    steps: list[tuple[bool, Box]] | None

    @classmethod
    def of(cls, plans: CropMixPlans, i: int) -> "Plan":
        """Return image i's plan."""
        rows = zip(plans.boxes[i].tolist(), plans.weights[i].tolist(), plans.permutation[i].tolist(), strict=True)
        number = int(plans.number[i])
        views = [View(tuple(box), w, tuple(order)) if w > 0 else None for box, w, order in rows][:number]
        if plans.pasted is None or plans.into is None:
            return cls(plans.size, views, None)
        steps = [(bool(into), tuple(box)) for into, box in zip(plans.into[i], plans.pasted[i].tolist(), strict=True)]
        return cls(plans.size, views, steps[: number - 1])


def draw_plan(height: int, width: int, settings: CropMixSettings, generator: torch.Generator | None = None) -> Plan:
    """Draw the plan of one image of ``height`` x ``width`` pixels: :func:`draw_plans` of a batch of one."""
    choices = NUMBERS[settings.number]
    n = choices[int(len(choices) * _uniform(1, generator)[0])] if len(choices) > 1 else choices[0]
    keys = _uniform(VIEWS, generator)
    order = [0, 1] if n == 2 else sorted(range(n), key=keys.__getitem__)
    bands = [settings.bands(n)[k] for k in order]
    numbers = _uniform((VIEWS, 2 * TRIES + 2), generator)[:n]
    if settings.operation:
        steps = _draw_pasting(n, settings.size, generator)
        weights = _pixel_shares(steps, settings.size)
        new = [into for into, _ in steps]
    else:
        steps = None
        shares = sample_beta(settings.mix_ratio / n, (1, n - 1), generator)[0].tolist()
        weights = _visible(_fold_shares(shares))
        new = [share > 0.5 for share in shares]
    permutations = [IDENTITY] * n
    if settings.inter_aug:
        permutations = _fold_permutations([ORDERS[int(len(ORDERS) * u)] for u in _uniform(VIEWS - 1, generator)], new)
    views = [
        View(_draw_box(height, width, *band, row), w, p) if w > 0 else None
        for band, row, w, p in zip(bands, numbers, weights, permutations, strict=True)
    ]
    return Plan(settings.size, views, steps)


def apply_plan(image: Tensor, plan: Plan) -> Tensor:
    """Return the mixture of a uint8 (C, H, W) image's views.

    Returns:
        float32 (C, size, size) in [0, 255] if several views are blended; else, nothing being blended, uint8.
    """
    if plan.steps is not None:
        return _paste(image, plan.views, plan.steps, plan.size)
    views = [view for view in plan.views if view is not None]
    if len(views) == 1:
        return _crop(image, views[0], plan.size)
    mixture = _crop(image, views[0], plan.size).float().mul_(views[0].weight)
    for view in views[1:]:
        mixture.add_(_crop(image, view, plan.size).float(), alpha=view.weight)
    return mixture


def _crop(image: Tensor, view: View, size: int) -> Tensor:
    """Return a view as a tensor of its own, uint8 (C, size, size)."""
    y0, y1, x0, x1 = view.box
    crop = image[None, :, y0:y1, x0:x1]
    if (y1 - y0, x1 - x0) == (size, size):
        resized = crop[0].clone()
    else:  # channels last is what the uint8 kernel wants; the copy of what is cut out costs less than it saves
        crop = crop.contiguous(memory_format=torch.channels_last)
        resized = F.interpolate(crop, (size, size), mode="bilinear", align_corners=False, antialias=True)[0]
    if view.permutation == IDENTITY:
        return resized
    return torch.stack([resized[c] for c in view.permutation])


def _paste(image: Tensor, views: list[View | None], steps: list[tuple[bool, Box]], size: int) -> Tensor:
    """Return the pasted views, uint8 (C, size, size).

    A view that does not show is passed over: what would be seen of it is covered by a later one, or nothing is.
    """
    mixture = _crop(image, views[0], size) if views[0] is not None else None
    for view, (into, (y0, y1, x0, x1)) in zip(views[1:], steps, strict=True):
        if view is None:
            continue
        crop = _crop(image, view, size)
        if mixture is None:
            mixture = crop
        elif into:
            mixture[:, y0:y1, x0:x1] = crop[:, y0:y1, x0:x1]
        else:
            crop[:, y0:y1, x0:x1] = mixture[:, y0:y1, x0:x1]
            mixture = crop
    assert mixture is not None, "some view owns the pixels"
    return mixture


def _uniform(shape: int | tuple[int, ...], generator: torch.Generator | None) -> list:
    return torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu").tolist()


def _draw_box(height: int, width: int, low: float, high: float, numbers: list[float]) -> Box:
    """Return a random resized crop's box from 2 numbers for each try and 2 for its place, as ``draw_boxes`` has it."""
    log_low, log_range = math.log(RATIO[0]), math.log(RATIO[1] / RATIO[0])
    y, x = numbers[-2:]
    for u, v in zip(numbers[:TRIES], numbers[TRIES : 2 * TRIES], strict=True):
        area = height * width * (low + (high - low) * u)
        shape = math.exp(log_low + log_range * v)
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(y * (height - h + 1)), int(x * (width - w + 1))
            return top, top + h, left, left + w
    h = round(width / RATIO[0]) if width < height * RATIO[0] else height
    w = round(height * RATIO[1]) if width > height * RATIO[1] else width
    top, left = (height - h) // 2, (width - w) // 2
    return top, top + h, left, left + w


def _fold_shares(shares: list[float]) -> list[float]:
    weights = [1.0]
    for share in shares:
        weights = [share * w for w in weights] + [1 - share]
    return weights


def _fold_permutations(steps: list[Triple], new: list[bool]) -> list[Triple]:
    folded = [IDENTITY]
    for (a, b, c), only_new in zip(steps, new, strict=False):
        if only_new:
            folded.append((a, b, c))
        else:
            folded = [(p[a], p[b], p[c]) for p in folded] + [IDENTITY]
    return folded


def _visible(weights: list[float]) -> list[float]:
    hidden = 0.0
    shown = list(weights)
    for k in sorted(range(len(weights)), key=weights.__getitem__):
        hidden += weights[k]
        if hidden >= VISIBLE:
            break
        shown[k] = 0.0
    total = sum(shown)
    return [w / total for w in shown]


def _draw_pasting(n: int, size: int, generator: torch.Generator | None) -> list[tuple[bool, Box]]:
    steps: list[tuple[bool, Box]] = []
    for share, y, x, coin in _uniform((VIEWS - 1, 4), generator)[: n - 1]:
        half = int(size * math.sqrt(1 - share)) // 2
        y0, y1, x0, x1 = (min(max(int(size * centre) + end, 0), size) for centre in (y, x) for end in (-half, half))
        steps.append((coin > 0.5, (y0, y1, x0, x1)))
    return steps


def _pixel_shares(steps: list[tuple[bool, Box]], size: int) -> list[float]:
    """Return the share of the pixels that each view owns, cell by cell of the grid that the boxes' edges make."""
    ys = sorted({0, size, *(edge for _, box in steps for edge in box[:2])})
    xs = sorted({0, size, *(edge for _, box in steps for edge in box[2:])})
    owned = [0] * (len(steps) + 1)
    for (top, bottom), (left, right) in itertools.product(itertools.pairwise(ys), itertools.pairwise(xs)):
        owner = 0
        for k, (into, (y0, y1, x0, x1)) in enumerate(steps, 1):
            if (y0 <= top < y1 and x0 <= left < x1) == into:
                owner = k
        owned[owner] += (bottom - top) * (right - left)
    return [pixels / size**2 for pixels in owned]
