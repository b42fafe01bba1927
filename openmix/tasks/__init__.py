"""What is trained: modules that own networks and say what one step computes."""

from openmix.tasks.adautomix import AdAutoMixClassification
from openmix.tasks.augmix import AugMixClassification
from openmix.tasks.automix import AutoMixClassification
from openmix.tasks.base import Task
from openmix.tasks.classification import Classification
from openmix.tasks.context import MixContext, StepContext
from openmix.tasks.linear_probe import LinearProbe
from openmix.tasks.mae import MAE
from openmix.tasks.mixup_classification import MixUpClassification
from openmix.tasks.moco import MoCo
from openmix.tasks.mocov3 import MoCoV3
from openmix.tasks.rlmix import RLMixClassification
from openmix.tasks.samix import SAMixClassification
from openmix.tasks.selfsup import SelfSupervised
from openmix.tasks.simclr import SimCLR
from openmix.tasks.simsiam import SimSiam

__all__ = [
    "MAE", "AdAutoMixClassification", "AugMixClassification", "AutoMixClassification", "Classification",
    "LinearProbe", "MixContext", "MixUpClassification", "MoCo", "MoCoV3", "RLMixClassification", "SAMixClassification",
    "SelfSupervised", "SimCLR", "SimSiam", "StepContext", "Task",
]  # fmt: skip
