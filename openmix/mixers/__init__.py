"""Published mixing methods, one a file; ``openmix.mixers.cutmix(images, labels, ...)`` is a pure function."""

from openmix.mixers.catalog import build_mixer, list_mixers
from openmix.mixers.cutmix import cutmix
from openmix.mixers.manifoldmix import manifoldmix
from openmix.mixers.mixup import mixup
from openmix.mixers.resizemix import resizemix
from openmix.mixers.vanilla import vanilla

__all__ = ["build_mixer", "cutmix", "list_mixers", "manifoldmix", "mixup", "resizemix", "vanilla"]
