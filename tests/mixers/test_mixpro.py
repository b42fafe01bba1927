"""MixPro against its formulas (Zhao et al., 2023) in plain arithmetic."""

import math

import pytest
import torch

import openmix
from openmix.mixers.mixpro import mixpro


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def own_weight(mixed, b: int, attention: list[list[float]], logits: list[float], smoothing: float) -> float:
    """sim * lam_attn + (1 - sim) * lam_area; patches lie within cells, so that each is of one image."""
    own, area = mixed.mask[b, 0], float(mixed.mask[b, 0].double().mean())
    h, w = len(attention), len(attention[0])
    height, width = own.shape[0] // h, own.shape[1] // w
    kept = sum(attention[i][j] * float(own[i * height, j * width]) for i in range(h) for j in range(w))
    by_attention = kept / sum(map(sum, attention))
    classes = len(logits)
    target = [smoothing / classes] * classes
    first, second = mixed.target.labels[b].tolist()
    target[first] += (1 - smoothing) * area
    target[second] += (1 - smoothing) * (1 - area)
    powers = [math.exp(x) for x in logits]
    probs = [p / sum(powers) for p in powers]
    dot = sum(p * t for p, t in zip(probs, target, strict=True))
    sim = dot / math.sqrt(sum(p * p for p in probs)) / math.sqrt(sum(t * t for t in target))
    return sim * by_attention + (1 - sim) * area


@pytest.mark.parametrize("smoothing", [0.1, 0.0, 1.0])
@pytest.mark.parametrize("shape", [(5, 3, 32, 48), (1, 2, 16, 16)])
def test_weights_lie_between_attention_and_area(make_batch, shape, smoothing):
    images, labels = make_batch(*shape)
    attention = torch.rand(shape[0], 8, 8, generator=seeded(1)).pow(4)
    logits = torch.randn(shape[0], 10, generator=seeded(2)) * 3
    for seed in range(6):
        mixed = openmix.MaskMix(per_sample=seed % 2 == 1)(images, labels, generator=seeded(seed))
        target = mixpro(mixed, attention=attention, logits=logits, smoothing=smoothing)
        assert torch.equal(target.labels, mixed.target.labels)
        for b in range(shape[0]):
            wanted = own_weight(mixed, b, attention[b].tolist(), logits[b].tolist(), smoothing)
            assert target.weights[b].tolist() == pytest.approx([wanted, 1 - wanted], abs=3e-6)


def test_a_prediction_that_agrees_trusts_attention(make_batch):
    """Where the prediction is the label by areas, weights are attention's; where it is of another class, areas."""
    images, labels = make_batch(4, 3, 16, 16)
    mixed = openmix.MaskMix()(images, labels, generator=seeded(3))
    attention = torch.rand(4, 4, 4, generator=seeded(4))
    agreeing = (mixed.target.soft(10) + 1e-9).log()
    trusted = mixpro(mixed, attention=attention, logits=agreeing, smoothing=0.0)
    by_attention = (mixed.mask[:, 0, ::4, ::4] * attention).sum((1, 2)) / attention.sum((1, 2))
    torch.testing.assert_close(trusted.weights[:, 0], by_attention, rtol=0, atol=1e-5)
    free = next(c for c in range(10) if c not in labels.tolist())
    other = torch.full((4, 10), -100.0)
    other[:, free] = 0
    distrusted = mixpro(mixed, attention=attention, logits=other, smoothing=0.0)
    torch.testing.assert_close(distrusted.weights, mixed.target.weights, rtol=0, atol=1e-6)


def test_patches_across_cells_count_by_area(make_batch):
    """DeiT's patches of 16 pixels in the authors' cells of 56: here 4 in 14, of 56 pixels."""
    mixed = openmix.MaskMix()(*make_batch(3, 1, 56, 56), generator=seeded(9))
    attention = torch.rand(3, 14, 14, generator=seeded(1))
    logits = (mixed.target.soft(10) + 1e-9).log()
    target = mixpro(mixed, attention=attention, logits=logits, smoothing=0.0)
    spread = attention.repeat_interleave(4, 1).repeat_interleave(4, 2)
    wanted = (mixed.mask[:, 0] * spread).sum((1, 2)) / spread.sum((1, 2))
    torch.testing.assert_close(target.weights[:, 0], wanted, rtol=0, atol=1e-5)


def test_built_by_name_it_mixes_by_maskmix():
    mixer = openmix.build_mixer("mixpro", alpha=0.5, mask_patch_size=8, smoothing=0.2)
    assert mixer.base is not None and mixer.base.name == "maskmix"
    assert mixer.base.hyper == {"alpha": 0.5, "mask_patch_size": 8}
    assert mixer.needs == ("attention", "logits")
    for key in ("num_classes", "num_class", "model_patch_size"):
        with pytest.raises(ValueError, match="leave it out"):
            openmix.build_mixer("mixpro", **{key: 100})


def test_logits_of_another_batch_and_smoothing_out_of_range_are_named(make_batch):
    mixed = openmix.MaskMix()(*make_batch(), generator=seeded())
    attention = torch.rand(5, 4, 4)
    with pytest.raises(ValueError, match="logits"):
        mixpro(mixed, attention=attention, logits=torch.zeros(4, 10))
    with pytest.raises(ValueError, match="logits"):
        mixpro(mixed, attention=attention, logits=torch.zeros(5))
    with pytest.raises(ValueError, match="smoothing"):
        mixpro(mixed, attention=attention, logits=torch.zeros(5, 10), smoothing=1.5)
