"""Losses on mixed labels.

Each image's own weights meet its own loss terms before anything is averaged, so per-image lambdas are exact. (Averaging
the loss first, as several code bases do, trains on the batch's mean lambda.)
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.checks import check_choice
from openmix.ops.target import MixTarget, check_labels

__all__ = [
    "Reduction", "ScaleMode", "check_inputs", "cross_entropy", "in_float32", "merge_equal_labels",
    "mix_binary_cross_entropy", "mix_cross_entropy", "mix_softmax_binary_cross_entropy", "reduce_losses",
    "rescale_shares", "two_hot",
]  # fmt: skip

Reduction = Literal["mean", "sum", "none"]
ScaleMode = Literal["one", "pow", "exp"]
NO_LABEL = -(2**63)


def mix_cross_entropy(
    logits: Tensor, target: MixTarget, label_smoothing: float = 0.0, reduction: Reduction = "mean"
) -> Tensor:
    """Cross entropy with the soft labels that ``target`` stands for, without building them.

    Equal to ``F.cross_entropy(logits, target.soft(C), label_smoothing=...)``, and for a pair to
    ``lam * F.cross_entropy(logits, y_a) + (1 - lam) * F.cross_entropy(logits, y_b)``, image by image.

    Args:
        logits: (B, C); computed in float32 at least.
        target: labels (B, K) and weights (B, K).
        label_smoothing: share in [0, 1] of the target that is spread evenly over the C classes.
        reduction: 'mean' over the batch, 'sum', or 'none' for (B,).

    Raises:
        ValueError: an argument out of range, tensors that do not fit, on a CPU also labels that are no class.

    >>> target = MixTarget(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    >>> mix_cross_entropy(torch.zeros(1, 2), target)
    tensor(0.6931)
    """
    check_shapes(logits, target)
    _check_smoothing(label_smoothing)
    log_p = F.log_softmax(in_float32(logits), dim=1)
    terms = _chosen(log_p, target.labels) * target.weights
    terms = torch.where(target.weights == 0, 0, terms)  # a class masked by -inf may be a label of no weight
    loss = -terms.sum(1)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_p.mean(1)
    return reduce_losses(loss, reduction)


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """torch's mean cross entropy with one label an image: what :func:`mix_cross_entropy` is for labels of weight 1.

    Args:
        logits: (B, C); computed in float32 at least.
        labels: int64 (B,).
        label_smoothing: share in [0, 1] of the target that is spread evenly over the C classes.

    Raises:
        ValueError: tensors that do not fit, on a CPU also labels that are no class.

    >>> cross_entropy(torch.zeros(1, 2), torch.tensor([1]))
    tensor(0.6931)
    """
    _check_smoothing(label_smoothing)
    if logits.ndim != 2:
        raise ValueError(f"logits must be (B, C), got shape {tuple(logits.shape)}")
    if labels.dtype != torch.int64 or labels.shape != logits.shape[:1]:
        got = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"labels must be int64 (B,) with B = {len(logits)}, as many as logits, got {got}")
    try:  # torch would leave out an image whose label is -100
        return F.cross_entropy(
            in_float32(logits), labels, ignore_index=NO_LABEL, label_smoothing=label_smoothing, reduction="mean"
        )
    except IndexError:
        check_labels(labels, logits.shape[1])
        raise


def _chosen(log_p: Tensor, labels: Tensor) -> Tensor:
    """Return the entries of log_p (B, C) at labels (B, K); a CPU tells of labels that are no class by itself."""
    try:
        return log_p.gather(1, labels)
    except RuntimeError:
        check_labels(labels, log_p.shape[1])
        raise


def mix_binary_cross_entropy(
    logits: Tensor,
    target: MixTarget,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    class_reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Binary cross entropy of each class's sigmoid with the soft labels that ``target`` stands for.

    The weights of equal labels add up, and no class's target exceeds 1. The weights of an image need not sum to 1: see
    :func:`two_hot`.

    Args:
        logits: (B, C); computed in float32 at least.
        target: labels (B, K) and weights (B, K).
        label_smoothing: s in [0, 1], as timm has it: a target t becomes ``(1 - s) * t + s / C``, that is s / C for
            what is not in the image and 1 - s + s / C for the class of an unmixed one.
        reduction: 'mean' over the batch, 'sum', or 'none' for (B,).
        class_reduction: 'mean' over the C classes is the scale of torch, timm and RSB (Wightman et al.,
            arXiv:2110.00476); 'sum' is OpenMixup's, C times as large. A learning rate tuned for one is wrong for the
            other by that factor where the optimizer does not undo it.

    Raises:
        ValueError: an argument out of range, tensors that do not fit, on a CPU also labels that are no class.

    >>> target = MixTarget(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    >>> mix_binary_cross_entropy(torch.zeros(1, 4), target, class_reduction="sum")  # 4 log 2
    tensor(2.7726)
    """
    check_inputs(logits, target)
    _check_smoothing(label_smoothing)
    check_choice("class_reduction", class_reduction, ("mean", "sum"))
    logits = in_float32(logits)
    num_classes = logits.shape[1]
    soft = target.soft(num_classes).clamp(max=1).to(logits.dtype)
    if label_smoothing:
        soft = (1 - label_smoothing) * soft + label_smoothing / num_classes
    loss = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    return reduce_losses(loss.mean(1) if class_reduction == "mean" else loss.sum(1), reduction)


def mix_softmax_binary_cross_entropy(logits: Tensor, target: MixTarget, reduction: Reduction = "mean") -> Tensor:
    """Binary cross entropy of each class's softmax with the soft labels that ``target`` stands for: Puzzle Mix's loss.

    Puzzle Mix and Co-Mixup train CIFAR and Tiny-ImageNet with ``BCELoss(softmax(logits), soft labels)``, the mean over
    classes. With 100 classes its gradient is 50 to 100 times smaller than cross entropy's, so that a learning rate, a
    weight decay and the weight 2 / C of a clean cross entropy beside it go with this loss alone. Here ``log(1 - p)`` is
    computed without the difference's loss of digits, and is no less than -87, where theirs ends at -100.

    Args:
        logits: (B, C); computed in float32 at least.
        target: labels (B, K) and weights (B, K); the weights of equal labels add up, to 1 at most.
        reduction: 'mean' over the batch, 'sum', or 'none' for (B,).

    Raises:
        ValueError: tensors that do not fit, on a CPU also labels that are no class.

    >>> target = MixTarget(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    >>> mix_softmax_binary_cross_entropy(torch.zeros(1, 2), target)  # log 2
    tensor(0.6931)
    """
    check_inputs(logits, target)
    log_p = F.log_softmax(in_float32(logits), dim=1)
    # of the likeliest class, 1 - p is the sum of the others: the difference would be rounded to 0
    top, p = log_p.detach().argmax(1, keepdim=True), log_p.exp()
    others = p.scatter(1, top, 0)
    rest = others.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    log_not = torch.log1p(-others).scatter(1, top, rest.log())
    soft = target.soft(logits.shape[1]).clamp(max=1).to(log_p.dtype)
    return reduce_losses(-(soft * log_p.clamp(min=-100) + (1 - soft) * log_not).mean(1), reduction)


def two_hot(
    target: MixTarget, mode: ScaleMode = "one", threshold: float = 1.0, exponent: float = 1.0, scale: float = 1.0
) -> MixTarget:
    """Return labels for binary cross entropy whose weights say how surely a class is present, not its share.

    Each class's share s of an image becomes ``min(scale * g(s), 1)``, see :func:`rescale_shares` for g. Equal labels
    are one class: their shares are added before g, which the first of them then carries. (OpenMixup adds after g, so
    that an image of one class alone may get less than 1.) A weight of 0 stays 0: the placeholder partner of an unmixed
    image is no second label.

    Args:
        target: labels (B, K) and weights (B, K).
        mode: 'one' (OpenMixup's 'none'), 'pow' or 'exp'.
        threshold: the share, in (0, 1], from which g is 1.
        exponent: of 'pow', or the root of the base of 'exp'.
        scale: in (0, 1], on top of g.

    Returns:
        The same labels with float weights (B, K) in [0, 1], which need not sum to 1.

    Raises:
        ValueError: an argument out of range.

    >>> two_hot(MixTarget(torch.tensor([[3, 5]]), torch.tensor([[0.25, 0.75]])), "pow", threshold=0.5).weights
    tensor([[0.5000, 1.0000]])
    """
    if not 0 < scale <= 1:
        raise ValueError(f"scale must be in (0, 1], got {scale}")
    labels, shares = merge_equal_labels(target)
    return MixTarget(labels, scale * rescale_shares(shares, mode, threshold, exponent))


def merge_equal_labels(target: MixTarget) -> MixTarget:
    """Return the same soft labels with each class's whole share at its first source, and 0 at further ones.

    >>> merge_equal_labels(MixTarget(torch.tensor([[4, 2, 4]]), torch.tensor([[0.25, 0.5, 0.25]]))).weights
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    labels, weights = target
    same = labels.unsqueeze(2) == labels.unsqueeze(1)
    repeated = same.tril(-1).any(2)
    return MixTarget(labels, torch.where(same, weights.unsqueeze(1), 0).sum(2).masked_fill(repeated, 0))


def rescale_shares(shares: Tensor, mode: ScaleMode, threshold: float, exponent: float) -> Tensor:
    """Return g(s) in [0, 1] for shares of any shape: g(0) = 0, and g is 1 from the threshold t on.

    - 'one': 1 for all that is present.
    - 'pow': ``(s / t) ** exponent``; exponent >= 0. The default t = exponent = 1 leaves shares as they are.
    - 'exp': ``(b ** s - 1) / (b ** t - 1)`` with b = exponent squared; exponent > 0. Above 1 small shares are weakened
      as by a convex function, below 1 strengthened. Exponent 1 is the limit s / t, where OpenMixup divides by zero.

    The formulas are OpenMixup's; 'pow' is the one in Liu et al., arXiv:2203.10761.

    Raises:
        ValueError: an argument out of range.
    """
    check_choice("mode", mode, ("one", "pow", "exp"))
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    if not 0 <= exponent < math.inf or (mode == "exp" and exponent == 0):
        raise ValueError(f"exponent must be a number of at least 0, above 0 in mode 'exp', got {exponent}")
    present = shares > 0
    safe = torch.where(present, shares, 1.0).clamp(max=threshold)  # 0 ** exponent may have an infinite gradient
    if mode == "one":
        scaled = torch.ones_like(safe)
    elif mode == "exp" and exponent != 1:
        base = 2 * math.log(exponent)
        scaled = torch.expm1(base * safe) / math.expm1(base * threshold)
    else:
        scaled = (safe / threshold) ** (exponent if mode == "pow" else 1)
    return torch.where(present, scaled, 0.0).clamp(max=1)  # rounding may exceed 1 by a hair


def check_inputs(logits: Tensor, target: MixTarget) -> None:
    """Raise ValueError where logits (B, C), int64 labels (B, K) and weights (B, K) do not fit each other.

    Labels are held against C on a CPU only: on another device that would wait for it.
    """
    check_shapes(logits, target)
    check_labels(target.labels, logits.shape[1])


def check_shapes(logits: Tensor, target: MixTarget) -> None:
    """Raise ValueError where the shapes and types of logits and target do not fit each other."""
    if not isinstance(target, MixTarget):
        raise ValueError(
            f"target must be a MixTarget, as mixed.target is, got {type(target).__name__}; "
            "for plain or dense labels there is torch.nn.functional.cross_entropy"
        )
    labels, weights = target
    if logits.ndim != 2:
        raise ValueError(f"logits must be (B, C), got shape {tuple(logits.shape)}")
    if labels.dtype != torch.int64 or labels.ndim != 2 or len(labels) != len(logits):
        got = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"labels must be int64 (B, K) with B = {len(logits)}, as many as logits, got {got}")
    if weights.shape != labels.shape:
        shapes = f"{tuple(weights.shape)} for labels of shape {tuple(labels.shape)}"
        raise ValueError(f"weights must have one value for each of labels, got shape {shapes}")


def in_float32(logits: Tensor) -> Tensor:
    """Return logits of half precision as float32, others as they are."""
    return logits if logits.dtype.itemsize >= 4 else logits.float()


def reduce_losses(losses: Tensor, reduction: Reduction) -> Tensor:
    """Return the mean or the sum of losses (B,), or themselves for 'none'; ValueError for another word."""
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _check_smoothing(label_smoothing: float) -> None:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing}")
