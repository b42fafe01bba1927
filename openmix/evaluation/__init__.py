"""Metrics of trained networks, and what their features are worth."""

from openmix.evaluation.knn import WeightedKNN
from openmix.evaluation.linear import LogisticRegression, choose_l2, fit_logistic
from openmix.evaluation.metrics import expected_calibration_error, image_scores, summarise

__all__ = [
    "LogisticRegression", "WeightedKNN", "choose_l2", "expected_calibration_error", "fit_logistic", "image_scores",
    "summarise",
]  # fmt: skip
