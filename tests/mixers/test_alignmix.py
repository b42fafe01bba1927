"""AlignMix's draws: where it mixes, which way it aligns, with what share."""

import pytest
import torch

import openmix
from openmix.ops.align import AlignPlan
from openmix.ops.plans import BlendPlan

STAGES = ("one", "two", "three")


def draw(seed: int, preset: str | None = None, batch: int = 6, **hyper):
    mixer = openmix.build_mixer("alignmix", preset=preset, **hyper)
    generator = torch.Generator().manual_seed(seed)
    return mixer.function(torch.arange(batch) % 3, generator=generator, stages=STAGES)


def test_half_of_the_batches_mix_images_the_others_the_last_stage():
    draws = [draw(seed, batch=2) for seed in range(1000)]
    of_images = [d for d in draws if d.stage is None]
    assert all(isinstance(d.plan, BlendPlan) for d in of_images)
    assert all(d.stage == "three" and isinstance(d.plan, AlignPlan) for d in draws if d.stage is not None)
    assert abs(len(of_images) - 500) < 4.5 * 250**0.5
    aligned = [d.plan.to_own for d in draws if isinstance(d.plan, AlignPlan)]
    assert abs(sum(aligned) - len(aligned) / 2) < 4.5 * (len(aligned) / 4) ** 0.5


def test_openmixups_port_mixes_features_only():
    assert {draw(seed, "openmixup").stage for seed in range(40)} == {"three"}


def test_shares_are_of_beta_and_labels_follow():
    shares = []
    for seed in range(3000):
        mix = draw(seed, alpha=2.0, batch=2)
        shares.append(float(mix.target.weights[0, 0]))
        torch.testing.assert_close(mix.target.weights, mix.plan.weights)
    shares = torch.tensor(shares)
    deviation = (1 / (4 * 5)) ** 0.5  # of Beta(2, 2)
    assert abs(float(shares.mean()) - 0.5) < 4.5 * deviation / 3000**0.5
    assert float(shares.std()) == pytest.approx(deviation, rel=0.06)
    mix = draw(0)
    assert torch.equal(mix.target.labels, (torch.arange(6) % 3)[mix.plan.sources])


@pytest.mark.parametrize(
    "hyper", [{"alpha": 0}, {"input_prob": 1.5}, {"eps": 0.0}, {"eps": -1}, {"max_iter": 0}, {"max_iter": 2.5}]
)
def test_bad_values_are_named(hyper):
    with pytest.raises(ValueError, match=next(iter(hyper))):
        openmix.build_mixer("alignmix", **hyper)


def test_calling_it_on_images_says_where_it_works():
    with pytest.raises(TypeError, match="mixes inside a network"):
        openmix.AlignMix()(torch.rand(2, 3, 8, 8), torch.arange(2))
