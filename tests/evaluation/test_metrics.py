"""Metrics against loops in Python."""

import math

import pytest
import torch
from torch import Tensor

from openmix.evaluation import expected_calibration_error, image_scores, summarise


def naive_rank(logits: list[float], label: int) -> int:
    """How many classes come before the label, where equal ones keep their order."""
    order = sorted(range(len(logits)), key=lambda c: (-logits[c], c))
    return order.index(label)


def naive_ece(confidence: list[float], correct: list[float], bins: int) -> float:
    total = 0.0
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        inside = [i for i, c in enumerate(confidence) if low < c <= high or (b == 0 and c == 0)]
        if inside:
            accuracy = sum(correct[i] for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


@pytest.fixture(params=["floats", "ties", "half precision", "three classes"])
def predictions(request) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    classes = 3 if request.param == "three classes" else 12
    logits = torch.randn(200, classes, generator=generator) * 2
    if request.param == "ties":
        logits = logits.round()
    if request.param == "half precision":
        logits = logits.bfloat16()
    return logits, torch.randint(classes, (200,), generator=generator)


def test_scores_of_each_image(predictions):
    logits, labels = predictions
    scores = image_scores(logits, labels)
    assert scores.dtype == torch.float64
    for row, logit, label in zip(scores.tolist(), logits.double().tolist(), labels.tolist(), strict=True):
        rank = naive_rank(logit, label)
        total = sum(math.exp(v) for v in logit)
        assert row[:2] == [rank < 1, rank < 5]
        assert row[2] == pytest.approx(-math.log(math.exp(logit[label]) / total))
        assert row[3] == pytest.approx(max(math.exp(v) / total for v in logit))


def test_top1_of_tied_logits_is_argmax():
    """Else a constant network would be right everywhere."""
    logits, labels = torch.zeros(10, 10), torch.arange(10)
    scores = image_scores(logits, labels)
    assert scores[:, 0].tolist() == (logits.argmax(1) == labels).tolist() == [1.0] + [0.0] * 9
    assert scores[:, 1].sum() == 5


def test_summary(predictions):
    logits, labels = predictions
    scores = image_scores(logits, labels)
    rows = scores.tolist()
    summary = summarise(scores)
    assert list(summary) == ["top1", "top5", "nll", "ece", "n"]
    assert summary["n"] == 200
    assert summary["top1"] == pytest.approx(100 * sum(r[0] for r in rows) / 200)
    assert summary["top5"] == pytest.approx(100 * sum(r[1] for r in rows) / 200)
    assert summary["nll"] == pytest.approx(sum(r[2] for r in rows) / 200)
    assert summary["ece"] == pytest.approx(naive_ece([r[3] for r in rows], [r[0] for r in rows], 15))


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
def test_calibration_error_is_the_loops(bins):
    generator = torch.Generator().manual_seed(bins)
    confidence = torch.rand(500, generator=generator, dtype=torch.float64)
    correct = (torch.rand(500, generator=generator) < confidence).double()
    expected = naive_ece(confidence.tolist(), correct.tolist(), bins)
    assert expected_calibration_error(confidence, correct, bins) == pytest.approx(expected)


def test_calibration_error_at_the_edges_of_bins():
    """A bin holds its upper edge, and the lowest also 0: four bins, each with a gap of its own."""
    confidence = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
    correct = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])
    by_hand = (abs(2 - 0.25) + 0.5 + 0.25 + 1.0) / 5
    assert expected_calibration_error(confidence, correct, bins=4) == pytest.approx(by_hand)


@pytest.mark.parametrize(("confidence", "correct", "error"), [(1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.3, 0.0, 0.3)])
def test_calibration_error_of_a_constant(confidence, correct, error):
    values = torch.full((7,), confidence, dtype=torch.float64)
    assert expected_calibration_error(values, torch.full((7,), correct)) == pytest.approx(error)
