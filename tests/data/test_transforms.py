import pytest
import torch
from torchvision.transforms import v2

from openmix.data.transforms import TORCHVISION_TRANSFORMS, TRANSFORMS, Cutout


def test_the_catalogue_has_what_works_on_one_image():
    assert {"RandomCrop", "RandomHorizontalFlip", "RandAugment", "Resize", "ToDtype", "Compose"} <= set(TRANSFORMS)
    assert TRANSFORMS["Cutout"] is Cutout and "Cutout" not in TORCHVISION_TRANSFORMS
    assert not {"MixUp", "CutMix", "Transform", "RandomIoUCrop", "SanitizeBoundingBoxes", "ToTensor"} & set(TRANSFORMS)
    ours = {"AutoAugment", "RandomErasing"}  # take a policy by name, and a colour
    assert all(TRANSFORMS[name] is getattr(v2, name) for name in TORCHVISION_TRANSFORMS.keys() - ours)
    assert issubclass(TRANSFORMS["AutoAugment"], v2.AutoAugment)
    for policy in v2.AutoAugmentPolicy:
        assert TRANSFORMS["AutoAugment"](policy.value).policy is policy
    assert TRANSFORMS["AutoAugment"]().policy is v2.AutoAugment().policy


ARGUMENTS = {
    "RandomApply": ([v2.Identity()],),
    "RandomChoice": ([v2.Identity()],),
    "RandomOrder": ([v2.Identity()],),
    "Compose": ([v2.Identity()],),
    "Lambda": (lambda image: image,),
    "Normalize": ([0.5] * 3, [0.5] * 3),
    "LinearTransformation": (torch.eye(3 * 40 * 40), torch.zeros(3 * 40 * 40)),
    "CenterCrop": (8,),
    "CropMixPair": (8, [v2.RandomHorizontalFlip()]),
    "Cutout": (8,),
    "FiveCrop": (8,),
    "TenCrop": (8,),
    "Pad": (2,),
    "RandomAdjustSharpness": (2,),
    "RandomAffine": (10,),
    "RandomCrop": (8,),
    "RandomPosterize": (4,),
    "RandomResize": (20, 30),
    "RandomResizedCrop": (8,),
    "RandomRotation": (10,),
    "RandomShortestSize": (20,),
    "RandomSolarize": (128,),
    "Resize": (20,),
    "ScaleJitter": ((20, 20),),
    "ScaleMix": (8, [v2.RandomHorizontalFlip()]),
    "Views": ([[v2.CenterCrop(8)], []],),
    "GaussianBlur": (3,),
    "JPEG": (50,),
    "ToDtype": (torch.float32,),
    "ConvertImageDtype": (torch.float32,),
}
TAKES_FLOAT = {"Normalize", "LinearTransformation", "GaussianNoise"}
TAKES_PIL = {"PILToTensor"}


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")  # v2.JPEG's own
@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_every_transform_of_the_catalogue_takes_one_image(name):
    image = torch.randint(256, (3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image = v2.functional.to_pil_image(image) if name in TAKES_PIL else image
    image = image / 255 if name in TAKES_FLOAT else image
    assert TRANSFORMS[name](*ARGUMENTS.get(name, ()))(image) is not None
