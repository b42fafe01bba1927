"""ResizeMix's RandAugment for CIFAR: colour operations only.

Jie Qin et al. ResizeMix: Mixing Data with Preserved Object Information and True Labels. 2020, arXiv:2012.11101.
"""

import random
from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageOps

from openmix.data.transforms.pillow import PillowTransform
from openmix.errors import UserError

__all__ = ["ColourRandAugment"]

Operation = Callable[[Image.Image, float], Image.Image]

# each with the values that it takes at magnitude 0 and at 30
OPERATIONS: list[tuple[Operation, float, float]] = [
    (lambda image, _: image, 0, 1),
    (lambda image, _: ImageOps.autocontrast(image), 0, 1),
    (lambda image, _: ImageOps.invert(image), 0, 1),
    (lambda image, _: ImageOps.equalize(image), 0, 1),
    (lambda image, threshold: ImageOps.solarize(image, threshold), 0, 256),  # type: ignore[arg-type]  (floats do)
    (lambda image, bits: ImageOps.posterize(image, int(bits)), 4, 8),
    (lambda image, factor: ImageEnhance.Contrast(image).enhance(factor), 0.1, 1.9),
    (lambda image, factor: ImageEnhance.Color(image).enhance(factor), 0.1, 1.9),
    (lambda image, factor: ImageEnhance.Brightness(image).enhance(factor), 0.1, 1.9),
    (lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor), 0.1, 1.9),
]


class ColourRandAugment(PillowTransform):
    """RandAugment (Cubuk et al., arXiv:1909.13719) of ten operations that leave every pixel where it is.

    Identity, autocontrast, invert, equalize, solarize, posterize, contrast, colour, brightness, sharpness; each of
    ``n`` draws takes one of them, equally likely, with replacement, from Python's ``random``. The magnitude is fixed
    and runs along each operation's range from its lower end: at m = 14, the authors', contrast, colour, brightness and
    sharpness are enhanced by 0.94, which is nearly none. The authors apply it to CIFAR's images before all else.

    Args:
        n: operations an image, at least 0. Default 2, the authors'.
        m: the magnitude, 0 to 30. Default 14, the authors'.

    Raises:
        UserError: a value out of range; at the call, anything but a uint8 tensor with three channels.

    >>> import torch
    >>> ColourRandAugment()(torch.zeros(3, 8, 8, dtype=torch.uint8)).shape
    torch.Size([3, 8, 8])
    """

    def __init__(self, n: int = 2, m: float = 14) -> None:
        if n < 0 or not 0 <= m <= 30:
            raise UserError(f"ColourRandAugment takes n >= 0 operations of magnitude m in 0..30, not n={n}, m={m}")
        super().__init__(self._augment)
        self.n = n
        self.m = m

    def _augment(self, image: Image.Image) -> Image.Image:
        for operation, lowest, highest in random.choices(OPERATIONS, k=self.n):
            image = operation(image, lowest + self.m / 30 * (highest - lowest))
        return image
