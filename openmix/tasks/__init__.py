"""What is trained: modules that own networks and say what one step computes."""

from openmix.tasks.augmix import AugMixClassification
from openmix.tasks.base import Task
from openmix.tasks.classification import Classification
from openmix.tasks.context import MixContext, StepContext
from openmix.tasks.mixup_classification import MixUpClassification
from openmix.tasks.rlmix import RLMixClassification

__all__ = [
    "AugMixClassification", "Classification", "MixContext", "MixUpClassification", "RLMixClassification", "StepContext",
    "Task",
]  # fmt: skip
