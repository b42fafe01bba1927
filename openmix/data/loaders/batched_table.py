"""Which transform has which batched counterpart."""

from collections.abc import Callable
from typing import Any

from torchvision.transforms import v2

from openmix.data.loaders.batched import BatchedTransform, Crop, Erase, Flip, Shape
from openmix.data.loaders.batched_blur import Blur
from openmix.data.loaders.batched_colour import Grey, Jitter, Solarised
from openmix.data.loaders.batched_crops import CropMixed, ResizedCrop
from openmix.data.loaders.batched_views import Pasted, Perhaps, Still
from openmix.data.transforms import CropMix, CropMixPair, Cutout, ScaleMix

__all__ = ["COUNTERPARTS"]

COUNTERPARTS: dict[type, Callable[[Any, Shape], BatchedTransform]] = {
    v2.Resize: Still,
    v2.CenterCrop: Still,
    v2.RandomCrop: Crop,
    v2.RandomResizedCrop: ResizedCrop,
    v2.RandomHorizontalFlip: Flip,
    v2.ColorJitter: Jitter,
    v2.RandomGrayscale: Grey,
    v2.GaussianBlur: Blur,
    v2.RandomSolarize: Solarised,
    v2.RandomApply: Perhaps,
    Cutout: Erase,
    CropMix: CropMixed,
    CropMixPair: Pasted,
    ScaleMix: Pasted,
}
