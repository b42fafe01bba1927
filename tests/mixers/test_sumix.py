"""SUMix against its authors' steps (Qin et al., 2024), image by image in double precision."""

import math

import pytest
import torch

import openmix
from openmix.mixers.sumix import sumix


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(v - top) for v in values]
    return [p / sum(powers) for p in powers]


def information(mixed_probs: list[float], probs: list[float], label: int, other: int, scale: float) -> float:
    """exp(-scale * d), where d is the normalised change of probabilities at the source's own class."""
    without = [0.0 if c == other else p for c, p in enumerate(probs)]
    change = softmax([m - q for m, q in zip(mixed_probs, without, strict=True)])
    return math.exp(-scale * change[label] / math.sqrt(sum(c * c for c in change)))


@pytest.mark.parametrize("scale", [None, 2.5])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_weights_are_areas_times_information(make_batch, batch, scale):
    images, labels = make_batch(batch)
    labels = labels % 4  # some pairs have one class
    logits, clean = (torch.randn(batch, 6, generator=seeded(seed)) * 3 for seed in (11, 12))
    for seed in range(6):
        mixed = openmix.CutMix(per_sample=True)(images, labels, generator=seeded(seed))
        target = sumix(mixed, logits=logits, clean_logits=clean, scale=scale)
        assert torch.equal(target.labels, mixed.target.labels)
        for b in range(batch):
            a, partner = b, int(mixed.partner[b])
            first, second = int(labels[a]), int(labels[partner])
            shown, used = softmax(logits[b].tolist()), scale or batch
            own, other = mixed.target.weights[b].tolist()
            own *= information(shown, softmax(clean[a].tolist()), first, second, used)
            other *= information(shown, softmax(clean[partner].tolist()), second, first, used)
            wanted = [own / (own + other), other / (own + other)]
            assert target.weights[b].tolist() == pytest.approx(wanted, abs=3e-6)


def test_large_batches_do_not_vanish(make_batch):
    """exp(-1000) is 0 in single precision, for both of a pair."""
    mixed = openmix.CutMix()(*make_batch(), generator=seeded(1))
    logits, clean = (torch.randn(5, 2, generator=seeded(seed)) for seed in (1, 2))
    labels = mixed.target.labels % 2
    mixed = openmix.Mixed(mixed.images, openmix.MixTarget(labels, mixed.target.weights), mixed.plan)
    target = sumix(mixed, logits=logits, clean_logits=clean, scale=1e6)
    assert bool(target.weights.isfinite().all())
    torch.testing.assert_close(target.weights.sum(1), torch.ones(5))


def test_a_source_that_is_not_shown_has_no_weight(make_batch):
    mixed = openmix.build_mixer("vanilla")(*make_batch())
    logits, clean = (torch.randn(5, 10, generator=seeded(seed)) for seed in (1, 2))
    assert sumix(mixed, logits=logits, clean_logits=clean).weights.tolist() == [[1.0, 0.0]] * 5


def test_a_class_that_is_predicted_less_than_before_gains(make_batch):
    """The prediction is as for the image alone, and the weight moves to the partner: the authors' sign, as it is."""
    images, labels = make_batch(2, 3, 16, 16)
    mixed = openmix.CutMix(alpha=50.0)(images, labels, generator=seeded(2))
    assert mixed.partner.tolist() == [1, 0]
    clean = torch.zeros(2, 10)
    clean[torch.arange(2), labels] = 8.0
    target = sumix(mixed, logits=clean, clean_logits=clean, scale=5.0)
    assert bool((target.weights[:, 0] < mixed.target.weights[:, 0] - 0.05).all())


def test_what_it_cannot_weigh_is_named(make_batch):
    images, labels = make_batch()
    mixed = openmix.CutMix()(images, labels, generator=seeded())
    logits = torch.zeros(5, 10)
    with pytest.raises(ValueError, match="scale"):
        sumix(mixed, logits=logits, clean_logits=logits, scale=0)
    with pytest.raises(ValueError, match="num_classes"):
        sumix(mixed, logits=logits, clean_logits=torch.zeros(5, 9))
    with pytest.raises(ValueError, match="num_classes"):
        sumix(mixed, logits=logits[:4], clean_logits=logits)
    many = openmix.build_mixer("mosaic")(images, labels, generator=seeded())
    with pytest.raises(ValueError, match="pairs"):
        sumix(many, logits=logits, clean_logits=logits)
