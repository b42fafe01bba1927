"""Transforms of single images for anybody's own data set: what stands in a torchvision pipeline.

from torchvision import datasets, transforms
from openmix.transforms import CropMix

flip = transforms.RandomHorizontalFlip()
train_set = datasets.ImageFolder("train", CropMix(0.01, 0.4, 234, 0, True, flip))
"""

from openmix.data.transforms import CropMix

__all__ = ["CropMix"]
