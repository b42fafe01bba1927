"""timm's RandAugment, AutoAugment and AugMix by their policy strings: what DeiT's and RSB's recipes name."""

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from PIL import Image, ImageOps

from openmix.data.transforms.pillow import PillowTransform
from openmix.errors import UserError, did_you_mean

__all__ = ["TimmAutoAugment"]

NUMBERED = {"rand": ("m", "n", "p", "mstd", "mmax", "inc"), "augmix": ("m", "w", "d", "a", "b", "mstd")}
FRACTIONS = ("p", "mstd", "a")  # the others are whole numbers
AUTO = ("original", "originalr", "v0", "v0r", "3a")
MAGNITUDE = 10  # timm's limit, where none is given
RANGES = {"n": (1, math.inf), "p": (0, 1), "mmax": (1, math.inf), "inc": (0, 1), "w": (1, math.inf),
          "d": (1, math.inf), "b": (0, 1)}  # fmt: skip
WEIGHTS = ("tweights", "t3a", "t3aw")


class TimmAutoAugment(PillowTransform):
    """timm's own code on one uint8 (3, H, W) image, set up as timm's training transforms set it up.

    torchvision's ``RandAugment`` is another thing: timm draws the magnitude, applies each operation with probability
    0.5, fills with the mean colour and has further operations and other ranges. Draws are made from Python's ``random``
    and numpy's global generator, as timm makes them; ``TorchLoader`` seeds both for each image.

    Args:
        policy: a name and settings, joined by '-'.
            'rand' is RandAugment (Cubuk et al., arXiv:1909.13719): m magnitude (10), n operations (2), p probability of
            each (0.5), mstd standard deviation of the magnitude (none; above 100: uniform), mmax its upper limit (10;
            timm cuts off an m above it),
            inc1 operations that all grow with the magnitude, tweights, t3a, t3aw other sets of operations.
            'augmix' is AugMix (Hendrycks et al., arXiv:1912.02781): m magnitude (3), w chains (3), d operations of a
            chain (drawn), a alpha (1), b1 a faster blending, mstd.
            'original', 'originalr', 'v0', 'v0r' are AutoAugment (Cubuk et al., arXiv:1805.09501), '3a' is DeiT III's
            (Touvron et al., arXiv:2204.07118): mstd.
            The default is DeiT's; RSB has rand-m7-mstd0.5-inc1 (A1, A2) and rand-m6-mstd0.5-inc1 (A3).
        img_size: what the images are cropped to; absolute translations go up to 0.45 of it.
        mean: the data set's mean colour in [0, 1], which fills what moves into the image. Default ImageNet's.
        interpolation: of rotations, shears and translations; 'random' draws bilinear or bicubic each time.

    Raises:
        UserError: a policy that timm does not know or of which it would silently ignore a part, a number that is out of
            its range; at the call, anything but a uint8 tensor with three channels.

    >>> import torch
    >>> TimmAutoAugment("rand-m7-mstd0.5-inc1")(torch.zeros(3, 8, 8, dtype=torch.uint8)).shape
    torch.Size([3, 8, 8])
    """

    def __init__(
        self,
        policy: str = "rand-m9-mstd0.5-inc1",
        img_size: int = 224,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        interpolation: Literal["bicubic", "bilinear", "nearest", "random"] = "bicubic",
    ) -> None:
        _check(policy)
        if img_size < 1:
            raise UserError(f"TimmAutoAugment: img_size must be at least 1 pixel, got {img_size}")
        if len(mean) != 3 or not all(0 <= channel <= 1 for channel in mean):
            raise UserError(f"TimmAutoAugment: mean must be a colour, three numbers in [0, 1], got {mean}")
        from timm.data import auto_augment  # seconds of import that only this transform pays
        from timm.data.transforms import str_to_pil_interp

        settings: dict[str, Any] = {
            "translate_const": int(img_size * 0.45),
            "img_mean": tuple(min(255, round(255 * channel)) for channel in mean),
        }
        if interpolation != "random":
            settings["interpolation"] = str_to_pil_interp(interpolation)
        kind = policy.split("-")[0]
        if kind == "rand":
            function: Any = auto_augment.rand_augment_transform(policy, settings)
        elif kind == "augmix":
            function = auto_augment.augment_and_mix_transform(policy, {**settings, "translate_pct": 0.3})
        else:
            function = auto_augment.auto_augment_transform(policy, settings)
        for operation in getattr(function, "ops", None) or [op for pair in function.policy for op in pair]:
            if operation.name.startswith("Posterize"):
                operation.aug_fn = _posterize
        super().__init__(function)
        self.policy = policy


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """Keep so many high bits: black for none, to which even DeiT's policy comes, in one image of a thousand.

    Pillow made it black when the recipes were written; from 13 on it refuses, and timm's own transform stops there.
    """
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)


def _check(policy: str) -> None:
    """Raise UserError for a policy of which timm would stumble over a part, or skip it."""
    kind, *parts = policy.split("-")
    if kind not in (*NUMBERED, *AUTO):
        raise UserError(f"TimmAutoAugment: no policy is called {kind!r}{did_you_mean(kind, (*NUMBERED, *AUTO))}")
    keys = NUMBERED.get(kind, ("mstd",))
    given: dict[str, float] = {}
    for part in parts:
        key = part.rstrip("0123456789.")
        number = r"\d+(\.\d+)?" if key in FRACTIONS else r"\d+"
        right = key in keys and re.fullmatch(number, part[len(key) :])
        if not right and not (kind == "rand" and part in WEIGHTS):
            choices = [f"{key}{'FLOAT' if key in FRACTIONS else 'INT'}" for key in keys]
            choices += WEIGHTS if kind == "rand" else ()
            raise UserError(f"TimmAutoAugment: {part!r} in {policy!r} is no setting of {kind}: {' '.join(choices)}")
        if part not in WEIGHTS:
            given[key] = float(part[len(key) :])
    ranges = {**RANGES, "m": (0, given.get("mmax", MAGNITUDE))}
    for key, number in given.items():
        low, high = ranges.get(key, (0, math.inf))
        if not low <= number <= high:
            limit = f"in {low:g}..{high:g}" if high < math.inf else f"at least {low:g}"
            hint = "; timm would cut it off there, and mmax sets another limit" if (kind, key) == ("rand", "m") else ""
            raise UserError(f"TimmAutoAugment: {key} in {policy!r} must be {limit}, got {number:g}{hint}")
    if not given.get("a", 1.0):
        raise UserError(f"TimmAutoAugment: a in {policy!r} must be above 0: it is alpha of a Beta distribution")
