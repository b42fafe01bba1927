"""Metrics of trained networks."""

from openmix.evaluation.metrics import expected_calibration_error, image_scores, summarise

__all__ = ["expected_calibration_error", "image_scores", "summarise"]
