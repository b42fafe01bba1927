"""Calibration error against a loop over bins, above all on their edges, and against closed forms."""

import math
from fractions import Fraction

import pytest
import torch

from openmix.evaluation import expected_calibration_error


def naive(confidence: list[float], correct: list[int], bins: int) -> float:
    """Guo et al., equation 3, bin by bin: bin m holds what lies in ((m - 1) / M, m / M], the first one 0 as well."""
    total = Fraction(0)
    for m in range(1, bins + 1):
        inside = [i for i, c in enumerate(confidence) if (m - 1) / bins < c <= m / bins or (m == 1 and c == 0)]
        if inside:
            accuracy = Fraction(sum(correct[i] for i in inside), len(inside))
            mean = sum(Fraction(confidence[i]) for i in inside) / len(inside)
            total += Fraction(len(inside), len(confidence)) * abs(accuracy - mean)
    return float(total)


def error(confidence: list[float], correct: list[int], bins: int = 15) -> float:
    return expected_calibration_error(
        torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct, dtype=torch.float64), bins
    )


@pytest.mark.parametrize("bins", [1, 2, 3, 7, 10, 15, 20, 100])
def test_on_each_edge_and_beside_it(bins):
    """The edge, one float below and one above, each beside a confidence of known bin whose gap has the other sign."""
    for k in range(bins + 1):
        edge = k / bins
        for value in (edge, math.nextafter(edge, -1), math.nextafter(edge, 2)):
            if not 0 <= value <= 1:
                continue
            middles = [(k + 0.5) / bins] if k < bins else []
            middles += [(k - 0.5) / bins] if k > 0 else []
            confidence, correct = [value, *middles], [0] + [1] * len(middles)
            assert error(confidence, correct, bins) == pytest.approx(naive(confidence, correct, bins), abs=1e-12)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_random_confidences_with_all_edges_among_them(bins):
    generator = torch.Generator().manual_seed(bins)
    confidence = torch.rand(200, generator=generator, dtype=torch.float64).tolist()
    confidence += [k / bins for k in range(bins + 1)] * 3
    correct = torch.randint(2, (len(confidence),), generator=generator).tolist()
    assert error(confidence, correct, bins) == pytest.approx(naive(confidence, correct, bins))


def test_fifteen_bins_unless_told():
    confidence = [(k + 0.25) / 30 for k in range(30)]
    correct = [k % 3 == 0 for k in range(30)]
    assert error(confidence, correct) == pytest.approx(naive(confidence, correct, 15))
    assert abs(error(confidence, correct) - naive(confidence, correct, 14)) > 1e-3


def test_perfect_calibration_is_zero():
    """Of those called with confidence m/8 exactly m in 8 are right."""
    confidence, correct = [], []
    for m in range(9):
        confidence += [m / 8] * 8
        correct += [1] * m + [0] * (8 - m)
    assert error(confidence, correct, 8) == 0
    assert error(confidence, correct, 16) == 0


@pytest.mark.parametrize("bins", [1, 2, 15])
@pytest.mark.parametrize("right", [0, 3, 10])
def test_constant_confidence(bins, right):
    """One bin holds all, and the error is |accuracy - confidence|."""
    for confidence in (0.0, 0.3, 1.0):
        expected = abs(right / 10 - confidence)
        assert error([confidence] * 10, [1] * right + [0] * (10 - right), bins) == pytest.approx(expected)


def test_gaps_of_one_bin_cancel_and_of_two_do_not():
    """Over- and underconfidence: 0.25 in the lower half, always right; 0.75 in the upper, never."""
    assert error([0.25, 0.75], [1, 0], 1) == 0
    assert error([0.25, 0.75], [1, 0], 2) == pytest.approx(0.75)


def test_undefined_confidence_is_not_hidden():
    assert math.isnan(error([0.5, math.nan], [1, 0]))


def test_float32_confidences():
    confidence = torch.tensor([0.1, 0.25, 0.7, 1.0])
    correct = torch.tensor([0.0, 1.0, 1.0, 1.0])
    expected = naive(confidence.double().tolist(), [0, 1, 1, 1], 4)
    assert expected_calibration_error(confidence, correct, 4) == pytest.approx(expected, rel=1e-6)
