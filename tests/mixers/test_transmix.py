"""TransMix against its formula (Chen et al., 2022), patch by patch."""

import pytest
import torch
from torch import Tensor

import openmix
from openmix.mixers.transmix import transmix


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def attention_of(batch: int, height: int, width: int, seed: int = 3) -> Tensor:
    return torch.rand(batch, height, width, generator=seeded(seed)).pow(4)


def own_weights(mixed, attention: Tensor, ratio: float) -> list[float]:
    """lam' = ratio * lam0 + (1 - ratio) * lam1 in plain arithmetic; a patch is its first pixel's."""
    found = []
    height, width = mixed.images.shape[2:]
    h, w = attention.shape[1:]
    for b, own in enumerate(mixed.mask[:, 0].tolist()):
        area = sum(map(sum, own)) / (height * width)
        kept = total = 0.0
        for i in range(h):
            for j in range(w):
                a = float(attention[b, i, j])
                total += a
                kept += a * own[i * height // h][j * width // w]
        found.append(ratio * area + (1 - ratio) * kept / total)
    return found


@pytest.mark.parametrize("ratio", [0.5, 0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("shape", "grid"), [((5, 3, 32, 48), (4, 6)), ((4, 1, 33, 47), (5, 7)), ((1, 3, 8, 8), (8, 8))]
)
def test_weights_are_half_area_half_attention(make_batch, shape, grid, ratio):
    images, labels = make_batch(*shape)
    attention = attention_of(shape[0], *grid)
    for seed in range(8):
        mixed = openmix.CutMix(per_sample=seed % 2 == 1)(images, labels, generator=seeded(seed))
        target = transmix(mixed, attention=attention, ratio=ratio)
        wanted = own_weights(mixed, attention, ratio)
        assert target.weights[:, 0].tolist() == pytest.approx(wanted, abs=2e-6)
        assert target.weights[:, 1].tolist() == pytest.approx([1 - w for w in wanted], abs=2e-6)
        assert torch.equal(target.labels, mixed.target.labels)


def test_example_by_hand():
    """A box of a quarter of the image that gets half of the attention: (0.75 + 0.5) / 2 for the image itself."""
    mixed = openmix.CutMix()(torch.zeros(1, 1, 4, 4), torch.tensor([0]), generator=seeded())
    pasted = torch.zeros(4, 4)
    pasted[:2, :2] = 1
    plan = openmix.ops.plans.MaskPlan(mixed.partner, (pasted == 0)[None, None])
    mixed = openmix.ops.plans.mix(torch.zeros(1, 1, 4, 4), torch.tensor([0]), plan)
    attention = torch.tensor([[[3.0, 1.0], [1.0, 1.0]]])
    assert transmix(mixed, attention=attention).weights.tolist() == [[0.625, 0.375]]


def test_masks_of_any_method_will_do(make_batch):
    images, labels = make_batch()
    attention = attention_of(5, 6, 8)
    for name in ("mixup", "fmix", "resizemix", "vanilla"):
        mixed = openmix.build_mixer(name)(images, labels, generator=seeded(1))
        target = transmix(mixed, attention=attention)
        if name in ("mixup", "vanilla"):  # the same share everywhere
            torch.testing.assert_close(target.weights, mixed.target.weights)
        elif name == "fmix":
            assert target.weights[:, 0].tolist() == pytest.approx(own_weights(mixed, attention, 0.5), abs=2e-6)
        torch.testing.assert_close(target.weights.sum(1), torch.ones(5))


def test_more_than_two_sources_are_weighed_alike(make_batch):
    images, labels = make_batch(4, 3, 16, 16)
    mixed = openmix.build_mixer("mosaic")(images, labels, generator=seeded(1))
    attention = attention_of(4, 16, 16)
    target = transmix(mixed, attention=attention, ratio=0.0)
    for b in range(4):
        for k in range(mixed.sources.shape[1]):
            wanted = float((mixed.masks[b, k] * attention[b]).sum() / attention[b].sum())
            assert float(target.weights[b, k]) == pytest.approx(wanted, abs=1e-6)


def test_a_mix_without_masks_is_refused(make_batch):
    images, labels = make_batch(4)
    mixed = openmix.build_mixer("resizemixplus")(images, labels, generator=seeded())
    with pytest.raises(ValueError, match="no masks"):
        transmix(mixed, attention=attention_of(8, 4, 4))


def test_built_by_name_it_takes_what_cutmix_takes():
    mixer = openmix.build_mixer("transmix", alpha=0.3, per_sample=True, ratio=0.25)
    assert mixer.kind == "label" and mixer.needs == ("attention",)
    assert mixer.base is not None and mixer.base.hyper == {"alpha": 0.3, "per_sample": True}
    port = openmix.build_mixer("transmix", preset="openmixup")
    assert port.base is not None and port.base.hyper == {"tries": 10}
    with pytest.raises(ValueError, match="it relabels what cutmix mixed"):
        openmix.build_mixer("transmix", mix_mode="cutmix")


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_out_of_range_is_named(make_batch, ratio):
    mixed = openmix.CutMix()(*make_batch(), generator=seeded())
    with pytest.raises(ValueError, match="ratio"):
        transmix(mixed, attention=attention_of(5, 4, 4), ratio=ratio)
