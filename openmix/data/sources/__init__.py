"""Data sets. ``SOURCES`` holds those that a config may name."""

from openmix.data.sources.array import ArraySource
from openmix.data.sources.cifar import CIFAR10, CIFAR100
from openmix.data.sources.digits import Digits
from openmix.data.sources.files import FileSource
from openmix.data.sources.folder import ImageFolder
from openmix.data.sources.imagenet import ImageNet, TinyImageNet
from openmix.data.sources.protocol import Source
from openmix.data.sources.synthetic import Synthetic

__all__ = [
    "CIFAR10", "CIFAR100", "SOURCES", "ArraySource", "Digits", "FileSource", "ImageFolder", "ImageNet", "Source",
    "Synthetic", "TinyImageNet",
]  # fmt: skip

SOURCES: dict[str, type[ArraySource] | type[FileSource]] = {
    "CIFAR10": CIFAR10,
    "CIFAR100": CIFAR100,
    "Digits": Digits,
    "ImageFolder": ImageFolder,
    "ImageNet": ImageNet,
    "Synthetic": Synthetic,
    "TinyImageNet": TinyImageNet,
}
