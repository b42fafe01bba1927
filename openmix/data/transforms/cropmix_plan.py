"""What CropMix draws for a batch of images, before any pixel is touched; every way to apply it takes the same plans.

Junlin Han et al. CropMix: Sampling a Rich Input Distribution via Multi-Scale Cropping. 2022,
arXiv:2205.15955.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openmix.data.transforms.crop_boxes import NUMBERS_A_BOX, boxes_from, cutmix_boxes
from openmix.data.transforms.cropmix_settings import NUMBERS, CropMixSettings
from openmix.ops.random import sample_beta

__all__ = ["CropMixPlans", "draw_plans", "draw_uniform", "owner_at"]

VIEWS = 4  # that a plan has room for
PERMUTATIONS = np.array([(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
STEPS = VIEWS - 1
# what an image's uniform numbers are for, and how many each use takes
USES = {"number": 1, "order": VIEWS, "boxes": VIEWS * NUMBERS_A_BOX, "permutation": STEPS, "mixing": 4 * STEPS}
TINY = 1e-300  # for the logarithm of 0
VISIBLE = 1 / 255  # a share of white that is one grey level
NOWHERE = np.array([0, 1, 0, 1])  # the box of a view that does not show: valid, and cheap for who crops it all the same


@dataclass(frozen=True)
class CropMixPlans:
    """What was drawn for B images: up to four views of each, in the order in which they are mixed.

    A view that does not show, because the image has fewer or because the others outweigh it, has weight 0 and the box
    ``(0, 1, 0, 1)``: valid, but nobody need crop it. In mixup mode views are left out while all of them together
    weigh less than 1/255, one grey level.

    Attributes:
        size: edge of the result in pixels.
        number: int64 (B,), how many crops were drawn, 2 to 4.
        boxes: int64 (B, 4, 4), each view's ``(y0, y1, x0, x1)`` in the image, half-open.
        weights: float32 (B, 4), each view's share of the result, summing to 1. In cutmix mode its share of the pixels.
        permutation: int64 (B, 4, 3): channel c of the result is channel ``permutation[c]`` of the view.
        pasted: int64 (B, 3, 4), cutmix only, else None: step k's ``(y0, y1, x0, x1)`` in the result, half-open.
        into: bool (B, 3), cutmix only, else None: whether step k puts the box of view k + 1 into what is there, and not
            the box of what is there into view k + 1. A step that an image lacks puts an empty box into what is there.
    """

    size: int
    number: Tensor
    boxes: Tensor
    weights: Tensor
    permutation: Tensor
    pasted: Tensor | None = None
    into: Tensor | None = None

    def __len__(self) -> int:
        return len(self.number)

    def owner(self) -> Tensor:
        """Return which view each pixel of the result is of: int64 (B, size, size). Cutmix only."""
        if self.pasted is None or self.into is None:
            raise ValueError("in mixup mode all views share every pixel: there is an owner in cutmix mode only")
        places = torch.arange(self.size).expand(len(self), -1)
        return owner_at(self.pasted, self.into, places, places)


def draw_plans(
    heights: Tensor, widths: Tensor, settings: CropMixSettings, generator: torch.Generator | None = None
) -> CropMixPlans:
    """Draw the plans of B images.

    Args:
        heights: int64 (B,), on the CPU.
        widths: int64 (B,), on the CPU.
        settings: what to draw from.
        generator: a CPU generator; None takes torch's default one.

    >>> plans = draw_plans(torch.tensor([375]), torch.tensor([500]), CropMixSettings(number=2))
    >>> plans.boxes.shape, round(float(plans.weights.sum()), 5)
    (torch.Size([1, 4, 4]), 1.0)
    """
    count = len(heights)
    numbers = {name: row.numpy() for name, row in draw_uniform(count, generator).items()}
    number = _numbers_of_crops(numbers["number"], settings)
    band = _orders(number, numbers["order"])
    table = np.ones((VIEWS + 1, VIEWS, 2))
    for n in NUMBERS[settings.number]:
        table[n, :n] = settings.bands(n)
    low, high = np.moveaxis(table[number[:, None], band], -1, 0)
    boxes = boxes_from(heights.numpy(), widths.numpy(), low, high, numbers["boxes"].reshape(count, VIEWS, -1))
    pasted = into = None
    if settings.operation:
        pasted, into = _pasting(number, settings.size, numbers["mixing"].reshape(count, STEPS, 4))
        weights = _pixel_shares(pasted, into, settings.size)
        new = into
    else:
        shares = _draw_shares(number, settings, numbers["mixing"], generator)
        weights = visible(fold_shares(shares))
        new = shares > 0.5
    permutation = np.tile(np.arange(3), (count, VIEWS, 1))
    if settings.inter_aug:
        steps = PERMUTATIONS[(len(PERMUTATIONS) * numbers["permutation"]).astype(np.int64)]
        permutation = fold_permutations(steps, new)
    boxes = np.where((weights > 0)[..., None], boxes, NOWHERE)
    return CropMixPlans(
        settings.size,
        torch.from_numpy(number),
        torch.from_numpy(boxes),
        torch.from_numpy(weights.astype(np.float32)),
        torch.from_numpy(permutation),
        None if pasted is None else torch.from_numpy(pasted),
        None if into is None else torch.from_numpy(into),
    )


def draw_uniform(count: int, generator: torch.Generator | None) -> dict[str, Tensor]:
    """Draw all that is uniform in [0, 1), in one call: for each use float64 (count, how many an image has)."""
    numbers = torch.rand((count, sum(USES.values())), generator=generator, dtype=torch.float64, device="cpu")
    return dict(zip(USES, numbers.split(list(USES.values()), dim=1), strict=True))


def fold_shares(shares: np.ndarray) -> np.ndarray:
    """Return each view's final weight, (B, 4), where step k keeps ``shares[:, k]`` of what is there, (B, 3)."""
    first = np.ones_like(shares[:, :1])
    kept = np.concatenate([np.cumprod(shares[:, ::-1], axis=1)[:, ::-1], first], axis=1)  # by the steps from k on
    return kept * np.concatenate([first, 1 - shares], axis=1)


def fold_permutations(steps: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return each view's final permutation, (B, 4, 3).

    Args:
        steps: (B, 3, 3), the permutation of each step.
        new: bool (B, 3), whether step k permutes view k + 1 and not all that is there.
    """
    identity = np.arange(3)
    folded = np.tile(identity, (len(steps), VIEWS, 1))
    for k in range(1, VIEWS):
        step = steps[:, k - 1 : k]
        only_new = new[:, k - 1, None, None]
        folded[:, k : k + 1] = np.where(only_new, step, identity)
        # the running mixture's channel c becomes its channel step[c], which is the view's channel folded[step[c]]
        running = folded[:, :k]
        folded[:, :k] = np.take_along_axis(running, np.where(only_new, identity, step), axis=-1)
    return folded


def visible(weights: np.ndarray) -> np.ndarray:
    """Return the weights without the least ones, as many as sum to less than one grey level; they sum to 1 again."""
    ascending = np.sort(weights, axis=1)
    hidden = np.cumsum(ascending, axis=1) < VISIBLE
    least = np.where(hidden, ascending, -1.0).max(axis=1, keepdims=True)  # -1 hides none
    shown = np.where(weights > least, weights, 0.0)
    return shown / shown.sum(axis=1, keepdims=True)


def owner_at(pasted: Tensor, into: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return which view owns each place, int64 (B, R, C), on any device.

    Args:
        pasted: (B, 3, 4), as in :class:`CropMixPlans`.
        into: bool (B, 3).
        rows: (B, R), places.
        columns: (B, C).
    """
    owner = torch.zeros(len(rows), rows.shape[1], columns.shape[1], dtype=torch.int64, device=rows.device)
    for k in range(STEPS):
        y0, y1, x0, x1 = pasted[:, k, :, None].unbind(1)
        inside = ((rows >= y0) & (rows < y1))[:, :, None] & ((columns >= x0) & (columns < x1))[:, None, :]
        owner = torch.where(inside == into[:, k, None, None], k + 1, owner)
    return owner


def _numbers_of_crops(numbers: np.ndarray, settings: CropMixSettings) -> np.ndarray:
    """Return how many crops each image has; as published, all of a batch have the same number."""
    choices = np.array(NUMBERS[settings.number])
    drawn = choices[(len(choices) * numbers[:, 0]).astype(np.int64)]
    return drawn[:1].repeat(len(drawn)) if settings.preset else drawn


def _orders(number: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the band of each view: shuffled for 3 and 4 crops, the smaller first for 2, absent ones last."""
    absent = np.arange(VIEWS) >= number[:, None]
    return np.where(number[:, None] == 2, np.arange(VIEWS), np.argsort(keys + absent, axis=1))


def _draw_shares(
    number: np.ndarray, settings: CropMixSettings, numbers: np.ndarray, generator: torch.Generator | None
) -> np.ndarray:
    """Return what each step keeps of what is there, float64 (B, 3); a step that an image lacks keeps all."""
    shares = np.ones((len(number), STEPS))
    for n in NUMBERS[settings.number]:
        chosen = number == n
        if chosen.any():
            pairs = numbers[chosen, : 2 * n - 2].reshape(-1, n - 1, 2)
            shares[chosen, : n - 1] = sample_shares(settings.mix_ratio / n, pairs, generator)
    return shares


def sample_shares(shape: float, pairs: np.ndarray, generator: torch.Generator | None) -> np.ndarray:
    """Return one draw of Beta(shape, shape) for each pair of numbers uniform in [0, 1): float64 (B, K) of (B, K, 2).

    Jöhnk's method, which for small shapes seldom needs another pair, and one image's draw no tensor; above 1 it would
    need many, and ``sample_beta`` draws.
    """
    if shape > 1:
        return sample_beta(shape, pairs.shape[:2], generator).double().numpy()
    shares = np.full(pairs.shape[:2], np.nan)
    while True:
        x, y = np.moveaxis(np.log(pairs + TINY) / shape, -1, 0)
        taken = np.isnan(shares) & (np.exp(x) + np.exp(y) <= 1)
        shares = np.where(taken, 0.5 + 0.5 * np.tanh((x - y) / 2), shares)
        if not np.isnan(shares).any():
            return shares
        pairs = torch.rand(pairs.shape, generator=generator, dtype=torch.float64, device="cpu").numpy()


def _pasting(number: np.ndarray, size: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the box of each step, int64 (B, 3, 4), and whether it is pasted into what is there, bool (B, 3)."""
    lacking = np.arange(1, VIEWS) >= number[:, None]
    boxes = cutmix_boxes(size, numbers[..., :3])
    return np.where(lacking[..., None], 0, boxes), lacking | (numbers[..., 3] > 0.5)


def _pixel_shares(pasted: np.ndarray, into: np.ndarray, size: int) -> np.ndarray:
    """Return the share of the pixels that each view owns, (B, 4).

    The boxes' edges cut the result into at most 7 x 7 cells, each of one owner, so that no map need be made.
    """
    ends = np.broadcast_to(np.array([0, size]), (len(pasted), 2))
    ys, xs = (np.sort(np.concatenate([pasted[:, :, i : i + 2].reshape(-1, 6), ends], 1), 1) for i in (0, 2))
    corners = torch.from_numpy(ys[:, :-1].copy()), torch.from_numpy(xs[:, :-1].copy())
    owner = owner_at(torch.from_numpy(pasted), torch.from_numpy(into), *corners).numpy()
    pixels = np.diff(ys)[:, :, None] * np.diff(xs)[:, None, :]
    owned = [(pixels * (owner == k)).sum(axis=(1, 2)) for k in range(VIEWS)]
    return np.stack(owned, axis=1) / size**2
