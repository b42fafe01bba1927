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
from openmix.tasks.rlmix import RLMixClassification
from openmix.tasks.samix import SAMixClassification
from openmix.tasks.selfsup import SelfSupervised

__all__ = [
    "MAE", "AdAutoMixClassification", "AugMixClassification", "AutoMixClassification", "Classification",
    "LinearProbe", "MixContext", "MixUpClassification", "RLMixClassification", "SAMixClassification",
    "SelfSupervised", "StepContext", "Task",
]  # fmt: skip
