"""Published mixing methods, one a file; ``openmix.mixers.cutmix(images, labels, ...)`` is a pure function."""

from openmix.mixers.alignmix import alignmix
from openmix.mixers.augmix import augmix
from openmix.mixers.catalog import build_mixer, list_mixers
from openmix.mixers.cutmix import cutmix
from openmix.mixers.cutout import cutout
from openmix.mixers.fmix import fmix
from openmix.mixers.gridmix import gridmix
from openmix.mixers.kmixup import kmixup
from openmix.mixers.manifoldmix import manifoldmix
from openmix.mixers.mixup import mixup
from openmix.mixers.mosaic import mosaic
from openmix.mixers.randomerasing import randomerasing
from openmix.mixers.resizemix import resizemix
from openmix.mixers.resizemixplus import resizemixplus
from openmix.mixers.ricap import ricap
from openmix.mixers.smoothmix import smoothmix
from openmix.mixers.starmix import starmix
from openmix.mixers.vanilla import vanilla

__all__ = [
    "alignmix", "augmix", "build_mixer", "cutmix", "cutout", "fmix", "gridmix", "kmixup", "list_mixers", "manifoldmix",
    "mixup", "mosaic", "randomerasing", "resizemix", "resizemixplus", "ricap", "smoothmix", "starmix", "vanilla",
]  # fmt: skip
