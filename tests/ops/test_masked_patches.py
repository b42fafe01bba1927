"""Patches and masks: against loops over pixels, and counts."""

import pytest
import torch

from openmix.ops.masked_patches import count_visible, draw_masking, normalise_patches, patchify, unpatchify


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def patches_by_loop(images: torch.Tensor, patch: tuple[int, int]) -> list[list[list[float]]]:
    """Each image's patches row by row, each patch's pixels row by row, each pixel's channels."""
    (p, q), (_, channels, height, width) = patch, images.shape
    return [
        [
            [float(image[c, y + i, x + j]) for i in range(p) for j in range(q) for c in range(channels)]
            for y in range(0, height, p)
            for x in range(0, width, q)
        ]
        for image in images
    ]


@pytest.mark.parametrize(("shape", "patch"), [((2, 3, 4, 6), (2, 3)), ((1, 1, 9, 3), (3, 3)), ((3, 2, 4, 4), (4, 1))])
def test_patches_are_those_of_a_loop_and_back(shape, patch):
    images = torch.rand(shape, generator=seeded())
    patches = patchify(images, patch)
    assert torch.equal(patches, torch.tensor(patches_by_loop(images, patch)))
    grid = shape[2] // patch[0], shape[3] // patch[1]
    assert torch.equal(unpatchify(patches, patch, grid), images)


def test_normalised_patches_by_hand():
    patches = torch.rand(2, 3, 4, generator=seeded())
    normal, means, scales = normalise_patches(patches)
    for row, got in zip(patches.flatten(0, 1).tolist(), normal.flatten(0, 1).tolist(), strict=True):
        mean = sum(row) / 4
        variance = sum((v - mean) ** 2 for v in row) / 3
        assert got == pytest.approx([(v - mean) / (variance + 1e-6) ** 0.5 for v in row], abs=1e-5)
    assert torch.allclose(normal * scales + means, patches, atol=1e-6)
    flat, _, _ = normalise_patches(torch.full((1, 1, 4), 0.3))
    assert flat.abs().max() < 1e-3  # and no division by 0


@pytest.mark.parametrize(
    ("patches", "ratio", "visible"), [(196, 0.75, 49), (64, 0.75, 16), (49, 0.75, 12), (9, 0.5, 4)]
)
def test_the_share_is_exact_and_odd_numbers_are_rounded_down(patches, ratio, visible):
    masking = draw_masking(5, patches, ratio, seeded())
    assert count_visible(patches, ratio) == visible
    assert masking.seen.shape == (5, visible)
    assert masking.removed.sum(1).tolist() == [patches - visible] * 5


@pytest.mark.parametrize(("patches", "ratio"), [(4, 0.9), (4, 0.0), (4, 1.0), (2, -0.5)])
def test_a_ratio_that_leaves_or_removes_nothing(patches, ratio):
    with pytest.raises(ValueError, match=f"mask_ratio={ratio} must remove some of {patches} patches and leave some"):
        count_visible(patches, ratio)


def test_back_undoes_the_order():
    masking = draw_masking(3, 12, 0.75, seeded())
    for seen, back, removed in zip(masking.seen, masking.back, masking.removed, strict=True):
        assert sorted(back.tolist()) == list(range(12))
        assert [int(back[patch]) for patch in seen] == [0, 1, 2]
        assert {int(i) for i in seen} == {i for i in range(12) if not removed[i]}


def test_every_choice_is_equally_likely():
    """Of 4 patches 2 are seen: 6 choices, chi-squared of 5 degrees of freedom below its 99.9 % point."""
    removed = draw_masking(6000, 4, 0.5, seeded()).removed
    counts = torch.bincount((removed * torch.tensor([1, 2, 4, 8])).sum(1), minlength=16)
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert ((counts - 1000.0) ** 2 / 1000).sum() < 20.5
