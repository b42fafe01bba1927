"""Manifold Mixup (Verma et al., ICML 2019), arXiv:1806.05236. Authors' code: vikasverma1077/manifold_mixup."""

from collections.abc import Sequence

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.mixers.mixup import plan_mixup
from openmix.ops.plans import FeatureMix, check_label_tensor
from openmix.ops.random import sample_integers
from openmix.ops.target import MixTarget

__all__ = ["manifoldmix"]


@mixer(
    "ManifoldMix",
    kind="feature",
    paper="Verma et al., ICML 2019",
    link="https://arxiv.org/abs/1806.05236",
    lam="own factor of the blend",
    hints={"layer": "; write layers=(0, 1, 2) for OpenMixup's range layer=(0, 3)"},
)
def manifoldmix(
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    stages: Sequence[str],
    alpha: float = 2.0,
    layers: Sequence[int] = (0, 1, 2),
) -> FeatureMix:
    """Choose a layer at random, input included, and blend there as MixUp does.

    Args:
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        stages: the network's stages, by name, first to last.
        alpha: lam ~ Beta(alpha, alpha), > 0, one for the batch. Default 2.0, the authors'.
        layers: which layers to choose from, uniformly: 0 is the input, k the output of stage k. Default (0, 1, 2), the
            authors' for their ResNets.

    Raises:
        ValueError: alpha <= 0, a layer that the network lacks, or labels of another type or shape.
    """
    check_label_tensor(labels)
    if not isinstance(layers, Sequence) or not all(isinstance(layer, int) for layer in layers):
        raise ValueError(f"layers must be a list of numbers, such as (0, 1, 2), got {layers!r}")
    if not layers or not all(0 <= layer <= len(stages) for layer in layers):
        raise ValueError(f"layers must be numbers from 0 (input) to {len(stages)} ({list(stages)}), got {list(layers)}")
    layer = layers[int(sample_integers(len(layers), (), generator))]
    plan = plan_mixup(len(labels), generator=generator, alpha=alpha).to(labels.device)
    target = MixTarget(labels[plan.sources], plan.weights)
    return FeatureMix(stages[layer - 1] if layer else None, plan, target)
