"""Data sets. ``SOURCES`` holds those that a config may name."""

from openmix.data.sources.array import ArraySource
from openmix.data.sources.cifar import CIFAR10, CIFAR100
from openmix.data.sources.digits import Digits
from openmix.data.sources.protocol import Source
from openmix.data.sources.synthetic import Synthetic

__all__ = ["CIFAR10", "CIFAR100", "SOURCES", "ArraySource", "Digits", "Source", "Synthetic"]

SOURCES: dict[str, type[ArraySource]] = {
    "CIFAR10": CIFAR10,
    "CIFAR100": CIFAR100,
    "Digits": Digits,
    "Synthetic": Synthetic,
}
