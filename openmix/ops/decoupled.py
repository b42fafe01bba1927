"""DecoupleMix (Liu et al., "Harnessing Hard Mixed Samples with Decoupled Regularizer"), arXiv:2203.10761."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.checks import check_choice, check_not_negative
from openmix.ops.losses import (
    Reduction,
    check_inputs,
    in_float32,
    merge_equal_labels,
    mix_cross_entropy,
    reduce_losses,
    rescale_shares,
)
from openmix.ops.target import MixTarget

__all__ = ["decoupled_cross_entropy"]


def decoupled_cross_entropy(
    logits: Tensor,
    target: MixTarget,
    eta: float = 0.1,
    threshold: float = 1.0,
    exponent: float = 1.0,
    mode: Literal["both", "less", "more"] = "both",
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Soft cross entropy, and for each mixed class a cross entropy in which it does not compete with the others.

    The loss of an image is ``soft CE + sum_i eta_i * CE_i``. CE_i is the cross entropy of mixed class i over the
    classes that remain when the other mixed ones are dropped, and
    ``eta_i = eta * min(share_i / threshold, 1) ** exponent``. It depends on the soft label alone, neither on the order
    of the sources nor on sources of weight 0, and equal labels are one class. An image of fewer than two classes has
    the soft cross entropy and nothing else.

    OpenMixup's code takes the shares of the batch's first image, in the order of the classes' numbers, while its etas
    are in the order of the sources; here each class of each image has its own.

    Args:
        logits: (B, C); computed in float32 at least.
        target: labels (B, K) and weights (B, K).
        eta: weight of the regularizer, >= 0; the paper's is 0.1.
        threshold: the share, in (0, 1], from which eta_i is eta. Default 1, as in OpenMixup's configs.
        exponent: >= 0; 1 is the default of OpenMixup's configs, which use 0 (a constant eta) to 1 by method.
        mode: which mixed classes have a CE_i: 'both' is all, 'less' those of a share under 1/2, 'more' the others.
        label_smoothing: share in [0, 1] of the soft cross entropy's target that is spread over the C classes.
        reduction: 'mean' over the batch, 'sum', or 'none' for (B,).

    Raises:
        ValueError: an argument out of range, tensors that do not fit, on a CPU also labels that are no class.

    >>> target = MixTarget(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    >>> decoupled_cross_entropy(torch.zeros(1, 4), target, eta=1.0)  # log 4, and log 3 with eta_i = 1/2 twice
    tensor(2.4849)
    """
    check_inputs(logits, target)
    check_choice("mode", mode, ("both", "less", "more"))
    check_not_negative("eta", eta)
    logits = in_float32(logits)
    labels, shares = merge_equal_labels(target)
    etas = eta * rescale_shares(shares, "pow", threshold, exponent)
    if mode != "both":
        etas = torch.where((shares < 0.5) == (mode == "less"), etas, 0.0)
    etas = torch.where((shares > 0).sum(1, keepdim=True) > 1, etas, 0.0)
    # against what is left, CE_i = log(exp(rest) + exp(logit_i)) - logit_i; not -inf, whose logsumexp has NaN gradients
    mixed = target.soft(logits.shape[1]) > 0
    rest = logits.masked_fill(mixed, torch.finfo(logits.dtype).min).logsumexp(1, keepdim=True)
    regularizer = (etas * F.softplus(rest - logits.gather(1, labels))).sum(1)
    loss = mix_cross_entropy(logits, target, label_smoothing, reduction="none") + regularizer
    return reduce_losses(loss, reduction)
