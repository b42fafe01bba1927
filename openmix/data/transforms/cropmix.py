"""CropMix: mix crops of one image that are cut at different scales.

Junlin Han et al. CropMix: Sampling a Rich Input Distribution via Multi-Scale Cropping. 2022, arXiv:2205.15955 (the link
in the README of the authors' code, arXiv:2201.12078, is another paper). Authors' code: JunlinHan/CropMix.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import is_pure_tensor

from openmix.data.transforms.cropmix_settings import CropMixSettings
from openmix.data.transforms.cropmix_single import Plan, apply_plan, draw_plan
from openmix.errors import UserError

__all__ = ["CropMix"]


class CropMix(v2.Transform):
    """Cut 2 to 4 random resized crops of different scales out of an image, and mix them; the label stays.

    The range of areas from ``scale`` to 1 is divided into as many bands of equal width as there are crops, and each
    crop is a random resized crop with an area of its band: torchvision's rule, aspect ratio 3/4 to 4/3, bilinear and
    antialiased. For 3 and 4 the crops are then shuffled; of 2 the smaller is the first. They are mixed one after the
    other: what is mixed so far with the next,

    - as mixup does, ``lam * mixed + (1 - lam) * crop``, lam from Beta(mix_ratio / n, mix_ratio / n) for n crops, which
      is one crop with a weight above 0.9 in two of three images; or
    - as CutMix does: a box of 1 - lam of the area, lam uniform, clipped at the borders, is taken from either of the two
      and put into the other, equally likely. ``mix_ratio`` has no say in it.

    It stands where ``RandomResizedCrop`` would. Of a uint8 tensor it makes a uint8 tensor, so that a loader sends bytes
    and normalises on the device; of a PIL image, as the authors' code does, a float32 tensor in [0, 1]. In mixup
    mode the crops' weights are drawn first, and crops that together weigh less than one grey level are not made; in
    cutmix mode those of which no pixel would be seen. The results differ from what all crops give by that grey level
    at most.

    Against the authors' final code: the number of crops is drawn for each image, where theirs keeps the first that it
    draws; all draws are from torch's generator, where theirs are from three. ``preset="as_published"`` is the code that
    their tables were made with, or may have been: 2 crops have the areas (s, (1 - s) / 2) and ((1 - s) / 2, 1), without
    adding s to the middle, and 234 is decided by the first image and kept by the object, so that it depends on the
    loader's workers, as there. It is not known for which rows of the tables.

    Args:
        scale: the smallest area of a crop as a share of the image's, in (0, 1). Default 0.01, the authors' for
            ImageNet; for CIFAR they name 0.5.
        mix_ratio: Beta's parameter, above 0, before it is divided by the number of crops. Default 0.4, the authors'.
        number: 2, 3 or 4 crops; 234, the default, is one of these, equally likely.
        operation: 0, the default, is mixup and 1 is cutmix.
        inter_aug: whether each step permutes the channels of one of the two that it mixes, at random: in mixup mode
            of the lighter one, in cutmix mode of the one that the box is taken from. Default False; the authors
            turn it on for classification.
        post_aug: what is applied to the mixture, a callable or several in turn; it is given a tensor of [0, 1] for PIL
            images, of uint8 for tensors. In a config, put transforms after this one into the pipeline instead: it is
            the same, a flip of the mixture being the mixture of flips.
        size: height and width of the result in pixels. Default 224.
        preset: None or 'as_published'.

    Raises:
        UserError: an argument out of range; at the call, anything but a PIL image in RGB or grey or a uint8 (C, H, W)
            tensor, or channels other than three where ``inter_aug`` is to permute them.

    >>> from torchvision import transforms
    >>> crop = CropMix(0.01, 0.4, 234, 0, True, transforms.RandomHorizontalFlip())
    >>> crop(Image.new("RGB", (500, 375))).shape
    torch.Size([3, 224, 224])
    >>> CropMix(0.5, size=32)(torch.zeros(3, 32, 32, dtype=torch.uint8)).dtype
    torch.uint8
    """

    _transformed_types = (Image.Image, tv_tensors.Image, is_pure_tensor)

    def __init__(
        self,
        scale: float = 0.01,
        mix_ratio: float = 0.4,
        number: int = 234,
        operation: int = 0,
        inter_aug: bool = False,
        post_aug: Callable[[Tensor], Any] | Sequence[Callable[[Any], Any]] | None = None,
        *,
        size: int = 224,
        preset: str | None = None,
    ) -> None:
        super().__init__()
        self.settings = CropMixSettings(scale, mix_ratio, number, operation, inter_aug, size, preset)
        steps = post_aug if isinstance(post_aug, Sequence) else [] if post_aug is None else [post_aug]
        if not all(callable(step) for step in steps):
            raise UserError(
                f"CropMix: post_aug must be a callable or a list of them, got {post_aug!r}; in a config, put "
                "transforms after CropMix into the pipeline"
            )
        self.post_aug = tuple(steps)

    def forward(self, *inputs: Any) -> Any:
        """Return the sample with its image mixed."""
        if len(inputs) == 1 and isinstance(inputs[0], Image.Image | Tensor):  # the base class looks into samples
            return self.transform(inputs[0], self.make_params([inputs[0]]))
        return super().forward(*inputs)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the plan from torch's global generator."""
        if len(flat_inputs) != 1:
            raise UserError(f"CropMix takes one image, PIL's or a tensor, not {len(flat_inputs)}")
        height, width = _size_of(flat_inputs[0])
        plan = draw_plan(height, width, self.settings)
        if self.settings.preset and self.settings.number not in (2, 3, 4):
            self.settings = replace(self.settings, number=len(plan.views))
        return {"plan": plan}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Return the mixture of one image's crops, after ``post_aug``."""
        plan: Plan = params["plan"]
        pixels = _pixels(inpt)
        if self.settings.inter_aug and len(pixels) != 3:
            raise UserError(f"CropMix: inter_aug permutes the channels of colour images; this one has {len(pixels)}")
        dtype = torch.float32 if isinstance(inpt, Image.Image) else torch.uint8
        mixture: Any = apply_plan(pixels, plan, dtype)
        for step in self.post_aug:
            mixture = step(mixture)
        return mixture

    def extra_repr(self) -> str:
        """Return the arguments, for printing."""
        return f"{self.settings}, post_aug={self.post_aug}"


def _size_of(image: Any) -> tuple[int, int]:
    """Return height and width.

    Raises:
        UserError: it is no image that CropMix takes.
    """
    if isinstance(image, Image.Image) and image.mode in ("RGB", "L"):
        height, width = image.height, image.width
    elif isinstance(image, Tensor) and image.dtype == torch.uint8 and image.ndim == 3:
        height, width = image.shape[1:]
    else:
        found = type(image).__name__
        if isinstance(image, Image.Image):
            found = f"one in mode {image.mode!r}: convert it"
        elif isinstance(image, Tensor):
            found = f"{image.dtype} {tuple(image.shape)}: put ToDtype and whatever makes batches after it"
        raise UserError(f"CropMix takes a PIL image in mode RGB or L, or a uint8 (C, H, W) tensor, not {found}")
    if not height or not width:
        raise UserError(f"CropMix: the image has no pixels: {height} x {width}")
    return height, width


def _pixels(image: Any) -> Tensor:
    """Return the image as a uint8 (C, H, W) tensor."""
    if isinstance(image, Tensor):
        return image.as_subclass(Tensor)
    pixels = torch.from_numpy(np.array(image))  # a copy, as arrays of Pillow's images are read-only
    return pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels[None]
