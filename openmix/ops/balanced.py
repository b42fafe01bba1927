"""The eta-balanced loss of SAMix (Li et al., "Boosting ... with Scenario-Agnostic Mixup"), arXiv:2111.15454."""

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.checks import check_not_negative
from openmix.ops.losses import Reduction, check_inputs, in_float32, merge_equal_labels, mix_cross_entropy, reduce_losses
from openmix.ops.target import MixTarget

__all__ = ["balanced_mix_cross_entropy"]


def balanced_mix_cross_entropy(logits: Tensor, target: MixTarget, eta: float, reduction: Reduction = "mean") -> Tensor:
    """Cross entropy among an image's own mixed classes, and eta times the one among all classes.

    The loss of an image is ``local + eta * global``. ``global`` is the soft cross entropy; ``local`` is the same of the
    softmax over the mixed classes alone, for a pair ``p_a = exp z_a / (exp z_a + exp z_b)``. It asks that the two
    be told from each other in the right shares, whatever the network thinks of other classes. Equal labels are one
    class, and a label of weight 0 is none; an image of a single class has a local term of 0. SAMix trains its mix block
    by this loss.

    SAMix's code does something else: it scales by eta what the absent classes contribute to a soft cross entropy, which
    is nothing. The published figures are therefore those of plain cross entropy, :func:`mix_cross_entropy`.

    Args:
        logits: (B, C); computed in float32 at least.
        target: labels (B, K) and weights (B, K).
        eta: weight of the global term, >= 0.
        reduction: 'mean' over the batch, 'sum', or 'none' for (B,).

    Raises:
        ValueError: an argument out of range, tensors that do not fit, on a CPU also labels that are no class.

    >>> target = MixTarget(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    >>> balanced_mix_cross_entropy(torch.zeros(1, 4), target, eta=0.5)  # log 2, and half of log 4
    tensor(1.3863)
    """
    check_inputs(logits, target)
    check_not_negative("eta", eta)
    logits = in_float32(logits)
    labels, weights = merge_equal_labels(target)
    absent = weights == 0
    # not -inf, as there may be nothing else in a row; and where() for logits beside which even this overflows
    own = logits.gather(1, labels).masked_fill(absent, torch.finfo(logits.dtype).min)
    local = -torch.where(absent, 0, F.log_softmax(own, dim=1) * weights).sum(1)
    return reduce_losses(local + eta * mix_cross_entropy(logits, target, reduction="none"), reduction)
