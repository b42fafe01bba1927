"""AlignMixup (Venkataramanan et al., CVPR 2022), arXiv:2103.15375. Authors' code: shashankvkt/AlignMixup_CVPR22.

The default is the authors' code, which mixes images in every second batch. OpenMixup's port mixes aligned features
only (preset 'openmixup') and is meant to be listed beside manifoldmix. Both read the error of the Sinkhorn iteration
back from the device in every round; here nothing waits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.mixers.mixup import plan_mixup
from openmix.ops.align import AlignPlan
from openmix.ops.checks import check_integer, check_positive, check_probability
from openmix.ops.plans import FeatureMix, Plan, check_label_tensor
from openmix.ops.random import sample_uniform
from openmix.ops.target import MixTarget

__all__ = ["alignmix"]


@mixer(
    "AlignMix",
    kind="feature",
    presets={"openmixup": {"input_prob": 0.0}},
    paper="Venkataramanan et al., CVPR 2022",
    link="https://arxiv.org/abs/2103.15375",
    lam="own factor of the blend",
)
def alignmix(
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    stages: Sequence[str],
    alpha: float = 2.0,
    input_prob: float = 0.5,
    eps: float = 0.1,
    max_iter: int = 100,
) -> FeatureMix:
    """Blend the last stage's features with a partner's, one of the two rearranged in space to match the other.

    Where positions go is the entropic optimal transport between the two maps under squared distances; which of the two
    is rearranged is decided by a coin for the batch. As in the authors' code the iteration ends early, so that what
    comes from the other map may weigh more in one place than in another.

    Args:
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        stages: the network's stages, by name, first to last.
        alpha: lam ~ Beta(alpha, alpha), > 0, one for the batch. Default 2.0, the authors'.
        input_prob: probability to blend the images instead, as MixUp does. Default 0.5, the authors'.
        eps: the transport's entropy, > 0. Default 0.1, the authors'.
        max_iter: Sinkhorn iterations at most, >= 1. Default 100, the authors'.

    Raises:
        ValueError: a value out of range.
    """
    check_label_tensor(labels)
    check_probability("input_prob", input_prob)
    check_positive("eps", eps)
    check_integer("max_iter", max_iter, 1)
    blend = plan_mixup(len(labels), generator=generator, alpha=alpha)
    coins = sample_uniform(0, 1, (2,), generator)
    mixes_images, to_own = bool(coins[0] < input_prob), bool(coins[1] < 0.5)
    plan: Plan = blend if mixes_images else AlignPlan(blend.partner, blend.lam, to_own, eps, max_iter)
    plan = plan.to(labels.device)
    return FeatureMix(None if mixes_images else stages[-1], plan, MixTarget(labels[plan.sources], plan.weights))
