"""What a pipeline may name: torchvision's transforms v2, and ours. ``TRANSFORMS`` holds both."""

from torchvision.transforms import v2

from openmix.data.transforms.auto_augment import AutoAugment
from openmix.data.transforms.colour_rand_augment import ColourRandAugment
from openmix.data.transforms.cropmix import CropMix
from openmix.data.transforms.cutout import Cutout
from openmix.data.transforms.random_erasing import RandomErasing
from openmix.data.transforms.scalemix import CropMixPair, ScaleMix
from openmix.data.transforms.timm_auto_augment import TimmAutoAugment
from openmix.data.transforms.views import Views

__all__ = [
    "TORCHVISION_TRANSFORMS", "TRANSFORMS", "AutoAugment", "ColourRandAugment", "CropMix",
    "CropMixPair", "Cutout", "RandomErasing", "ScaleMix", "TimmAutoAugment", "Views",
]  # fmt: skip

# These take a batch with labels, boxes or key points, several frames, or a matrix: not one image with one label.
_NOT_FOR_ONE_IMAGE = {
    "ClampBoundingBoxes",
    "ClampKeyPoints",
    "ConvertBoundingBoxFormat",
    "CutMix",
    "MixUp",
    "RandomIoUCrop",
    "SanitizeBoundingBoxes",
    "SanitizeKeyPoints",
    "SetClampingMode",
    "ToTensor",  # deprecated by torchvision in favour of ToImage and ToDtype, and warns
    "Transform",
    "UniformTemporalSubsample",
}

TORCHVISION_TRANSFORMS: dict[str, type] = {
    name: value
    for name, value in vars(v2).items()
    if isinstance(value, type) and issubclass(value, v2.Transform) and name not in _NOT_FOR_ONE_IMAGE
}

TRANSFORMS: dict[str, type] = {
    **TORCHVISION_TRANSFORMS,
    "AutoAugment": AutoAugment,
    "ColourRandAugment": ColourRandAugment,
    "CropMix": CropMix,
    "CropMixPair": CropMixPair,
    "Cutout": Cutout,
    "RandomErasing": RandomErasing,
    "ScaleMix": ScaleMix,
    "TimmAutoAugment": TimmAutoAugment,
    "Views": Views,
}
