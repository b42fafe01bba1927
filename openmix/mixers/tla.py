"""TL-Align (Xiao et al., ICCV 2023), arXiv:2210.06455. Authors' code: Euphoria16/TL-Align.

CutMix whose labels follow the tokens through the blocks. The authors write the labels of all tokens into the network
and multiply them by each block's attention; as that is linear, one row of the product of all blocks, which is what is
needed here, does the same for any labels. Their boxes lie on the patch grid, those of ``cutmix`` lie on pixels, where a
patch may have both labels; and their partner is the flipped batch. OpenMixup's ``tla`` aligns nothing: it is CutMix on
the patch grid, and no preset.
"""

from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.patches import check_map, masks_of, mass_of_sources
from openmix.ops.target import Mixed, MixTarget

__all__ = ["tla"]


@mixer(
    "TLAlign",
    kind="label",
    needs=("rollout",),
    base="cutmix",
    paper="Xiao et al., ICCV 2023",
    link="https://arxiv.org/abs/2210.06455",
    lam="own share of what reaches the class token",
)
def tla(mixed: Mixed, *, rollout: Tensor) -> MixTarget:
    """Weigh the labels of cut and pasted images by how much of each source's patches a transformer's class token holds.

    Tokens begin with the labels of what they show, by area, and the class token with the image's mixed one. Each block
    then mixes labels as its attention mixes tokens; the class token's last label is the target. The weights are not
    what is visible.

    Args:
        mixed: of a method whose masks tell what is shown where, such as ``cutmix``.
        rollout: floating (B, h, w), >= 0, of the mixed images: each patch's share in the class token after all blocks.
            What a map lacks to 1 is the class token's own and keeps the mixed label.

    Raises:
        ValueError: a map of another shape, or a mix without masks.

    >>> import torch, openmix
    >>> mixed = openmix.CutMix()(torch.rand(2, 3, 8, 8), torch.arange(2), generator=torch.Generator().manual_seed(1))
    >>> target = tla(mixed, rollout=torch.full((2, 4, 4), 1 / 16))
    >>> torch.allclose(target.weights, mixed.target.weights)
    True
    """
    check_map("rollout", rollout, len(mixed.images))
    shares = rollout.detach().float()
    own = (1 - shares.sum((1, 2))).clamp(min=0)[:, None]
    weights = mass_of_sources(masks_of("tla", mixed), shares) + own * mixed.target.weights
    return MixTarget(mixed.target.labels, weights / weights.sum(1, keepdim=True))
