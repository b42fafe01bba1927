"""Maps at the patch grid: against torch's own resizing and plain sums."""

import pytest
import torch
from torch.nn import functional as F

from openmix.ops.patches import mass_of_sources, patches_to_pixels, unit_mass


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("grid", "size"), [((4, 6), (32, 48)), ((5, 7), (33, 47)), ((14, 14), (14, 14)), ((3, 1), (5, 4))]
)
def test_pixels_show_their_patch(grid, size):
    patches = torch.rand(3, *grid, generator=seeded()) < 0.5
    wanted = F.interpolate(patches[:, None].float(), size, mode="nearest-exact" if size == grid else "nearest").bool()
    assert torch.equal(patches_to_pixels(patches, size), wanted)


@pytest.mark.parametrize("scale", [1.0, 1e-42, 1e-38, 1e37])
def test_mass_is_proportional_whatever_the_scale(scale):
    maps = torch.randint(0, 9, (4, 5, 6), generator=seeded(1)).float()
    mass = unit_mass(maps * scale)
    torch.testing.assert_close(mass.sum((1, 2)), torch.ones(4))
    if scale != 1e-42:
        torch.testing.assert_close(mass, maps / maps.sum((1, 2), keepdim=True))


def test_zeros_become_uniform_and_no_gradient_is_kept():
    maps = torch.zeros(2, 3, 4, requires_grad=True)
    assert torch.equal(unit_mass(maps), torch.full((2, 3, 4), 1 / 12))
    assert not unit_mass(maps).requires_grad


@pytest.mark.parametrize("size", [(12, 16), (13, 17), (1, 1), (2, 3)])
def test_mass_is_shared_out_by_area(size):
    own = torch.rand(3, 1, *size, generator=seeded(2)).round()
    masks = torch.cat([own, 1 - own], 1)
    mass = unit_mass(torch.rand(3, 4, 4, generator=seeded(3)))
    shared = mass_of_sources(masks, mass)
    torch.testing.assert_close(shared.sum(1), torch.ones(3))
    if size == (12, 16):
        spread = mass.repeat_interleave(3, 1).repeat_interleave(4, 2) / 12
        torch.testing.assert_close(shared[:, 0], (own[:, 0] * spread).sum((1, 2)))
