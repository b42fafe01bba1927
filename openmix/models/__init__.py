"""Networks as plain modules: backbones, necks, heads, losses, and mixing inside them."""

from openmix.models.backbones import ConvNet, ResNet_CIFAR
from openmix.models.heads import ClsHead, ClsMixupHead
from openmix.models.losses import DecoupledCrossEntropy, MixBinaryCrossEntropy, MixCrossEntropy
from openmix.models.necks import GlobalAveragePooling

__all__ = [
    "ClsHead", "ClsMixupHead", "ConvNet", "DecoupledCrossEntropy", "GlobalAveragePooling", "MixBinaryCrossEntropy",
    "MixCrossEntropy", "ResNet_CIFAR",
]  # fmt: skip
