"""Views that are pasted of two crops: ScaleMix, and CropMix's variant for contrastive learning.

Xiao Wang et al. On the Importance of Asymmetry for Siamese Representation Learning. CVPR 2022, arXiv:2204.00613.
Junlin Han et al. CropMix: Sampling a Rich Input Distribution via Multi-Scale Cropping. 2022, arXiv:2205.15955.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from openmix.data.transforms.crop_boxes import cutmix_boxes
from openmix.errors import UserError

__all__ = ["CropMixPair", "PastedCrops", "ScaleMix"]

Band = Sequence[float]  # the smallest and the largest area of a crop, as shares of the image's


class PastedCrops:
    """Two random resized crops, each through a pipeline of its own draws; a box of the second goes into the first.

    The box is CutMix's: 1 - lam of the area, lam uniform, about a uniform centre, clipped at the borders. All draws
    are from torch's global generator, in this order: a crop and its pipeline, the other crop and its, the box.

    Args:
        size: height and width of the crops in pixels.
        pipeline: transforms that follow each crop, and keep it a uint8 (C, size, size) tensor.
        bands: the areas of the first and of the second crop.

    Raises:
        UserError: an argument out of range; at the call, anything but a uint8 (C, H, W) tensor, or a pipeline that
            gives something else.

    Attributes:
        crops: torchvision's ``RandomResizedCrop`` for the first and for the second: bilinear, antialiased, aspect
            ratio 3/4 to 4/3.
    """

    def __init__(self, size: int, pipeline: Sequence[Callable[..., Any]], bands: Sequence[Band]) -> None:
        name = type(self).__name__
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UserError(f"{name}: size must be the edge of the result in pixels, at least 1, got {size!r}")
        if not isinstance(pipeline, Sequence) or not all(map(callable, pipeline)):
            raise UserError(f"{name}: pipeline must be a list of transforms, got {pipeline!r}")
        if not isinstance(bands, Sequence) or len(bands) != 2 or not all(map(_is_band, bands)):
            raise UserError(
                f"{name}: the areas of a crop go from a smallest to a largest share of the image's, "
                f"0 < smallest <= largest <= 1; got {bands!r} for the two crops"
            )
        self.size = size
        self.pipeline = tuple(pipeline)
        self.crops = tuple(v2.RandomResizedCrop(size, scale=(low, high)) for low, high in bands)

    def __call__(self, image: Tensor) -> Tensor:
        """Return the pasted crops of a uint8 (C, H, W) image: uint8 (C, size, size)."""
        if not _is_image(image):
            found = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
            raise UserError(f"{type(self).__name__} takes a uint8 (C, H, W) tensor with pixels, not {found}")
        first, second = (self._view(crop, image) for crop in self.crops)
        numbers = torch.rand(1, 3, dtype=torch.float64).numpy()
        y0, y1, x0, x1 = cutmix_boxes(self.size, numbers)[0].tolist()
        pasted = first.clone()  # a crop may be the image's own memory
        pasted[:, y0:y1, x0:x1] = second[:, y0:y1, x0:x1]
        return pasted

    def _view(self, crop: Callable[[Tensor], Any], image: Tensor) -> Tensor:
        """Return one crop after the pipeline."""
        view = crop(image)
        shape = view.shape
        for transform in self.pipeline:
            view = transform(view)
        if not _is_image(view) or view.shape != shape:
            found = f"{view.dtype} {tuple(view.shape)}" if isinstance(view, Tensor) else type(view).__name__
            raise UserError(
                f"{type(self).__name__}: its pipeline must keep a crop as it is, uint8 {tuple(shape)}, not make it "
                f"{found}; what does so belongs after {type(self).__name__}"
            )
        return view

    def __repr__(self) -> str:
        scales = ", ".join(str(tuple(crop.scale)) for crop in self.crops)
        return f"{type(self).__name__}(size={self.size}, pipeline={list(self.pipeline)}, areas: {scales})"


class ScaleMix(PastedCrops):
    """Paste a box of one random resized crop into another of the same image, each with augmentation of its own.

    asym-siam's, for the query view; the key is an ordinary one. Which of the crops is the larger is left to chance.

    Args:
        size: height and width of the result in pixels.
        pipeline: transforms that follow each crop, such as colour jitter, blur and flip; they keep it uint8 and its
            size.
        scale: the smallest and the largest area of a crop as shares of the image's. Default (0.2, 1.0), the authors'.

    Raises:
        UserError: an argument out of range; at the call, anything but a uint8 (C, H, W) tensor, or a pipeline that
            gives something else.

    >>> ScaleMix(8, [v2.RandomHorizontalFlip()])(torch.zeros(3, 20, 16, dtype=torch.uint8)).shape
    torch.Size([3, 8, 8])
    """

    def __init__(self, size: int, pipeline: Sequence[Callable[..., Any]], scale: Band = (0.2, 1.0)) -> None:
        super().__init__(size, pipeline, (scale, scale))


class CropMixPair(PastedCrops):
    """CropMix of two crops, as its authors have it for contrastive learning: a box of the large one into the small one.

    It differs from :class:`ScaleMix` in the areas alone: each crop has a band of its own. It differs from
    :class:`CropMix` in that each crop goes through all of the pipeline by itself, that the direction is fixed, and that
    there is neither mixup nor a permutation of channels.

    Args:
        size: height and width of the result in pixels.
        pipeline: transforms that follow each crop, such as colour jitter, blur and flip; they keep it uint8 and its
            size.
        bands: the areas of the small and of the large crop, as shares of the image's. Default (0.2, 0.6) and
            (0.6, 1.0), the authors'.

    Raises:
        UserError: an argument out of range; at the call, anything but a uint8 (C, H, W) tensor, or a pipeline that
            gives something else.

    >>> CropMixPair(8, [v2.RandomHorizontalFlip()])(torch.zeros(3, 20, 16, dtype=torch.uint8)).shape
    torch.Size([3, 8, 8])
    """

    def __init__(
        self,
        size: int,
        pipeline: Sequence[Callable[..., Any]],
        bands: Sequence[Band] = ((0.2, 0.6), (0.6, 1.0)),
    ) -> None:
        super().__init__(size, pipeline, bands)


def _is_band(band: Any) -> bool:
    """Tell whether these are two areas in order."""
    if not isinstance(band, Sequence) or isinstance(band, str) or len(band) != 2:
        return False
    return all(isinstance(area, int | float) for area in band) and 0 < band[0] <= band[1] <= 1


def _is_image(image: Any) -> bool:
    """Tell whether this is a uint8 (C, H, W) tensor with pixels."""
    return isinstance(image, Tensor) and image.dtype == torch.uint8 and image.ndim == 3 and image.numel() > 0
