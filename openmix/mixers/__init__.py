"""Published mixing methods, one a file; ``openmix.mixers.cutmix(images, labels, ...)`` is a pure function."""

from openmix.mixers.adautomix import adautomix
from openmix.mixers.alignmix import alignmix
from openmix.mixers.attentivemix import attentivemix
from openmix.mixers.augmix import augmix
from openmix.mixers.automix import automix
from openmix.mixers.catalog import list_mixers
from openmix.mixers.comixup import comixup
from openmix.mixers.cutmix import cutmix
from openmix.mixers.cutout import cutout
from openmix.mixers.fmix import fmix
from openmix.mixers.gridmix import gridmix
from openmix.mixers.guidedmix import guidedmix
from openmix.mixers.kmixup import kmixup
from openmix.mixers.manifoldmix import manifoldmix
from openmix.mixers.maskmix import maskmix
from openmix.mixers.mixer import build_mixer
from openmix.mixers.mixpro import mixpro
from openmix.mixers.mixup import mixup
from openmix.mixers.mosaic import mosaic
from openmix.mixers.puzzlemix import puzzlemix
from openmix.mixers.randomerasing import randomerasing
from openmix.mixers.resizemix import resizemix
from openmix.mixers.resizemixplus import resizemixplus
from openmix.mixers.ricap import ricap
from openmix.mixers.rmix import rmix
from openmix.mixers.saliencymix import saliencymix
from openmix.mixers.samix import samix
from openmix.mixers.smmix import smmix
from openmix.mixers.smoothmix import smoothmix
from openmix.mixers.snapmix import snapmix
from openmix.mixers.starmix import starmix
from openmix.mixers.sumix import sumix
from openmix.mixers.tla import tla
from openmix.mixers.tokenmix import tokenmix
from openmix.mixers.transmix import transmix
from openmix.mixers.vanilla import vanilla

__all__ = [
    "adautomix", "alignmix", "attentivemix", "augmix", "automix", "build_mixer", "comixup", "cutmix", "cutout", "fmix",
    "gridmix", "guidedmix", "kmixup", "list_mixers", "manifoldmix", "maskmix", "mixpro", "mixup", "mosaic", "puzzlemix",
    "randomerasing", "resizemix", "resizemixplus", "ricap", "rmix", "saliencymix", "samix", "smmix", "smoothmix",
    "snapmix", "starmix", "sumix", "tla", "tokenmix", "transmix", "vanilla",
]  # fmt: skip
