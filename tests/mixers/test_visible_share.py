"""What an image shows of each source, measured from its pixels alone, against what its label and its masks say.

Image i is constant and 1 in channel i alone, so channel j of a mixed pixel is the share of image j in it, whatever the
method did to get there: copying, blending, resizing or moving.
"""

import pytest
import torch
from torch import Tensor

import openmix
from openmix import Mixed

# The label stays whole, however much of the image a fill value hides.
ERASES = frozenset({"cutout", "randomerasing"})
# The port's weights are the wrong way round, on purpose.
SWAPPED = frozenset({("smoothmix", "openmixup")})
# Colours change and places move on the way, so that channels say nothing of shares.
CHANGES_CONTENT = frozenset({"augmix", "resizemixplus"})

SHAPES = [(1, 16, 20), (2, 24, 24), (5, 24, 33), (7, 33, 18)]

Variant = tuple[str, str | None, bool | None]


def variants() -> list[Variant]:
    """Every input method that needs nothing, each preset of it, each granularity that it can be asked for."""
    found: list[Variant] = []
    for name in openmix.list_mixers():
        mixer = openmix.build_mixer(name)
        if mixer.kind != "input" or mixer.needs or name in CHANGES_CONTENT:
            continue
        granularities = [False, True] if "per_sample" in mixer.method.hyper else [None]
        found += [(name, preset, g) for preset in [None, *mixer.method.presets] for g in granularities]
    return found


every_variant = pytest.mark.parametrize("variant", variants(), ids=lambda v: "-".join(map(str, v)))
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def mix(variant: Variant, shape: tuple[int, int, int], seed: int) -> Mixed:
    name, preset, per_sample = variant
    hyper = {} if per_sample is None else {"per_sample": per_sample}
    batch, height, width = shape
    images = torch.eye(batch)[:, :, None, None].repeat(1, 1, height, width)
    generator = torch.Generator().manual_seed(seed)
    return openmix.build_mixer(name, preset=preset, **hyper)(images, torch.arange(batch), generator=generator)


def claimed(mixed: Mixed, batch: int) -> Tensor:
    """What the masks say of each pixel, sources that occur twice added up: float64 (rows, B, H, W)."""
    assert mixed.masks is not None
    names = torch.nn.functional.one_hot(mixed.sources, batch).double()
    return torch.einsum("bkhw,bki->bihw", mixed.masks.double().expand(-1, -1, *mixed.images.shape[2:]), names)


def test_the_whole_catalogue_is_here():
    names = {name for name, _, _ in variants()}
    assert len(names) >= 13
    assert {("smoothmix", "openmixup", True), ("mosaic", None, False), ("vanilla", None, None)} <= set(variants())


@every_variant
@every_shape
def test_labels_weigh_what_is_visible(variant, shape):
    for seed in range(8):
        mixed = mix(variant, shape, seed)
        visible, said = mixed.images.double().mean((2, 3)), mixed.target.soft(shape[0]).double()
        if variant[0] in ERASES:
            assert torch.equal(said, torch.eye(shape[0]).double())
            assert torch.equal(visible * (1 - said), torch.zeros_like(visible)), "nothing of another image shows"
            assert float(visible.max()) <= 1
        elif variant[:2] in SWAPPED:
            own, other = mixed.sources.unbind(1)
            apart = own != other
            seen, told = visible[apart].gather(1, mixed.sources[apart]), said[apart].gather(1, mixed.sources[apart])
            torch.testing.assert_close(told, seen.flip(1), rtol=0, atol=2e-6)
            torch.testing.assert_close(visible[~apart], said[~apart], rtol=0, atol=2e-6)
        else:
            torch.testing.assert_close(visible, said, rtol=0, atol=2e-6)


@every_variant
@every_shape
def test_masks_say_what_each_pixel_shows(variant, shape):
    for seed in range(8):
        mixed = mix(variant, shape, seed)
        if mixed.masks is not None:
            torch.testing.assert_close(mixed.images.double(), claimed(mixed, shape[0]), rtol=0, atol=1e-6)


def test_the_port_s_labels_are_not_right_by_accident():
    """The other way round is another number: the exemption above hides nothing that is right anyway."""
    mixed = mix(("smoothmix", "openmixup", False), (5, 24, 33), 0)
    visible, said = mixed.images.double().mean((2, 3)), mixed.target.soft(5).double()
    assert float((visible - said).abs().max()) > 0.05
