"""Which stage stands for which transform."""

from collections.abc import Callable, Sequence
from typing import Any

from openmix.data.dali.chain import Sometimes
from openmix.data.dali.colour import ColorJitter, RandAugment, TrivialAugmentWide
from openmix.data.dali.cropmix import CropMixed
from openmix.data.dali.pasted import Pasted
from openmix.data.dali.photometric import Blur, Grey, Solarise
from openmix.data.dali.stages import CenterCrop, Erase, Flip, RandomCrop, RandomResizedCrop, Resize, Stage
from openmix.errors import UserError

__all__ = ["counterparts"]


def counterparts(pipeline: Sequence[Callable[..., Any]]) -> list[Stage]:
    """Return the stages for a pipeline's transforms.

    Raises:
        UserError: one has none.
    """
    from torchvision.transforms import v2

    from openmix.data.transforms.cropmix import CropMix
    from openmix.data.transforms.cutout import Cutout
    from openmix.data.transforms.scalemix import CropMixPair, ScaleMix

    stages: dict[type, Callable[[Any], Stage]] = {
        v2.RandomResizedCrop: RandomResizedCrop,
        v2.Resize: Resize,
        v2.CenterCrop: CenterCrop,
        v2.RandomCrop: RandomCrop,
        v2.RandomHorizontalFlip: Flip,
        v2.ColorJitter: ColorJitter,
        v2.RandomGrayscale: lambda transform: Sometimes([Grey()], transform.p),
        v2.GaussianBlur: Blur,
        v2.RandomSolarize: lambda transform: Sometimes([Solarise(transform)], transform.p),
        v2.RandomApply: lambda transform: Sometimes(counterparts(transform.transforms), transform.p),
        v2.RandAugment: RandAugment,
        v2.TrivialAugmentWide: TrivialAugmentWide,
        CropMix: CropMixed,
        ScaleMix: lambda transform: Pasted(transform, counterparts(transform.pipeline)),
        CropMixPair: lambda transform: Pasted(transform, counterparts(transform.pipeline)),
        Cutout: Erase,
    }
    for transform in pipeline:
        if type(transform) not in stages:
            name = getattr(transform, "__name__", type(transform).__name__)
            known = ", ".join(kind.__name__ for kind in stages)
            raise UserError(f"DaliLoader has no counterpart of {name}: it takes {known}; use TorchLoader for others")
    return [stages[type(transform)](transform) for transform in pipeline]
