"""Networks as plain modules: backbones, necks, heads, and mixing inside them."""

from openmix.models.backbones import ConvNet, ResNet_CIFAR
from openmix.models.heads import ClsHead, ClsMixupHead
from openmix.models.necks import GlobalAveragePooling

__all__ = ["ClsHead", "ClsMixupHead", "ConvNet", "GlobalAveragePooling", "ResNet_CIFAR"]
