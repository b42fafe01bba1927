"""Logistic regression to the optimum that scikit-learn finds, and a penalty chosen without a look at test images."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression as ScikitLearn
from torch.nn import functional as F

from openmix.data import Digits
from openmix.evaluation import choose_l2, fit_logistic
from openmix.evaluation.linear import L2_STRENGTHS


@pytest.fixture(scope="module")
def digits():
    train, test = Digits("val", size=8), Digits("test", size=8)
    return [(part.images.flatten(1).double() / 255, part.labels) for part in (train, test)]


def objective(features, labels, weight, bias, l2):
    return F.cross_entropy(features @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()


@pytest.mark.parametrize("l2", [0.1, 1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("standardise", [True, False])
def test_scikit_learn_finds_the_same(digits, l2, standardise):
    (x, y), (test_x, test_y) = digits
    fit = fit_logistic(x.float() if standardise else x, y, 10, l2, standardise, tolerance=1e-8)
    seen = (x - fit.mean) / fit.scale
    if standardise:
        varied = x.std(0) > 0
        assert not varied.all()  # corners of digits are always white
        torch.testing.assert_close(seen.mean(0), torch.zeros(64).double(), rtol=0, atol=1e-6)
        torch.testing.assert_close(seen[:, varied].std(0, correction=0), torch.ones(int(varied.sum())).double())
    else:
        assert torch.equal(seen, x)
    theirs = ScikitLearn(C=1 / (l2 * len(x)), tol=1e-9, max_iter=5000).fit(seen.numpy(), y.numpy())
    weight, bias = torch.from_numpy(theirs.coef_), torch.from_numpy(theirs.intercept_)
    assert fit.loss == pytest.approx(float(objective(seen, y, weight, bias, l2)), rel=1e-5)
    assert fit.loss == pytest.approx(float(objective(seen, y, fit.weight, fit.bias, l2)), rel=1e-6)
    torch.testing.assert_close(fit.weight, weight, rtol=0, atol=2e-3 * float(weight.abs().max()))
    # of biases, only differences mean anything
    torch.testing.assert_close(fit.bias - fit.bias.mean(), bias - bias.mean(), rtol=0, atol=5e-3 * float(bias.std()))
    test_seen = ((test_x - fit.mean) / fit.scale).numpy()
    accuracy = float((fit.predict(test_x) == test_y).double().mean())
    assert 0.9 < accuracy == pytest.approx(theirs.score(test_seen, test_y.numpy()), abs=2 / len(test_y))


def test_the_default_tolerance_is_near_enough(digits):
    (x, y), (test_x, _) = digits
    for l2 in L2_STRENGTHS:
        rough, exact = fit_logistic(x, y, 10, l2), fit_logistic(x, y, 10, l2, tolerance=1e-8)
        assert exact.loss <= rough.loss <= exact.loss * (1 + 1e-3)
        assert (rough.predict(test_x) != exact.predict(test_x)).sum() <= 2


def test_equal_inputs_give_equal_bits(digits):
    (x, y), _ = digits
    one, other = fit_logistic(x, y, 10, 1e-3), fit_logistic(x, y, 10, 1e-3)
    assert torch.equal(one.weight, other.weight) and torch.equal(one.bias, other.bias)


def test_another_start_leads_to_the_same(digits):
    (x, y), _ = digits
    strong = fit_logistic(x, y, 10, 1e-1)
    before = strong.weight.clone()
    warm, cold = (fit_logistic(x, y, 10, 1e-3, start=start, tolerance=1e-8) for start in (strong, None))
    assert torch.equal(strong.weight, before)
    assert warm.loss == pytest.approx(cold.loss, rel=1e-8)
    torch.testing.assert_close(warm.weight, cold.weight, rtol=0, atol=1e-3)


def test_the_penalty_is_the_one_that_serves_images_held_out(digits):
    (x, y), _ = digits
    held = torch.zeros(len(y), dtype=torch.bool)
    for c in range(10):
        held[[i for i in range(len(y)) if y[i] == c][4::5]] = True
    assert held.sum() == 100
    expected = [
        float((fit_logistic(x[~held], y[~held], 10, l2).predict(x[held]) == y[held]).double().mean())
        for l2 in L2_STRENGTHS
    ]
    seen = {}
    best = choose_l2(x, y, 10, tried=seen.__setitem__)
    assert list(seen) == list(L2_STRENGTHS)
    assert list(seen.values()) == pytest.approx(expected, abs=0.021)  # warm starts end a little elsewhere
    assert best == max(seen, key=seen.__getitem__)
    assert len(set(seen.values())) > 1


def test_noise_wants_a_strong_penalty_and_signal_a_weak_one():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    noise = torch.randn(200, 150, generator=generator)
    signal = torch.stack([labels + 0.01 * torch.randn(200, generator=generator), torch.ones(200)], dim=1)
    faint = torch.cat([noise, 1.5 * signal[:, :1]], dim=1)
    assert choose_l2(faint, labels, 2) >= 1e-2
    assert float((fit_logistic(signal, labels, 2, 1e-4).predict(signal) == labels).double().mean()) == 1


@pytest.mark.parametrize("l2", [0.0, -1.0, float("nan")])
def test_no_penalty_is_refused(l2):
    with pytest.raises(ValueError, match="l2 must be above 0"):
        fit_logistic(torch.eye(4), torch.arange(4), 4, l2)


def test_what_cannot_be_fitted():
    broken = torch.eye(4)
    broken[0, 0] = float("nan")
    with pytest.raises(ValueError, match="not all finite"):
        fit_logistic(broken, torch.arange(4), 4, 1e-3)
    with pytest.raises(ValueError, match="5 training images"):
        choose_l2(torch.eye(4), torch.arange(4), 4)
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(60, 9, generator=generator), torch.arange(60) % 3
    with pytest.raises(ValueError, match="has not come to its minimum"):
        fit_logistic(features * 1e3, labels, 3, 1e-6, standardise=False, max_evaluations=2)
