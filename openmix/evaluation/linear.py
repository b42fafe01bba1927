"""Logistic regression on frozen features: the offline linear probe, solved to its optimum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["L2_STRENGTHS", "LogisticRegression", "choose_l2", "fit_logistic"]

# from strong to weak, each fit beginning where the one before ended
L2_STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
HELD_OUT = 5  # every fifth training image of a class is held out where the strength is chosen


@dataclass(frozen=True)
class LogisticRegression:
    """A fitted classifier.

    Attributes:
        weight: float64 (num_classes, C), of standardised features where these were.
        bias: float64 (num_classes,).
        mean: float64 (C,), subtracted from features before anything else; zeros where they are not standardised.
        scale: float64 (C,), which they are divided by then; ones where they are not.
        loss: what was minimised, at its minimum.
        evaluations: how often loss and gradient were computed.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor
    loss: float
    evaluations: int

    def logits(self, features: Tensor) -> Tensor:
        """Return logits float64 (B, num_classes) for features (B, C)."""
        return F.linear((features.double() - self.mean) / self.scale, self.weight, self.bias)

    def predict(self, features: Tensor) -> Tensor:
        """Return the classes, int64 (B,), of features (B, C); of ties the one of lower number."""
        return self.logits(features).argmax(1)


def fit_logistic(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    l2: float,
    standardise: bool = True,
    start: LogisticRegression | None = None,
    tolerance: float | None = None,
    max_evaluations: int = 2000,
) -> LogisticRegression:
    """Minimise mean cross entropy + l2 / 2 * |weight|^2 by L-BFGS on all features at once, in float64.

    It is scikit-learn's ``LogisticRegression(C=1 / (l2 * N))``: the bias is not penalised. Nothing is drawn; on the
    CPU, and on equal GPUs, equal inputs give equal bits. It takes 8 bytes a value of the features, twice.

    Args:
        features: (N, C).
        labels: int64 (N,).
        num_classes: how many classes there are.
        l2: strength of the penalty, above 0.
        standardise: bring each feature to mean 0 and standard deviation 1 (1 / N) over these images first. A constant
            one is left with deviation 1.
        start: begin at this solution's weights, of equally standardised features.
        tolerance: it ends where no part of the gradient is larger than this; by default 1e-6, or l2 / 10 where that is
            less: the penalty's own part of the gradient is l2 times a weight.
        max_evaluations: or after so many evaluations.

    Raises:
        ValueError: l2 is not above 0, features are not finite, or the minimum was not found.
    """
    if not l2 > 0:
        raise ValueError(f"l2 must be above 0, got {l2}")
    x = features.double()
    if not x.isfinite().all():
        raise ValueError("the features are not all finite numbers")
    if tolerance is None:
        tolerance = min(1e-6, l2 / 10)
    mean, scale = torch.zeros_like(x[0]), torch.ones_like(x[0])
    if standardise:
        mean, scale = x.mean(0), x.std(0, correction=0)
        scale = torch.where(scale > 1e-12 * mean.abs(), scale, 1.0)
        x = (x - mean) / scale
    if start is None:
        weight, bias = x.new_zeros(num_classes, x.shape[1]), x.new_zeros(num_classes)
    else:
        weight, bias = start.weight.clone(), start.bias.clone()
    weight.requires_grad_()
    bias.requires_grad_()
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=max_evaluations, max_eval=max_evaluations, tolerance_grad=tolerance,
        tolerance_change=0, history_size=20, line_search_fn="strong_wolfe",
    )  # fmt: skip
    evaluations = 0

    def objective() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        solver.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), labels) + l2 / 2 * weight.square().sum()
        loss.backward()
        return loss

    solver.step(objective)
    loss = objective().item()
    assert weight.grad is not None and bias.grad is not None
    steepest = max(float(weight.grad.abs().max()), float(bias.grad.abs().max()))
    if not steepest <= 100 * tolerance:
        raise ValueError(
            f"logistic regression with l2={l2:g} has not come to its minimum after {evaluations} evaluations (its "
            f"steepest slope is {steepest:.1e}): features that are not standardised, or a larger l2?"
        )
    return LogisticRegression(weight.detach(), bias.detach(), mean, scale, loss, evaluations)


def choose_l2(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    strengths: Sequence[float] = L2_STRENGTHS,
    tried: Callable[[float, float], object] = lambda l2, accuracy: None,
) -> float:
    """Return the penalty with which a part of the training set classifies another part of it best.

    Every fifth image of each class is held out; no test image is looked at. The protocol of Kornblith et al., CVPR
    2019 (arXiv:1805.08974) and of CLIP (arXiv:2103.00020, A.3), with fewer strengths. Of equal ones the stronger wins.

    Args:
        features: of the training set, (N, C).
        labels: int64 (N,).
        num_classes: how many classes there are.
        strengths: from strong to weak; see :func:`fit_logistic`, which standardises.
        tried: is told of each with its accuracy in [0, 1] on the held-out part.

    Raises:
        ValueError: no class has five images, so that none is held out; or see :func:`fit_logistic`.
    """
    held_out = _every_fifth(labels, num_classes)
    if not held_out.any():
        raise ValueError(f"to choose l2, a class must have {HELD_OUT} training images at least; none has: state l2")
    best, best_accuracy, fit = strengths[0], -1.0, None
    for l2 in strengths:
        fit = fit_logistic(features[~held_out], labels[~held_out], num_classes, l2, start=fit)
        accuracy = float((fit.predict(features[held_out]) == labels[held_out]).double().mean())
        tried(l2, accuracy)
        if accuracy > best_accuracy:
            best, best_accuracy = l2, accuracy
    return best


def _every_fifth(labels: Tensor, num_classes: int) -> Tensor:
    """Return which images, bool (N,), are the fifth, tenth ... of their class."""
    held_out = torch.zeros_like(labels, dtype=torch.bool)
    for number in range(num_classes):
        held_out[(labels == number).nonzero()[HELD_OUT - 1 :: HELD_OUT, 0]] = True
    return held_out
