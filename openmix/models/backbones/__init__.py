"""Backbones: networks without a classifier.

Each maps images (B, C, H, W) to a tuple of stage feature maps, the last one last, and says what it has:
``stage_names`` (attribute names of its stages, first to last) and ``out_channels`` (their channels).
"""

from openmix.models.backbones.convnet import ConvNet
from openmix.models.backbones.preact_resnet import PreActResNet
from openmix.models.backbones.pyramidnet import PyramidNet
from openmix.models.backbones.resnet import ResNet, ResNet_CIFAR, ResNeXt, ResNeXt_CIFAR
from openmix.models.backbones.resnext29 import ResNeXt29_4_24
from openmix.models.backbones.shake_shake import ShakeShake, ShakeShakeNeXt
from openmix.models.backbones.timm_backbone import TimmBackbone
from openmix.models.backbones.torchvision_nets import VGG, DenseNet, MobileNetV2
from openmix.models.backbones.wide_resnet import WideResNet

__all__ = [
    "VGG", "ConvNet", "DenseNet", "MobileNetV2", "PreActResNet", "PyramidNet", "ResNeXt", "ResNeXt29_4_24",
    "ResNeXt_CIFAR", "ResNet", "ResNet_CIFAR", "ShakeShake", "ShakeShakeNeXt", "TimmBackbone", "WideResNet",
]  # fmt: skip
