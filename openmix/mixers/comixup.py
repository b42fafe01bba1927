"""Co-Mixup (Kim et al., ICLR 2021), arXiv:2102.03065. Authors' code: snu-mllab/Co-Mixup.

Differs from the authors' code in this. Their sub-problems go to a graph cut on the CPU one by one, in several processes
with a copy of the images each; here those of all partitions are solved together, on the device, and their minimum is
found where alpha-beta swap often stops above it. Saliency of zeros, or with all its peaks in one place, gives them NaN
and us equal shares. Images of any size are cut into cells, and peaks are sought on a grid that is finer than theirs for
ImageNet and coarser for Tiny-ImageNet. That they train on the clean batch as well is no part of the mixing: it is
``clean_weight`` of MixUpClassification, 1 for ImageNet and 2 / num_classes beside their loss for CIFAR.
"""

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_integer, check_number, check_positive, check_probability
from openmix.ops.comixup_groups import Partitions, compatibility, saliency_shares
from openmix.ops.comixup_labels import label_outputs
from openmix.ops.comixup_plan import CellPlan
from openmix.ops.plans import check_batch, mix
from openmix.ops.random import sample_dirichlet, sample_uniform
from openmix.ops.target import Mixed

__all__ = ["comixup", "draw_comixup"]

MOST_BLOCKS = 4  # the solver's tables have 5 ** blocks entries a cell


@mixer(
    "CoMixup",
    needs=("saliency",),
    guide_pass="train",
    presets={"imagenet": {"alpha": 1.0, "partition": 16, "sweeps": 3}},
    paper="Kim et al., ICLR 2021",
    link="https://arxiv.org/abs/2102.03065",
    lam="area of the cells that show the own image",
    hints={
        "niter": "; it is sweeps here",
        "thres": "; it is tau here",
        "block_num": "; it is blocks here",
        "m_part": "; it is partition here",
    },
)
def comixup(
    images: Tensor,
    labels: Tensor,
    *,
    saliency: Tensor,
    generator: torch.Generator | None = None,
    alpha: float = 2.0,
    beta: float = 0.32,
    gamma: float = 1.0,
    eta: float = 0.05,
    tau: float = 0.83,
    omega: float = 0.001,
    blocks: int = 4,
    partition: int = 20,
    sweeps: int = 4,
) -> Mixed:
    """Mix a whole group of images into as many outputs, which together show what is salient and are unlike each other.

    The batch is cut into groups of ``partition`` consecutive images, the last of which may be smaller. Each cell of an
    output shows one of the group's images at that place, or a half-and-half blend of two. Which one is chosen by
    lowering one objective for all outputs of a group in turns: much saliency, few seams, and no image in more outputs
    than its share. An output need not show anything of the image of its own number. The label weights are what is
    visible, of up to all images of the group: the second dimension of labels, weights and sources is the group's size.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        saliency: floating (B, h, w), >= 0, of any scale. The authors' is the root mean square over channels of the
            gradient of the loss, from a pass in training mode.
        generator: a CPU generator; None takes torch's default one.
        alpha: each group's shares ~ Dirichlet(alpha, ..., alpha), > 0, the prior of how much its images are shown.
            Default 2.0, the authors' for CIFAR.
        beta: >= 0, what it costs two neighbouring cells to differ; as all costs it is divided by the number of cells,
            and an image's saliency adds up to 1. Default 0.32, the authors'; they advise 0.16 to 0.48.
        gamma: >= 0, what it costs two outputs to show the same image in a cell each. Default 1.0, the authors'.
        eta: >= 0, weight of the prior. Default 0.05, the authors'.
        tau: >= 0, from which share of an image, added up over the other outputs, it is avoided. Default 0.83, the
            authors'; they advise 0.81 to 0.84 (their setting for ImageNet is 0.83 as well).
        omega: in [0, 1], how much images whose salient places are far apart are drawn together. Default 0.001, the
            authors'.
        blocks: cells a side, 2 to 4. Default 4, the authors' in all their runs.
        partition: images a group, >= 2. Default 20, the authors' for CIFAR.
        sweeps: over the outputs of a group, >= 1, fewer where nothing changes any more. Default 4, the authors' for
            CIFAR.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> draw = torch.Generator().manual_seed(0)
    >>> images, saliency = torch.rand(4, 3, 8, 8, generator=draw), torch.rand(4, 8, 8, generator=draw)
    >>> mixed = comixup(images, torch.arange(4), saliency=saliency, generator=draw)
    >>> mixed.sources[1], torch.allclose(mixed.masks.mean((2, 3)), mixed.target.weights)
    (tensor([1, 2, 3, 0]), True)
    """
    check_batch(images, labels)
    _check_settings(alpha, beta, gamma, eta, tau, omega, blocks, partition, sweeps)
    if saliency.ndim != 3 or len(saliency) != len(images) or not saliency.is_floating_point():
        got = f"{saliency.dtype} {tuple(saliency.shape)}"
        raise ValueError(f"saliency must be floating point ({len(images)}, h, w), one map an image, got {got}")
    saliency = saliency.detach()
    parts, cells = Partitions(len(images), min(partition, len(images))), blocks**2
    draws = draw_comixup(parts, cells, alpha, generator)
    prior, first, counts = (t.to(saliency.device, non_blocking=True) for t in (*draws, parts.counts()))
    cost = -parts.fold(saliency_shares(saliency, blocks)) - eta / cells * torch.log(prior + 1e-8)[..., None]
    compat = compatibility(saliency, parts, omega)
    pairs = label_outputs(cost, compat, first, counts, beta=beta / cells, gamma=gamma / cells, tau=tau, sweeps=sweeps)
    sources, shown = _about_itself(parts, pairs, counts)
    size = (images.shape[2], images.shape[3])
    return mix(images, labels, CellPlan(sources, shown.unflatten(1, (blocks, blocks)), size))


def _check_settings(
    alpha: float,
    beta: float,
    gamma: float,
    eta: float,
    tau: float,
    omega: float,
    blocks: int,
    partition: int,
    sweeps: int,
) -> None:
    check_positive("alpha", alpha)
    for name, value in (("beta", beta), ("gamma", gamma), ("eta", eta), ("tau", tau)):
        check_number(name, value)
        if value < 0:
            raise ValueError(f"{name} must be 0 or more, got {value!r}")
    check_probability("omega", omega)
    check_integer("blocks", blocks, 2)
    if blocks > MOST_BLOCKS:
        raise ValueError(f"blocks must be 2 to {MOST_BLOCKS}: finer grids have too many labelings, got {blocks!r}")
    check_integer("partition", partition, 2)
    check_integer("sweeps", sweeps, 1)


def draw_comixup(
    parts: Partitions, cells: int, alpha: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Draw each group's prior, float32 (groups, width), and first labels, int64 (groups, width, cells)."""
    counts = parts.counts()
    prior = sample_dirichlet(alpha, (parts.groups,), parts.width, generator)
    prior = prior * (torch.arange(parts.width, device="cpu") < counts[:, None])
    uniform = sample_uniform(0, 1, (parts.groups, parts.width, cells), generator)
    # a part of a Dirichlet's shares, made to sum to 1, is a Dirichlet's again
    return prior / prior.sum(1, keepdim=True).clamp(min=1e-30), (uniform * counts[:, None, None]).long()


def _about_itself(parts: Partitions, pairs: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sources (B, K), a group's images from itself on, and which of these cells show, (B, cells, 2)."""
    batch = torch.arange(parts.batch, device=pairs.device)
    group, place = batch // parts.size, batch % parts.size
    count = counts[group][:, None]
    offsets = torch.arange(max(parts.size, 2), device=pairs.device)
    sources = group[:, None] * parts.size + (place[:, None] + offsets) % count
    return sources, (parts.unfold(pairs) - place[:, None, None]) % count[..., None]
