"""Data sets, augmentation of single images, and loaders.

``openmix.data.transforms`` is not imported here: it costs torchvision's import, seconds that a user of the rest is
spared.
"""

from openmix.data.batch import Batch
from openmix.data.loaders import LOADERS, DaliLoader, Loader, ResidentLoader, TorchLoader
from openmix.data.order import Shards
from openmix.data.sources import (
    CIFAR10,
    CIFAR100,
    SOURCES,
    ArraySource,
    Digits,
    ImageFolder,
    ImageNet,
    RecordIO,
    Source,
    Synthetic,
    TinyImageNet,
)

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "LOADERS",
    "SOURCES",
    "ArraySource",
    "Batch",
    "DaliLoader",
    "Digits",
    "ImageFolder",
    "ImageNet",
    "Loader",
    "RecordIO",
    "ResidentLoader",
    "Shards",
    "Source",
    "Synthetic",
    "TinyImageNet",
    "TorchLoader",
]
