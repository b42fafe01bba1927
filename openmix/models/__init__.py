"""Networks as plain modules: backbones, necks, heads, losses, and mixing inside them."""

from openmix.models.backbones import (
    ConvNet,
    PreActResNet,
    PyramidNet,
    ResNet,
    ResNet_CIFAR,
    ResNeXt,
    ResNeXt29_4_24,
    ResNeXt_CIFAR,
    ShakeShake,
    ShakeShakeNeXt,
    WideResNet,
)
from openmix.models.heads import ClsHead, ClsMixupHead
from openmix.models.losses import DecoupledCrossEntropy, MixBinaryCrossEntropy, MixCrossEntropy
from openmix.models.necks import GlobalAveragePooling

__all__ = [
    "ClsHead", "ClsMixupHead", "ConvNet", "DecoupledCrossEntropy", "GlobalAveragePooling", "MixBinaryCrossEntropy",
    "MixCrossEntropy", "PreActResNet", "PyramidNet", "ResNeXt", "ResNeXt29_4_24", "ResNeXt_CIFAR", "ResNet",
    "ResNet_CIFAR", "ShakeShake", "ShakeShakeNeXt", "WideResNet",
]  # fmt: skip
