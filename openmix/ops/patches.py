"""Maps at a network's patch grid: how they meet masks in pixels, and how a mass spreads over an image's sources."""

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.target import Mixed

__all__ = ["check_map", "masks_of", "mass_of_sources", "patches_to_pixels", "unit_mass"]


def check_map(name: str, maps: Tensor, batch_size: int) -> None:
    """Raise ValueError unless ``maps`` is floating (batch_size, h, w), of at least one place."""
    if not isinstance(maps, Tensor) or not maps.is_floating_point() or maps.ndim != 3 or 0 in maps.shape:
        got = f"{maps.dtype} {tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(f"{name} must be floating ({batch_size}, h, w), got {got}")
    if len(maps) != batch_size:
        raise ValueError(f"{name} must have one map an image, {batch_size}, got {len(maps)}")


def masks_of(name: str, mixed: Mixed) -> Tensor:
    """Return a mix's masks (B, K, H, W), or raise ValueError that says that method ``name`` cannot do without."""
    if mixed.masks is None:
        raise ValueError(f"{name} weighs labels by where each image is shown, and this mix has no masks")
    return mixed.masks


def unit_mass(maps: Tensor) -> Tensor:
    """Return maps (B, h, w) >= 0 divided by their sums, in float32; one that is all zero or not finite becomes uniform.

    >>> unit_mass(torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]]))
    tensor([[[0.2500, 0.7500]],
    <BLANKLINE>
            [[0.5000, 0.5000]]])
    """
    maps = maps.detach().float()
    peak = maps.amax((1, 2), keepdim=True)  # maps of tiny or huge numbers have no usable sum
    maps = torch.where((peak > 0) & (peak < torch.inf), maps / peak, 1.0)
    return maps / maps.sum((1, 2), keepdim=True)


def mass_of_sources(masks: Tensor, mass: Tensor, mode: str = "area") -> Tensor:
    """Return how much of each image's mass lies where each of its sources is shown.

    Args:
        masks: each source's share per pixel, float32 (B, K, H, W), of any resolution; H = W = 1 for a constant.
        mass: float32 (B, h, w).
        mode: how masks are brought to the grid of ``mass``: 'area', by the share of a patch that they cover, or
            'nearest', by the patch's first pixel.

    Returns:
        float32 (B, K).

    >>> own = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]])
    >>> mass_of_sources(own, torch.tensor([[[0.9, 0.1]]]))
    tensor([[0.9000, 0.1000]])
    """
    on_grid = F.interpolate(masks, tuple(mass.shape[1:]), mode=mode)
    return (on_grid * mass[:, None]).sum((2, 3))


def patches_to_pixels(patches: Tensor, size: tuple[int, int]) -> Tensor:
    """Return values of patches (N, h, w) as those of pixels (N, 1, H, W), whole or not: pixel y is in row y * h // H.

    >>> patches_to_pixels(torch.tensor([[[True, False]]]), (1, 5))
    tensor([[[[ True,  True,  True, False, False]]]])
    """
    return _spread(_spread(patches, 2, size[1]), 1, size[0])[:, None]


def _spread(patches: Tensor, dim: int, side: int) -> Tensor:
    """Repeat a dimension's entries to length ``side``: pixel i shows entry ``i * n // side`` of n."""
    n = patches.shape[dim]
    if side % n == 0:  # as below, in half the time
        return patches.repeat_interleave(side // n, dim)
    return patches.index_select(dim, torch.arange(side, device=patches.device) * n // side)
