"""Classification metrics from per-image scores, so that they are exact on any number of processes."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["NUM_SCORES", "expected_calibration_error", "image_scores", "summarise"]

NUM_SCORES = 4


def image_scores(logits: Tensor, labels: Tensor) -> Tensor:
    """Return what the metrics need of each image.

    Args:
        logits: (B, C).
        labels: int64 (B,).

    Returns:
        float64 (B, 4): right at rank 1 (0 or 1), right within rank 5, negative log-likelihood in nats, and the
        probability given to the predicted class. An image whose label ties with others counts as ranked behind
        those of lower index. One whose softmax is undefined (a logit is NaN or infinite upwards) is right at no rank,
        and its other two scores are NaN.
    """
    logits = logits.double()
    log_p = F.log_softmax(logits, dim=1)
    own = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    rank = (logits > own).sum(1) + ((logits == own) & earlier).sum(1)
    nll = -log_p.gather(1, labels[:, None]).squeeze(1)
    defined = ~nll.isnan()  # every comparison with NaN is false, which would put the label first
    hits = [((rank < k) & defined).double() for k in (1, 5)]
    return torch.stack([*hits, nll, log_p.max(1).values.exp()], dim=1)


def summarise(scores: Tensor) -> dict[str, float | int]:
    """Return the metrics of a whole set from the scores (N, 4) of its images.

    ``top1`` and ``top5`` are per cent, ``nll`` is the mean in nats, ``ece`` is a fraction in [0, 1], ``n`` counts.
    A value that is not finite stays so: a network that diverged must not look calibrated; its images count as wrong.
    """
    top1, top5, nll, _ = scores.mean(0).tolist()
    ece = expected_calibration_error(scores[:, 3], scores[:, 0])
    return {"top1": 100 * top1, "top5": 100 * top5, "nll": nll, "ece": ece, "n": len(scores)}


def expected_calibration_error(confidence: Tensor, correct: Tensor, bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy over equally wide bins, weighted by their size.

    Guo et al., ICML 2017, arXiv:1706.04599. A bin holds what lies in (low, high].

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) 0 or 1.
        bins: how many; 15 is the paper's.
    """
    # k / bins rounded once; linspace is off by an ulp here and there, which puts 0.3 of 10 bins into the wrong one
    inner_edges = torch.arange(1, bins, dtype=confidence.dtype, device=confidence.device) / bins
    which = torch.bucketize(confidence.contiguous(), inner_edges)
    gap = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    gap.index_add_(0, which, (correct - confidence).double())
    return float(gap.abs().sum() / len(confidence))
