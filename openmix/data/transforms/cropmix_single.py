"""CropMix for one image: the plan in plain numbers, and how it is applied to pixels.

Arrays of one element cost as much as a crop, so here is the arithmetic of ``cropmix_plan`` once more, in plain numbers.
From one state of a generator both draw the same plan, which a test sees to.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from openmix.data.transforms.crop_boxes import NUMBERS_A_BOX, RATIO, TRIES
from openmix.data.transforms.cropmix_plan import PERMUTATIONS, TINY, USES, VISIBLE, CropMixPlans
from openmix.data.transforms.cropmix_settings import NUMBERS, CropMixSettings
from openmix.ops.random import sample_beta

__all__ = ["Plan", "View", "apply_plan", "draw_plan"]

Box = tuple[int, int, int, int]  # y0, y1, x0, x1, half-open
Triple = tuple[int, int, int]

IDENTITY: Triple = (0, 1, 2)
PARTS = list(itertools.pairwise(itertools.accumulate(USES.values(), initial=0)))  # where each use's numbers lie
ORDERS: list[Triple] = [tuple(row) for row in PERMUTATIONS.tolist()]


class View(NamedTuple):
    """One crop: where it is cut, its share of the result, and which of its channels is the result's channel c."""

    box: Box
    weight: float
    permutation: Triple

    def channel(self, c: int) -> int:
        """Return the view's channel that is the result's channel c; beyond the third none is permuted."""
        return self.permutation[c] if c < 3 else c


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
    numbers = torch.rand(sum(USES.values()), generator=generator, dtype=torch.float64, device="cpu").tolist()
    first, keys, boxes, orders, mixing = (numbers[begin:end] for begin, end in PARTS)
    choices = NUMBERS[settings.number]
    n = choices[int(len(choices) * first[0])]
    order = (0, 1) if n == 2 else sorted(range(n), key=keys.__getitem__)
    bands = settings.bands(n)
    if settings.operation:
        steps = _pasting(n, settings.size, mixing)
        weights = _pixel_shares(steps, settings.size)
        new = [into for into, _ in steps]
    else:
        steps = None
        shares = _shares(settings.mix_ratio / n, mixing[: 2 * n - 2], generator)
        weights = _visible(_fold_shares(shares))
        new = [share > 0.5 for share in shares]
    permutations = [IDENTITY] * n
    if settings.inter_aug:
        permutations = _fold_permutations([ORDERS[int(len(ORDERS) * u)] for u in orders], new)
    views: list[View | None] = [None] * n
    for k, weight in enumerate(weights):
        if weight > 0:
            box = _box(height, width, *bands[order[k]], boxes[NUMBERS_A_BOX * k : NUMBERS_A_BOX * (k + 1)])
            views[k] = View(box, weight, permutations[k])
    return Plan(settings.size, views, steps)


def apply_plan(image: Tensor, plan: Plan, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Return the mixture of a uint8 (C, H, W) image's views.

    Returns:
        (C, size, size), contiguous: uint8, rounded once, or float32 in [0, 1].
    """
    views = [view for view in plan.views if view is not None]
    if plan.steps is None and len(views) > 1:
        return _blend([_crop(image, view.box, plan.size) for view in views], views, dtype)
    pasted = _planes(image, views[0], plan.size) if plan.steps is None else _paste(image, plan)
    return pasted if dtype == torch.uint8 else pasted.to(dtype).div_(255)


def _crop(image: Tensor, box: Box, size: int) -> np.ndarray:
    """Return a part of the image, resized: uint8 (C, size, size) in any layout. It may be the image's memory."""
    y0, y1, x0, x1 = box
    crop = image[None, :, y0:y1, x0:x1]
    if (y1 - y0, x1 - x0) != (size, size):
        # channels last is what the uint8 kernel wants; the copy of what is cut out costs less than it saves
        crop = crop.contiguous(memory_format=torch.channels_last)
        crop = F.interpolate(crop, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return crop[0].numpy()


def _planes(image: Tensor, view: View, size: int) -> Tensor:
    """Return a view, its channels permuted, as a contiguous tensor of its own: uint8 (C, size, size)."""
    crop = _crop(image, view.box, size)
    planes = np.empty(crop.shape, crop.dtype)
    for c, plane in enumerate(planes):
        plane[:] = crop[view.channel(c)]  # numpy reads with strides faster than torch
    return torch.from_numpy(planes)


def _blend(crops: list[np.ndarray], views: list[View], dtype: torch.dtype) -> Tensor:
    """Return the weighted sum, channel by channel, whose floats stay in the processor's cache."""
    channels, size, _ = crops[0].shape
    mixture = np.empty((channels, size, size), np.uint8 if dtype == torch.uint8 else np.float32)
    scale, offset = (1.0, 0.5) if dtype == torch.uint8 else (1 / 255, 0.0)
    total, addend = np.empty((2, size, size), np.float32)
    for c, plane in enumerate(mixture):
        np.copyto(total, crops[0][views[0].channel(c)])  # numpy converts and reads with strides faster than torch
        total *= views[0].weight * scale
        for crop, view in zip(crops[1:], views[1:], strict=True):
            np.copyto(addend, crop[view.channel(c)])
            addend *= view.weight * scale
            total += addend
        total += offset  # to round, as the copy cuts off
        np.copyto(plane, total, casting="unsafe")
    return torch.from_numpy(mixture)


def _paste(image: Tensor, plan: Plan) -> Tensor:
    """Return the pasted views, uint8 (C, size, size).

    A view that does not show is passed over: what would be seen of it is covered by a later one, or nothing is.
    """
    first, *others = plan.views
    mixture = _planes(image, first, plan.size) if first is not None else None
    for view, (into, (y0, y1, x0, x1)) in zip(others, plan.steps or (), strict=True):
        if view is None:
            continue
        crop = _planes(image, view, plan.size)
        if mixture is None:
            mixture = crop
        elif into:
            mixture[:, y0:y1, x0:x1] = crop[:, y0:y1, x0:x1]
        else:
            crop[:, y0:y1, x0:x1] = mixture[:, y0:y1, x0:x1]
            mixture = crop
    assert mixture is not None, "some view owns the pixels"
    return mixture


def _box(height: int, width: int, low: float, high: float, numbers: list[float]) -> Box:
    """Return a random resized crop's box from 2 numbers for each try and 2 for its place, as ``boxes_from`` has it."""
    log_low, log_range, (y, x) = math.log(RATIO[0]), math.log(RATIO[1] / RATIO[0]), numbers[-2:]
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


def _shares(shape: float, numbers: list[float], generator: torch.Generator | None) -> list[float]:
    """Return one draw of Beta(shape, shape) for each pair of numbers, as ``sample_shares`` has it."""
    if shape > 1:
        return sample_beta(shape, (1, len(numbers) // 2), generator)[0].double().tolist()
    pairs: list[list[float]] = [numbers[k : k + 2] for k in range(0, len(numbers), 2)]
    shares: list[float | None] = [None] * len(pairs)
    while True:
        for k, (u, v) in enumerate(pairs):
            x, y = math.log(u + TINY) / shape, math.log(v + TINY) / shape
            if shares[k] is None and math.exp(x) + math.exp(y) <= 1:
                shares[k] = 0.5 + 0.5 * math.tanh((x - y) / 2)
        if None not in shares:
            return [share for share in shares if share is not None]
        pairs = torch.rand((len(pairs), 2), generator=generator, dtype=torch.float64, device="cpu").tolist()


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
    hidden, shown = 0.0, list(weights)
    for k in sorted(range(len(weights)), key=weights.__getitem__):
        hidden += weights[k]
        if hidden >= VISIBLE:
            break
        shown[k] = 0.0
    total = sum(shown)
    return [w / total for w in shown]


def _pasting(n: int, size: int, numbers: list[float]) -> list[tuple[bool, Box]]:
    steps: list[tuple[bool, Box]] = []
    for k in range(n - 1):
        share, y, x, coin = numbers[4 * k : 4 * k + 4]
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
