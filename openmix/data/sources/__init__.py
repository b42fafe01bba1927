"""Data sets. ``SOURCES`` holds those that a config may name."""

from openmix.data.sources.aircraft import FGVCAircraft
from openmix.data.sources.array import ArraySource
from openmix.data.sources.cached import CachedImages
from openmix.data.sources.cars import StanfordCars
from openmix.data.sources.cifar import CIFAR10, CIFAR100
from openmix.data.sources.cub import CUB200
from openmix.data.sources.digits import Digits
from openmix.data.sources.encoded import EncodedSource
from openmix.data.sources.files import FileSource
from openmix.data.sources.folder import ImageFolder
from openmix.data.sources.imagenet import ImageNet, TinyImageNet
from openmix.data.sources.inaturalist import INaturalist
from openmix.data.sources.listed import FileList
from openmix.data.sources.protocol import Source
from openmix.data.sources.recordio import RecordIO
from openmix.data.sources.synthetic import Synthetic

__all__ = [
    "CIFAR10", "CIFAR100", "CUB200", "SOURCES", "ArraySource", "CachedImages", "Digits", "EncodedSource",
    "FGVCAircraft", "FileList", "FileSource", "INaturalist", "ImageFolder", "ImageNet", "RecordIO", "Source",
    "StanfordCars", "Synthetic", "TinyImageNet",
]  # fmt: skip

SOURCES: dict[str, type[ArraySource] | type[EncodedSource]] = {
    "CIFAR10": CIFAR10,
    "CIFAR100": CIFAR100,
    "CUB200": CUB200,
    "CachedImages": CachedImages,
    "Digits": Digits,
    "FGVCAircraft": FGVCAircraft,
    "FileList": FileList,
    "INaturalist": INaturalist,
    "ImageFolder": ImageFolder,
    "ImageNet": ImageNet,
    "RecordIO": RecordIO,
    "StanfordCars": StanfordCars,
    "Synthetic": Synthetic,
    "TinyImageNet": TinyImageNet,
}
