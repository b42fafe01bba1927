"""Backbones: networks without a classifier.

Each maps images (B, C, H, W) to a tuple of stage feature maps, the last one last, and says what it has:
``stage_names`` (attribute names of its stages, first to last) and ``out_channels`` (their channels).
"""

from openmix.models.backbones.convnet import ConvNet
from openmix.models.backbones.resnet_cifar import ResNet_CIFAR

__all__ = ["ConvNet", "ResNet_CIFAR"]
