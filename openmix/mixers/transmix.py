"""TransMix (Chen et al., CVPR 2022), arXiv:2111.09833. Authors' code: Beckschen/TransMix.

CutMix whose labels are weighed, half by area and half by what the class token attends to. Differs from the authors'
code in the partner alone, which is a uniform permutation and not the flipped batch. OpenMixup's port (preset
'openmixup') redraws partners where an image would be its own; its heads then averaged the images' own weights over the
batch, which is not kept. Both train it in turns with MixUp: ``mix_mode=["mixup", "transmix"]``, ``alpha=[0.8, 1.0]``,
``mix_prob=[0.2, 0.8]``.
"""

from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_probability
from openmix.ops.patches import check_map, masks_of, mass_of_sources, unit_mass
from openmix.ops.target import Mixed, MixTarget

__all__ = ["transmix"]


@mixer(
    "TransMix",
    kind="label",
    needs=("attention",),
    base="cutmix",
    presets={"openmixup": {"tries": 10}},
    paper="Chen et al., CVPR 2022",
    link="https://arxiv.org/abs/2111.09833",
    lam="mean of the area and of the attention that own pixels get",
    hints={"mix_mode": "; it relabels what cutmix mixed"},
)
def transmix(mixed: Mixed, *, attention: Tensor, ratio: float = 0.5) -> MixTarget:
    """Weigh the labels of cut and pasted images by area and by what a vision transformer attends to in them.

    Each source's weight is ``ratio * area + (1 - ratio) * mass``, where mass is the share of attention that falls on
    its patches; a patch belongs to the source that its first pixel shows. The weights are not what is visible.

    Args:
        mixed: of a method whose masks tell what is shown where, such as ``cutmix``.
        attention: floating (B, h, w), >= 0, of the mixed images: the last block's attention of the class token to the
            patches, mean over heads. Only its proportions count; where all is 0, it is uniform.
        ratio: the share of the area, in [0, 1]. Default 0.5, the authors'.

    Raises:
        ValueError: ratio out of range, a map of another shape, or a mix without masks.

    >>> import torch, openmix
    >>> mixed = openmix.CutMix()(torch.rand(2, 3, 8, 8), torch.arange(2), generator=torch.Generator().manual_seed(1))
    >>> attention = torch.nn.functional.avg_pool2d(mixed.mask[:, 0], 2)  # none for pasted patches
    >>> bool((transmix(mixed, attention=attention).weights[:, 0] > mixed.target.weights[:, 0]).any())
    True
    """
    check_probability("ratio", ratio)
    check_map("attention", attention, len(mixed.images))
    mass = mass_of_sources(masks_of("transmix", mixed), unit_mass(attention), mode="nearest")
    return MixTarget(mixed.target.labels, ratio * mixed.target.weights + (1 - ratio) * mass)
